-- Whether the tokens of a client have to be bound to a key of its own (RFC 9449 section 5.2).
ALTER TABLE clients ADD COLUMN dpop_bound_access_tokens boolean NOT NULL DEFAULT false;

GRANT UPDATE (dpop_bound_access_tokens) ON clients TO portcullis_app;
