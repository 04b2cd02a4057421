-- Keys with which a tenant's issuer signs tokens. Where each stands follows from its times and from the others': upcoming until
-- `activates_at`, active until a later one is, retiring until `retires_at`, and retired then, or at once when it is revoked.
CREATE TABLE signing_keys (
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  id uuid NOT NULL,
  algorithm text NOT NULL CHECK (algorithm IN ('RS256', 'ES256', 'EdDSA')),
  public_key bytea NOT NULL,
  data_key_id uuid NOT NULL,
  -- PKCS#8, sealed under the data key; null as soon as it signs no more.
  sealed bytea,
  created_at timestamptz NOT NULL,
  activates_at timestamptz NOT NULL,
  retires_at timestamptz,
  revoked_at timestamptz,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, data_key_id) REFERENCES tenant_data_keys (tenant_id, id) DEFERRABLE INITIALLY IMMEDIATE
);

ALTER TABLE signing_keys ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON signing_keys FOR ALL TO portcullis_app
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);
-- To find those that are due.
CREATE POLICY operator ON signing_keys FOR SELECT TO portcullis_ops USING (true);
GRANT SELECT, INSERT, DELETE, UPDATE (sealed, retires_at, revoked_at) ON signing_keys TO portcullis_app;
GRANT SELECT (tenant_id, id, activates_at, retires_at, revoked_at) ON signing_keys TO portcullis_ops;
