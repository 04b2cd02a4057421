-- Tools as proxies found them, and as an administrator pinned them.

-- Content-addressed: each definition's raw bytes once.
CREATE TABLE tool_definitions (
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  -- SHA-256 of the canonical form (RFC 8785).
  digest bytea NOT NULL CHECK (octet_length(digest) = 32),
  definition bytea NOT NULL,
  first_seen_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, digest)
);

CREATE TABLE tools (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  upstream_id uuid NOT NULL,
  -- The upstream's own name.
  name text NOT NULL,
  state text NOT NULL CHECK (state IN ('pending', 'approved', 'quarantined', 'rejected', 'retired')),
  class text NOT NULL CHECK (class IN ('read', 'write', 'destructive', 'unclassified')),
  labels text[] NOT NULL,
  cost integer NOT NULL CHECK (cost >= 1),
  -- The approved definition; stays through quarantine, so that lists keep serving it.
  pinned_digest bytea,
  pinned_at timestamptz,
  -- What was seen last.
  seen_digest bytea NOT NULL,
  first_seen_at timestamptz NOT NULL,
  last_seen_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, upstream_id, name),
  CHECK (state <> 'approved' OR pinned_digest IS NOT NULL),
  FOREIGN KEY (tenant_id, upstream_id) REFERENCES upstreams (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, pinned_digest) REFERENCES tool_definitions (tenant_id, digest),
  FOREIGN KEY (tenant_id, seen_digest) REFERENCES tool_definitions (tenant_id, digest)
);

-- What a proxy last said about an upstream. Not configuration: no revision follows from it.
CREATE TABLE upstream_status (
  tenant_id uuid NOT NULL,
  upstream_id uuid NOT NULL,
  proxy_id uuid NOT NULL,
  reported_at timestamptz NOT NULL,
  protocol_version text NOT NULL,
  server_name text NOT NULL,
  server_version text NOT NULL,
  -- Stable code when discovery failed.
  error_code text,
  PRIMARY KEY (tenant_id, upstream_id),
  FOREIGN KEY (tenant_id, upstream_id) REFERENCES upstreams (tenant_id, id) ON DELETE CASCADE
);

-- One subject: the tenant as a whole, every client alike, one client, one tool.
CREATE TABLE limits (
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  id uuid NOT NULL,
  subject text NOT NULL CHECK (subject IN ('tenant', 'every_client', 'client', 'tool')),
  client_id uuid,
  tool_id uuid,
  per_minute integer NOT NULL CHECK (per_minute >= 0),
  burst integer NOT NULL CHECK (burst >= 1),
  -- 0: not limited.
  concurrency integer NOT NULL CHECK (concurrency >= 0),
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE NULLS NOT DISTINCT (tenant_id, subject, client_id, tool_id),
  CHECK ((subject = 'client') = (client_id IS NOT NULL)),
  CHECK ((subject = 'tool') = (tool_id IS NOT NULL)),
  FOREIGN KEY (tenant_id, client_id) REFERENCES clients (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, tool_id) REFERENCES tools (tenant_id, id) ON DELETE CASCADE
);
