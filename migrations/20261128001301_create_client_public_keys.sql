-- Public keys by which clients authenticate to their tenant's issuer (RFC 7523).
CREATE TABLE client_public_keys (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  client_id uuid NOT NULL,
  name text NOT NULL,
  kid text NOT NULL,
  algorithm text NOT NULL CHECK (algorithm IN ('RS256', 'ES256', 'EdDSA')),
  public_key bytea NOT NULL,
  created_at timestamptz NOT NULL,
  not_after timestamptz,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, client_id, kid),
  FOREIGN KEY (tenant_id, client_id) REFERENCES clients (tenant_id, id) ON DELETE CASCADE
);

-- What clients have signed and presented: each once. Forgotten when it has expired.
CREATE TABLE client_assertions (
  tenant_id uuid NOT NULL,
  client_id uuid NOT NULL,
  -- SHA-256 of the `jti`.
  digest bytea NOT NULL CHECK (octet_length(digest) = 32),
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, client_id, digest),
  FOREIGN KEY (tenant_id, client_id) REFERENCES clients (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX client_assertions_by_time ON client_assertions (expires_at);

ALTER TABLE client_public_keys ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON client_public_keys FOR ALL TO portcullis_app
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);
GRANT SELECT, INSERT, DELETE ON client_public_keys TO portcullis_app;

ALTER TABLE client_assertions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON client_assertions FOR ALL TO portcullis_app
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);
CREATE POLICY operator ON client_assertions FOR ALL TO portcullis_ops USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE ON client_assertions TO portcullis_app;
GRANT SELECT (expires_at), DELETE ON client_assertions TO portcullis_ops;
