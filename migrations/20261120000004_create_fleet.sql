-- Proxies, how they join, what they were asked to do and how far they are.

CREATE TABLE certificate_authorities (
  id uuid PRIMARY KEY,
  certificate_der bytea NOT NULL,
  -- PKCS #8, sealed under a key of its own, which stands before it, wrapped under the master key.
  sealed_key bytea NOT NULL,
  -- SHA-256 of the SubjectPublicKeyInfo; join tokens carry it.
  spki_sha256 bytea NOT NULL CHECK (octet_length(spki_sha256) = 32),
  created_at timestamptz NOT NULL,
  not_after timestamptz NOT NULL
);

CREATE TABLE proxies (
  id uuid PRIMARY KEY,
  pool_id uuid NOT NULL REFERENCES pools (id),
  build text NOT NULL,
  -- SHA-256 of the current certificate.
  certificate_sha256 bytea NOT NULL CHECK (octet_length(certificate_sha256) = 32),
  certificate_not_after timestamptz NOT NULL,
  enrolled_at timestamptz NOT NULL,
  -- Counted as live until then; null before the first stream.
  lease_until timestamptz,
  boot bytea,
  -- Configuration streams and renewals are refused from then on.
  revoked_at timestamptz
);
CREATE INDEX proxies_by_pool ON proxies (pool_id);

CREATE TABLE join_tokens (
  id uuid PRIMARY KEY,
  pool_id uuid NOT NULL REFERENCES pools (id),
  lookup text NOT NULL UNIQUE,
  hash bytea NOT NULL CHECK (octet_length(hash) = 32),
  created_at timestamptz NOT NULL,
  not_after timestamptz NOT NULL,
  used_at timestamptz,
  used_by uuid REFERENCES proxies (id)
);

-- How far each proxy is with each tenant.
CREATE TABLE proxy_revisions (
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  proxy_id uuid NOT NULL REFERENCES proxies (id) ON DELETE CASCADE,
  applied_rev bigint NOT NULL,
  applied_digest bytea,
  -- The last revision refused, 0 when none; stable code and detail.
  rejected_rev bigint NOT NULL,
  rejected_code text,
  rejected_detail text,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, proxy_id)
);
CREATE INDEX proxy_revisions_by_proxy ON proxy_revisions (proxy_id);

-- Work asked of any proxy of a pool; the first to claim it does it.
CREATE TABLE commands (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  pool_id uuid NOT NULL REFERENCES pools (id),
  upstream_id uuid NOT NULL,
  created_at timestamptz NOT NULL,
  claimed_by uuid REFERENCES proxies (id) ON DELETE SET NULL,
  claimed_at timestamptz,
  finished_at timestamptz,
  error_code text,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, upstream_id) REFERENCES upstreams (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX commands_open ON commands (pool_id, created_at) WHERE finished_at IS NULL;
