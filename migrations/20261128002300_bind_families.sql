-- The key to which what a public client was given is bound (RFC 9449 section 5): its refresh tokens are good with proofs by it alone.
ALTER TABLE authorizations ADD COLUMN jkt bytea CHECK (octet_length(jkt) = 32);

GRANT UPDATE (jkt) ON authorizations TO portcullis_app;
