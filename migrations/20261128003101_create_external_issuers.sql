-- Issuers of others whose tokens endpoints accept. What they are trusted with is one document: it is read and written whole, and names
-- clients, roles and scopes that may be deleted; a rule about what is gone gives nothing.
CREATE TABLE external_issuers (
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  id uuid NOT NULL,
  issuer text NOT NULL CHECK (octet_length(issuer) BETWEEN 1 AND 1024),
  settings jsonb NOT NULL CHECK (jsonb_typeof(settings) = 'object' AND settings ->> 'issuer' = issuer),
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, issuer)
);

ALTER TABLE external_issuers ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON external_issuers FOR ALL TO portcullis_app
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);
GRANT SELECT, INSERT, DELETE, UPDATE (issuer, settings, updated_at) ON external_issuers TO portcullis_app;

-- Whose tokens an endpoint accepts.
ALTER TABLE endpoints
  ADD COLUMN external_issuers uuid[] NOT NULL DEFAULT '{}' CHECK (cardinality(external_issuers) <= 16),
  DROP CONSTRAINT endpoints_accepts_check,
  ADD CONSTRAINT endpoints_accepts_check
    CHECK (cardinality(accepts) > 0 AND accepts <@ '{api_key,access_token,external_token,basic}');
GRANT UPDATE (external_issuers) ON endpoints TO portcullis_app;
