-- Signed statements that requests to an upstream carry.
CREATE TABLE upstream_assertions (
  tenant_id uuid NOT NULL,
  upstream_id uuid NOT NULL,
  -- Null: the upstream's URL.
  audience text,
  sent_as text NOT NULL CHECK (sent_as IN ('header', 'bearer')),
  body_digest boolean NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, upstream_id),
  FOREIGN KEY (tenant_id, upstream_id) REFERENCES upstreams (tenant_id, id) ON DELETE CASCADE
);

ALTER TABLE upstream_assertions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON upstream_assertions FOR ALL TO portcullis_app
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);
GRANT SELECT, INSERT, DELETE, UPDATE (audience, sent_as, body_digest, updated_at) ON upstream_assertions TO portcullis_app;

-- Keys with which a tenant's proxies sign them: sealed under the tenant's data key, because proxies sign while no control plane
-- can be reached. Where each stands follows from its times and from the others', as with `signing_keys`.
CREATE TABLE assertion_keys (
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  id uuid NOT NULL,
  public_key bytea NOT NULL,
  data_key_id uuid NOT NULL,
  -- PKCS#8; null when it signs no more.
  sealed bytea,
  created_at timestamptz NOT NULL,
  activates_at timestamptz NOT NULL,
  retires_at timestamptz,
  revoked_at timestamptz,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, data_key_id) REFERENCES tenant_data_keys (tenant_id, id) DEFERRABLE INITIALLY IMMEDIATE
);

ALTER TABLE assertion_keys ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON assertion_keys FOR ALL TO portcullis_app
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);
-- To find those that are due.
CREATE POLICY operator ON assertion_keys FOR SELECT TO portcullis_ops USING (true);
GRANT SELECT, INSERT, DELETE, UPDATE (sealed, retires_at, revoked_at) ON assertion_keys TO portcullis_app;
GRANT SELECT (tenant_id, id, activates_at, revoked_at) ON assertion_keys TO portcullis_ops;
