-- Authorities of a tenant's own whose certificates callers show at endpoints. What they are trusted with is one document, as of external issuers.
CREATE TABLE client_authorities (
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  id uuid NOT NULL,
  settings jsonb NOT NULL CHECK (jsonb_typeof(settings) = 'object'),
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id)
);

ALTER TABLE client_authorities ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON client_authorities FOR ALL TO portcullis_app
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);
GRANT SELECT, INSERT, DELETE, UPDATE (settings, updated_at) ON client_authorities TO portcullis_app;

-- Whose certificates an endpoint accepts.
ALTER TABLE endpoints
  ADD COLUMN client_authorities uuid[] NOT NULL DEFAULT '{}' CHECK (cardinality(client_authorities) <= 16),
  DROP CONSTRAINT endpoints_accepts_check,
  ADD CONSTRAINT endpoints_accepts_check
    CHECK (cardinality(accepts) > 0 AND accepts <@ '{api_key,access_token,external_token,client_certificate,basic}');
GRANT UPDATE (client_authorities) ON endpoints TO portcullis_app;
