-- Certificates that proxies show under a tenant's own domains. The key is sealed with the tenant's data key.
CREATE TABLE domain_certificates (
  tenant_id uuid NOT NULL,
  domain_id uuid NOT NULL,
  -- DER, leaf first.
  chain bytea[] NOT NULL CHECK (cardinality(chain) BETWEEN 1 AND 10),
  data_key_id uuid NOT NULL,
  sealed bytea NOT NULL,
  -- What the leaf says of itself, and its SHA-256.
  names text[] NOT NULL,
  not_after timestamptz NOT NULL,
  fingerprint text NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, domain_id),
  FOREIGN KEY (tenant_id, domain_id) REFERENCES domains (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, data_key_id) REFERENCES tenant_data_keys (tenant_id, id) DEFERRABLE INITIALLY IMMEDIATE
);

ALTER TABLE domain_certificates ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON domain_certificates FOR ALL TO portcullis_app
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);
GRANT SELECT, INSERT, DELETE, UPDATE (chain, data_key_id, sealed, names, not_after, fingerprint, updated_at)
  ON domain_certificates TO portcullis_app;
