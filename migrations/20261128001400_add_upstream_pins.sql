-- Keys one of which the server's certificate must have, as `sha256/` and base64, in the order in which they were written.
ALTER TABLE upstreams
  ADD COLUMN tls_pins text[] NOT NULL DEFAULT '{}' CHECK (cardinality(tls_pins) <= 8);

GRANT UPDATE (tls_pins) ON upstreams TO portcullis_app;
