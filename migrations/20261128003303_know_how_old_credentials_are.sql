-- When a key was used last, to within a minute or so. Apart from the keys: it changes all the time, and no key changes with it.
CREATE TABLE key_uses (
  tenant_id uuid NOT NULL,
  key_id uuid NOT NULL,
  last_used_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, key_id),
  FOREIGN KEY (tenant_id, key_id) REFERENCES api_keys (tenant_id, id) ON DELETE CASCADE
);

-- After how many days a tenant wants its credentials to be replaced, where that is not the usual.
CREATE TABLE rotation_schedules (
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  admin_token_days integer NOT NULL CHECK (admin_token_days BETWEEN 1 AND 3650),
  api_key_days integer NOT NULL CHECK (api_key_days BETWEEN 1 AND 3650),
  client_secret_days integer NOT NULL CHECK (client_secret_days BETWEEN 1 AND 3650),
  public_key_days integer NOT NULL CHECK (public_key_days BETWEEN 1 AND 3650),
  signing_key_days integer NOT NULL CHECK (signing_key_days BETWEEN 1 AND 3650),
  upstream_credential_days integer NOT NULL CHECK (upstream_credential_days BETWEEN 1 AND 3650),
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id)
);

ALTER TABLE key_uses ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON key_uses FOR ALL TO portcullis_app
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);
GRANT SELECT, INSERT, UPDATE (last_used_at) ON key_uses TO portcullis_app;

ALTER TABLE rotation_schedules ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON rotation_schedules FOR ALL TO portcullis_app
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);
GRANT SELECT, INSERT, UPDATE ON rotation_schedules TO portcullis_app;
