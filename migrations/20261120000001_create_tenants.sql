-- Tenants, what opens their secrets, and their compiled configuration.

CREATE TABLE pools (
  id uuid PRIMARY KEY,
  slug text NOT NULL UNIQUE,
  created_at timestamptz NOT NULL
);

CREATE TABLE tenants (
  id uuid PRIMARY KEY,
  slug text NOT NULL UNIQUE,
  name text NOT NULL,
  pool_id uuid NOT NULL REFERENCES pools (id),
  -- Gapless, from 1; the row lock that raises it orders the tenant's writes.
  rev bigint NOT NULL CHECK (rev >= 0),
  suspended boolean NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);
CREATE INDEX tenants_by_pool ON tenants (pool_id);

-- Private destinations an operator allowed for the tenant's upstreams.
CREATE TABLE egress_rules (
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  network text NOT NULL,
  port integer NOT NULL CHECK (port BETWEEN 1 AND 65535),
  PRIMARY KEY (tenant_id, network, port)
);

-- Data keys, wrapped under the installation's master key.
CREATE TABLE tenant_data_keys (
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  id uuid NOT NULL,
  wrapped bytea NOT NULL,
  current boolean NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX tenant_data_keys_one_current ON tenant_data_keys (tenant_id) WHERE current;

CREATE TABLE snapshots (
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  rev bigint NOT NULL,
  -- wire.v1.TenantSnapshot, exactly as compiled.
  body bytea NOT NULL,
  digest bytea NOT NULL CHECK (octet_length(digest) = 32),
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, rev)
);

-- One row for each committed revision: what control-plane replicas poll.
CREATE TABLE outbox (
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  rev bigint NOT NULL,
  digest bytea NOT NULL CHECK (octet_length(digest) = 32),
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, rev)
);

-- Credentials of the admin API. `hash`: HMAC-SHA-256 under a key derived from the master key.
CREATE TABLE operator_tokens (
  id uuid PRIMARY KEY,
  name text NOT NULL,
  lookup text NOT NULL UNIQUE,
  hash bytea NOT NULL CHECK (octet_length(hash) = 32),
  created_at timestamptz NOT NULL,
  not_after timestamptz,
  revoked_at timestamptz
);

CREATE TABLE admin_tokens (
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  id uuid NOT NULL,
  name text NOT NULL,
  -- Globally unique: it is looked up before the tenant is known. Random, so a clash tells nothing.
  lookup text NOT NULL UNIQUE,
  hash bytea NOT NULL CHECK (octet_length(hash) = 32),
  scopes text[] NOT NULL,
  created_at timestamptz NOT NULL,
  not_after timestamptz,
  revoked_at timestamptz,
  PRIMARY KEY (tenant_id, id)
);
