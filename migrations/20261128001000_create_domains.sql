-- Names of a tenant's own under which its endpoints are reached. Whoever makes a row has proven nothing yet: any tenant may
-- claim a name, and one alone can have proven it.
CREATE TABLE domains (
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  id uuid NOT NULL,
  -- Lower case, without a final dot.
  name text NOT NULL CHECK (octet_length(name) BETWEEN 3 AND 241 AND name = lower(name)),
  -- The endpoint it stands for; null: all of the tenant's.
  endpoint_id uuid,
  -- What the domain's DNS has to say. Public.
  token text NOT NULL,
  -- When it said so; null: it has not, and the domain is not served.
  proven_at timestamptz,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, name),
  -- A domain's endpoint cannot be deleted: the domain would stand for nothing, or for more than was meant.
  FOREIGN KEY (tenant_id, endpoint_id) REFERENCES endpoints (tenant_id, id) DEFERRABLE INITIALLY IMMEDIATE
);
-- Over all tenants: row-level security does not hide what a unique index knows.
CREATE UNIQUE INDEX domains_proven_name ON domains (name) WHERE proven_at IS NOT NULL;
CREATE INDEX domains_by_endpoint ON domains (tenant_id, endpoint_id);

ALTER TABLE domains ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON domains FOR ALL TO portcullis_app
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);
GRANT SELECT, INSERT, DELETE, UPDATE (proven_at, updated_at) ON domains TO portcullis_app;
