-- Secrets with which clients authenticate to their tenant's issuer, and how long what it gives them lives.
ALTER TABLE clients ADD COLUMN token_lifetime_seconds integer NOT NULL DEFAULT 900
  CHECK (token_lifetime_seconds BETWEEN 900 AND 3600);
GRANT UPDATE (token_lifetime_seconds) ON clients TO portcullis_app;

-- `hash`: argon2id, as a PHC string.
CREATE TABLE client_secrets (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  client_id uuid NOT NULL,
  name text NOT NULL,
  lookup text NOT NULL,
  hash text NOT NULL CHECK (hash LIKE '$argon2id$%'),
  created_at timestamptz NOT NULL,
  not_after timestamptz,
  revoked_at timestamptz,
  -- The secret that took this one's place.
  rotated_to uuid,
  -- Written once a minute at most.
  last_used_at timestamptz,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, lookup),
  FOREIGN KEY (tenant_id, client_id) REFERENCES clients (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX client_secrets_by_client ON client_secrets (tenant_id, client_id);

ALTER TABLE client_secrets ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON client_secrets FOR ALL TO portcullis_app
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);
GRANT SELECT, INSERT, UPDATE (not_after, revoked_at, rotated_to, last_used_at) ON client_secrets TO portcullis_app;
