-- People: one account over all tenants, and what its owner is in each.

-- An account is nobody's but its owner's: no tenant's role reads it. What a tenant knows of a member stands in its own row.
CREATE TABLE accounts (
  id uuid PRIMARY KEY,
  -- As `people/email.rs` spells it.
  email text NOT NULL UNIQUE,
  password_hash text CHECK (password_hash LIKE '$argon2id$%'),
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);

CREATE TABLE members (
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  id uuid NOT NULL,
  account_id uuid NOT NULL REFERENCES accounts (id),
  email text NOT NULL,
  admin_role text NOT NULL
    CHECK (admin_role IN ('owner', 'admin', 'security', 'auditor', 'developer', 'read_only', 'user')),
  enabled boolean NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, account_id)
);
CREATE INDEX members_by_account ON members (account_id);

CREATE TABLE member_roles (
  tenant_id uuid NOT NULL,
  member_id uuid NOT NULL,
  role_id uuid NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, member_id, role_id),
  FOREIGN KEY (tenant_id, member_id) REFERENCES members (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, role_id) REFERENCES roles (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX member_roles_by_role ON member_roles (tenant_id, role_id);

CREATE TABLE invitations (
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  id uuid NOT NULL,
  email text NOT NULL,
  admin_role text NOT NULL
    CHECK (admin_role IN ('owner', 'admin', 'security', 'auditor', 'developer', 'read_only', 'user')),
  -- SHA-256 of what the link holds. Looked up before the tenant is known.
  digest bytea NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id)
);

-- `digest`: SHA-256 of what the browser has.
CREATE TABLE sessions (
  digest bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
  account_id uuid NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
  signed_in_at timestamptz NOT NULL,
  seen_at timestamptz NOT NULL
);
CREATE INDEX sessions_by_account ON sessions (account_id, signed_in_at);
CREATE INDEX sessions_by_time ON sessions (seen_at);

DO $$
DECLARE
  name text;
  mine constant text := 'tenant_id = NULLIF(current_setting(''app.tenant'', true), '''')::uuid';
BEGIN
  FOREACH name IN ARRAY ARRAY['members', 'member_roles', 'invitations'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY tenant ON %I FOR ALL TO portcullis_app USING (%s) WITH CHECK (%s)', name, mine, mine);
  END LOOP;
END
$$;
-- Whoever signs in does so before a tenant is known, and sees of which they are members. The role for that (`portcullis_people`) sees
-- nothing of the tenants themselves but their names.
CREATE POLICY lookup ON members FOR SELECT TO portcullis_people USING (true);
CREATE POLICY lookup ON invitations FOR SELECT TO portcullis_people USING (true);
CREATE POLICY lookup ON tenants FOR SELECT TO portcullis_people USING (true);

GRANT SELECT, INSERT, DELETE, UPDATE (admin_role, enabled, updated_at) ON members TO portcullis_app;
GRANT SELECT, INSERT, DELETE ON member_roles TO portcullis_app;
GRANT SELECT (tenant_id, id, email, admin_role, created_at, expires_at), INSERT, DELETE ON invitations TO portcullis_app;
GRANT SELECT (id, email, password_hash, updated_at), INSERT, DELETE, UPDATE (password_hash, updated_at) ON accounts TO portcullis_people;
GRANT SELECT, INSERT, DELETE, UPDATE (seen_at) ON sessions TO portcullis_people;
GRANT SELECT (tenant_id, id, account_id, enabled) ON members TO portcullis_people;
GRANT SELECT (tenant_id, id, email, digest, expires_at) ON invitations TO portcullis_people;
GRANT SELECT (id, slug, name, suspended) ON tenants TO portcullis_people;
