-- The certificate a proxy's current one replaced: a renewal is accepted for these two alone, so that a proxy that never got
-- the answer to its renewal can ask again, and every older key is worth nothing.
ALTER TABLE proxies ADD COLUMN previous_certificate_sha256 bytea
  CHECK (octet_length(previous_certificate_sha256) = 32);
GRANT UPDATE (previous_certificate_sha256) ON proxies TO portcullis_ops;
