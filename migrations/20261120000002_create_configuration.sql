-- What a tenant configures. Every key and every reference is composite, because unique and foreign-key checks do not
-- see row-level security.

CREATE TABLE upstreams (
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  id uuid NOT NULL,
  slug text NOT NULL,
  name text NOT NULL,
  url text NOT NULL,
  connect_timeout_ms integer NOT NULL CHECK (connect_timeout_ms > 0),
  first_byte_timeout_ms integer NOT NULL CHECK (first_byte_timeout_ms > 0),
  idle_timeout_ms integer NOT NULL CHECK (idle_timeout_ms > 0),
  total_timeout_ms integer NOT NULL CHECK (total_timeout_ms > 0),
  -- PEM certificates trusted instead of the public roots.
  tls_ca_pem text,
  tls_server_name text,
  enabled boolean NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, slug)
);

-- Static header credentials. `sealed` opens with the data key; its associated data names this row and column.
CREATE TABLE upstream_credentials (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  upstream_id uuid NOT NULL,
  -- Header name, lower case.
  header text NOT NULL,
  data_key_id uuid NOT NULL,
  sealed bytea NOT NULL,
  -- First 16 hexadecimal digits of an HMAC of the value under the tenant's key: tells values apart, tells nothing else.
  fingerprint text NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, upstream_id, header),
  FOREIGN KEY (tenant_id, upstream_id) REFERENCES upstreams (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, data_key_id) REFERENCES tenant_data_keys (tenant_id, id)
);

CREATE TABLE endpoints (
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  id uuid NOT NULL,
  slug text NOT NULL,
  name text NOT NULL,
  hosts text[] NOT NULL,
  origins text[] NOT NULL,
  allow text[] NOT NULL,
  deny text[] NOT NULL,
  closed_methods text[] NOT NULL,
  unknown_tools text NOT NULL CHECK (unknown_tools IN ('block', 'approve_first_seen')),
  max_request_bytes integer NOT NULL CHECK (max_request_bytes > 0),
  max_response_bytes integer NOT NULL CHECK (max_response_bytes > 0),
  enabled boolean NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, slug)
);

CREATE TABLE endpoint_upstreams (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  endpoint_id uuid NOT NULL,
  upstream_id uuid NOT NULL,
  prefix text NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, endpoint_id, upstream_id),
  UNIQUE (tenant_id, endpoint_id, prefix),
  FOREIGN KEY (tenant_id, endpoint_id) REFERENCES endpoints (tenant_id, id) ON DELETE CASCADE,
  -- An attached upstream cannot be deleted.
  FOREIGN KEY (tenant_id, upstream_id) REFERENCES upstreams (tenant_id, id)
);
CREATE INDEX endpoint_upstreams_by_upstream ON endpoint_upstreams (tenant_id, upstream_id);

CREATE TABLE clients (
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  id uuid NOT NULL,
  name text NOT NULL,
  enabled boolean NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, name)
);

CREATE TABLE client_endpoints (
  tenant_id uuid NOT NULL,
  client_id uuid NOT NULL,
  endpoint_id uuid NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, client_id, endpoint_id),
  FOREIGN KEY (tenant_id, client_id) REFERENCES clients (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, endpoint_id) REFERENCES endpoints (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX client_endpoints_by_endpoint ON client_endpoints (tenant_id, endpoint_id);

-- `hash`: HMAC-SHA-256 of the key under a key derived from the tenant's data key.
CREATE TABLE api_keys (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  client_id uuid NOT NULL,
  name text NOT NULL,
  lookup text NOT NULL,
  hash bytea NOT NULL CHECK (octet_length(hash) = 32),
  data_key_id uuid NOT NULL,
  created_at timestamptz NOT NULL,
  not_after timestamptz,
  revoked_at timestamptz,
  -- The key that took this one's place.
  rotated_to uuid,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, lookup),
  FOREIGN KEY (tenant_id, client_id) REFERENCES clients (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, data_key_id) REFERENCES tenant_data_keys (tenant_id, id)
);
CREATE INDEX api_keys_by_client ON api_keys (tenant_id, client_id);

CREATE TABLE roles (
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  id uuid NOT NULL,
  name text NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, name)
);

CREATE TABLE client_roles (
  tenant_id uuid NOT NULL,
  client_id uuid NOT NULL,
  role_id uuid NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, client_id, role_id),
  FOREIGN KEY (tenant_id, client_id) REFERENCES clients (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, role_id) REFERENCES roles (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX client_roles_by_role ON client_roles (tenant_id, role_id);

-- Exactly one subject. `actions`: what is allowed or forbidden, with upstreams' ids and their own names; a name that
-- vanishes later goes inert, so there is no reference to it.
CREATE TABLE grants (
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  id uuid NOT NULL,
  role_id uuid,
  client_id uuid,
  effect text NOT NULL CHECK (effect IN ('permit', 'forbid')),
  actions jsonb NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  CHECK (num_nonnulls(role_id, client_id) = 1),
  FOREIGN KEY (tenant_id, role_id) REFERENCES roles (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, client_id) REFERENCES clients (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX grants_by_role ON grants (tenant_id, role_id);
CREATE INDEX grants_by_client ON grants (tenant_id, client_id);
