-- Issuers of others whose assertions a tenant takes as grants (RFC 7523 section 2.1).
CREATE TABLE trusted_issuers (
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  id uuid NOT NULL,
  name text NOT NULL,
  issuer text NOT NULL CHECK (octet_length(issuer) BETWEEN 1 AND 1024),
  enabled boolean NOT NULL,
  purpose text NOT NULL CHECK (purpose IN ('workload', 'id_jag')),
  -- Where its keys are, or which they are.
  jwks_uri text CHECK (octet_length(jwks_uri) <= 2048),
  jwks jsonb,
  algorithms text[] NOT NULL CHECK (cardinality(algorithms) BETWEEN 1 AND 3),
  audience text CHECK (octet_length(audience) BETWEEN 1 AND 1024),
  max_lifetime_seconds integer NOT NULL CHECK (max_lifetime_seconds BETWEEN 60 AND 86400),
  single_use boolean NOT NULL,
  email_domains text[] NOT NULL CHECK (cardinality(email_domains) <= 64),
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, issuer, purpose),
  CHECK ((jwks_uri IS NULL) <> (jwks IS NULL))
);

-- Which client a workload is.
CREATE TABLE trusted_issuer_rules (
  tenant_id uuid NOT NULL,
  trusted_issuer_id uuid NOT NULL,
  place integer NOT NULL,
  subject text NOT NULL CHECK (octet_length(subject) BETWEEN 1 AND 1024),
  claims jsonb NOT NULL,
  client_id uuid NOT NULL,
  PRIMARY KEY (tenant_id, trusted_issuer_id, place),
  FOREIGN KEY (tenant_id, trusted_issuer_id) REFERENCES trusted_issuers (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, client_id) REFERENCES clients (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX trusted_issuer_rules_by_client ON trusted_issuer_rules (tenant_id, client_id);

-- What they have signed and somebody has presented: each once. Forgotten when it has expired.
CREATE TABLE trusted_assertions (
  tenant_id uuid NOT NULL,
  trusted_issuer_id uuid NOT NULL,
  -- SHA-256 of the `jti`.
  digest bytea NOT NULL CHECK (octet_length(digest) = 32),
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, trusted_issuer_id, digest),
  FOREIGN KEY (tenant_id, trusted_issuer_id) REFERENCES trusted_issuers (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX trusted_assertions_by_time ON trusted_assertions (expires_at);

ALTER TABLE trusted_issuers ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON trusted_issuers FOR ALL TO portcullis_app
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);
GRANT SELECT, INSERT, DELETE, UPDATE (name, issuer, enabled, purpose, jwks_uri, jwks, algorithms, audience, max_lifetime_seconds,
  single_use, email_domains, updated_at) ON trusted_issuers TO portcullis_app;

ALTER TABLE trusted_issuer_rules ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON trusted_issuer_rules FOR ALL TO portcullis_app
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);
GRANT SELECT, INSERT, DELETE ON trusted_issuer_rules TO portcullis_app;

ALTER TABLE trusted_assertions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON trusted_assertions FOR ALL TO portcullis_app
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);
CREATE POLICY operator ON trusted_assertions FOR ALL TO portcullis_ops USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE ON trusted_assertions TO portcullis_app;
GRANT SELECT (expires_at), DELETE ON trusted_assertions TO portcullis_ops;
