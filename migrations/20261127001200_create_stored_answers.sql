-- Answers to writes that were sent with an `Idempotency-Key`, so that a repetition gets the first one's answer. A row is
-- first a claim, made before the write begins; the write's own transaction fills in the answer, or nothing was written.
CREATE TABLE stored_answers (
  -- SHA-256 of who asked and of the key.
  lookup bytea PRIMARY KEY CHECK (octet_length(lookup) = 32),
  -- Null for operators.
  tenant_id uuid REFERENCES tenants (id) ON DELETE CASCADE,
  -- Who holds the claim, until when nobody else may take it over, and whether it has ended in an answer.
  ticket bytea NOT NULL CHECK (octet_length(ticket) = 16),
  claimed_until timestamptz NOT NULL,
  answered boolean NOT NULL,
  -- What was asked and what was answered, under a key that rests on the master key and on the caller's own.
  sealed bytea NOT NULL,
  expires_at timestamptz NOT NULL
);
CREATE INDEX stored_answers_by_tenant ON stored_answers (tenant_id) WHERE tenant_id IS NOT NULL;
CREATE INDEX stored_answers_by_end ON stored_answers (expires_at);

ALTER TABLE stored_answers ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY operator ON stored_answers FOR ALL TO portcullis_ops USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE, UPDATE (tenant_id, ticket, claimed_until, answered, sealed, expires_at)
  ON stored_answers TO portcullis_ops;
