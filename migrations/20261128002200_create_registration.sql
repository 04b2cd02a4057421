-- How clients come to a tenant's issuer that nobody has made: a document that describes them, or dynamic registration. Where there is
-- no row, they do not.
CREATE TABLE registration_policies (
  tenant_id uuid PRIMARY KEY REFERENCES tenants (id) ON DELETE CASCADE,
  documents text NOT NULL CHECK (documents IN ('off', 'listed', 'any')),
  hosts text[] NOT NULL CHECK (cardinality(hosts) <= 64),
  dynamic text NOT NULL CHECK (dynamic IN ('off', 'token', 'open')),
  updated_at timestamptz NOT NULL
);

-- Endpoints that such a client may use from when it comes.
CREATE TABLE registration_endpoints (
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  kind text NOT NULL CHECK (kind IN ('metadata_document', 'dynamic')),
  endpoint_id uuid NOT NULL,
  PRIMARY KEY (tenant_id, kind, endpoint_id),
  FOREIGN KEY (tenant_id, endpoint_id) REFERENCES endpoints (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX registration_endpoints_by_endpoint ON registration_endpoints (tenant_id, endpoint_id);

-- Tokens with which clients may be registered.
CREATE TABLE initial_access_tokens (
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  id uuid NOT NULL,
  name text NOT NULL,
  lookup text NOT NULL,
  hash bytea NOT NULL CHECK (octet_length(hash) = 32),
  max_uses integer NOT NULL CHECK (max_uses BETWEEN 1 AND 1000),
  uses integer NOT NULL DEFAULT 0 CHECK (uses BETWEEN 0 AND max_uses),
  created_at timestamptz NOT NULL,
  not_after timestamptz NOT NULL,
  last_used_at timestamptz,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, lookup)
);

-- What a client that has come so has said of itself.
CREATE TABLE client_registrations (
  tenant_id uuid NOT NULL,
  client_id uuid NOT NULL,
  kind text NOT NULL CHECK (kind IN ('metadata_document', 'dynamic')),
  -- Where its document is, which is its `client_id` then.
  metadata_url text CHECK (octet_length(metadata_url) <= 1024),
  -- The parts that are known here, as they were checked.
  metadata jsonb NOT NULL,
  -- SHA-256 of what it said: whether it says something else now.
  digest bytea NOT NULL CHECK (octet_length(digest) = 32),
  -- Of the token with which it reads and changes its registration.
  lookup text,
  hash bytea CHECK (octet_length(hash) = 32),
  -- The initial access token, if there was one. It may be gone.
  initial_access_token_id uuid,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  -- When it was given a token last, to within a day; null: never, and it is deleted after a while.
  used_at timestamptz,
  PRIMARY KEY (tenant_id, client_id),
  UNIQUE (tenant_id, metadata_url),
  UNIQUE (tenant_id, lookup),
  CHECK ((kind = 'metadata_document') = (metadata_url IS NOT NULL)),
  CHECK ((kind = 'dynamic') = (lookup IS NOT NULL AND hash IS NOT NULL)),
  FOREIGN KEY (tenant_id, client_id) REFERENCES clients (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX client_registrations_unused ON client_registrations (created_at) WHERE used_at IS NULL;

ALTER TABLE registration_policies ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON registration_policies FOR ALL TO portcullis_app
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);
GRANT SELECT, INSERT, UPDATE (documents, hosts, dynamic, updated_at) ON registration_policies TO portcullis_app;

ALTER TABLE registration_endpoints ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON registration_endpoints FOR ALL TO portcullis_app
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);
GRANT SELECT, INSERT, DELETE ON registration_endpoints TO portcullis_app;

ALTER TABLE initial_access_tokens ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON initial_access_tokens FOR ALL TO portcullis_app
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);
GRANT SELECT, INSERT, DELETE, UPDATE (uses, last_used_at) ON initial_access_tokens TO portcullis_app;

ALTER TABLE client_registrations ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON client_registrations FOR ALL TO portcullis_app
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);
CREATE POLICY operator ON client_registrations FOR SELECT TO portcullis_ops USING (true);
GRANT SELECT, INSERT, UPDATE (metadata, digest, lookup, hash, updated_at, used_at) ON client_registrations TO portcullis_app;
GRANT SELECT (tenant_id, client_id, created_at, used_at, initial_access_token_id) ON client_registrations TO portcullis_ops;
