-- What access tokens may be used for, as each tenant names it. Names never change: tokens and grants have them.
CREATE TABLE scopes (
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  id uuid NOT NULL,
  name text NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 64),
  description text NOT NULL,
  -- Callers are told to ask for it at first.
  baseline boolean NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, name)
);

-- A scope that a grant names stays while it does; a tenant is deleted with both.
ALTER TABLE grants ADD COLUMN scope text;
ALTER TABLE grants ADD CHECK (scope IS NULL OR effect = 'permit');
ALTER TABLE grants ADD CONSTRAINT grants_scope_fkey
  FOREIGN KEY (tenant_id, scope) REFERENCES scopes (tenant_id, name) DEFERRABLE INITIALLY IMMEDIATE;
CREATE INDEX grants_by_scope ON grants (tenant_id, scope) WHERE scope IS NOT NULL;

ALTER TABLE scopes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON scopes FOR ALL TO portcullis_app
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);
GRANT SELECT, INSERT, DELETE, UPDATE (description, baseline, updated_at) ON scopes TO portcullis_app;
GRANT UPDATE (scope) ON grants TO portcullis_app;
