-- Access tokens end one by one, and those of a client that is disabled all together.
ALTER TABLE revocations DROP CONSTRAINT revocations_kind_check;
ALTER TABLE revocations ADD CONSTRAINT revocations_kind_check CHECK (kind IN ('key', 'client', 'token', 'client_tokens'));
