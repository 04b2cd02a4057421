-- How proxies get access tokens for an upstream (RFC 6749 section 4.4).
CREATE TABLE upstream_oauth (
  tenant_id uuid NOT NULL,
  upstream_id uuid NOT NULL,
  -- One of the two.
  token_endpoint text,
  issuer text,
  client_id text NOT NULL,
  authentication text NOT NULL CHECK (authentication IN ('client_secret_basic', 'client_secret_post', 'private_key_jwt')),
  -- Of a key.
  key_id text,
  algorithm text CHECK (algorithm IN ('ES256', 'EdDSA')),
  scope text NOT NULL,
  -- Null: the upstream's URL; empty: none.
  resource text,
  ca_pem text,
  data_key_id uuid NOT NULL,
  -- The secret, or the key as PKCS#8.
  sealed bytea NOT NULL,
  fingerprint text NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, upstream_id),
  CHECK ((token_endpoint IS NULL) <> (issuer IS NULL)),
  CHECK ((authentication = 'private_key_jwt') = (key_id IS NOT NULL AND algorithm IS NOT NULL)),
  FOREIGN KEY (tenant_id, upstream_id) REFERENCES upstreams (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, data_key_id) REFERENCES tenant_data_keys (tenant_id, id) DEFERRABLE INITIALLY IMMEDIATE
);

ALTER TABLE upstream_oauth ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON upstream_oauth FOR ALL TO portcullis_app
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);
GRANT SELECT, INSERT, DELETE ON upstream_oauth TO portcullis_app;
