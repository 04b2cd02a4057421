-- How a company's own people sign in: an OpenID provider of the tenant's, and whom it has let in.
CREATE TABLE sign_in_providers (
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  id uuid NOT NULL,
  name text NOT NULL,
  issuer text NOT NULL CHECK (octet_length(issuer) BETWEEN 1 AND 1024),
  client_id text NOT NULL CHECK (octet_length(client_id) BETWEEN 1 AND 256),
  data_key_id uuid NOT NULL,
  -- The client's secret.
  sealed bytea NOT NULL,
  fingerprint text NOT NULL,
  enabled boolean NOT NULL,
  email_domains text[] NOT NULL CHECK (cardinality(email_domains) BETWEEN 1 AND 64),
  creates_members boolean NOT NULL,
  passwords boolean NOT NULL,
  groups_claim text CHECK (octet_length(groups_claim) BETWEEN 1 AND 128),
  rules jsonb NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, issuer, client_id),
  FOREIGN KEY (tenant_id, data_key_id) REFERENCES tenant_data_keys (tenant_id, id) DEFERRABLE INITIALLY IMMEDIATE
);

-- Who somebody of the provider's is here: by its `sub`, whatever their address is by now.
CREATE TABLE sign_in_identities (
  tenant_id uuid NOT NULL,
  provider_id uuid NOT NULL,
  subject text NOT NULL CHECK (octet_length(subject) BETWEEN 1 AND 255),
  member_id uuid NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, provider_id, subject),
  UNIQUE (tenant_id, provider_id, member_id),
  FOREIGN KEY (tenant_id, provider_id) REFERENCES sign_in_providers (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, member_id) REFERENCES members (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX sign_in_identities_by_member ON sign_in_identities (tenant_id, member_id);

-- A session that a tenant's provider has let in is good for that tenant alone, whatever else the account is a member of.
ALTER TABLE sessions ADD COLUMN only_tenant_id uuid REFERENCES tenants (id) ON DELETE CASCADE;
CREATE INDEX sessions_by_tenant ON sessions (only_tenant_id) WHERE only_tenant_id IS NOT NULL;

DO $$
DECLARE
  name text;
  mine constant text := 'tenant_id = NULLIF(current_setting(''app.tenant'', true), '''')::uuid';
BEGIN
  FOREACH name IN ARRAY ARRAY['sign_in_providers', 'sign_in_identities'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY tenant ON %I FOR ALL TO portcullis_app USING (%s) WITH CHECK (%s)', name, mine, mine);
  END LOOP;
END
$$;
-- Whether a password is good is asked before a tenant is entered.
CREATE POLICY lookup ON sign_in_providers FOR SELECT TO portcullis_people USING (true);
GRANT SELECT (tenant_id, enabled, passwords, email_domains) ON sign_in_providers TO portcullis_people;
GRANT SELECT, INSERT, DELETE, UPDATE (name, issuer, client_id, data_key_id, sealed, fingerprint, enabled, email_domains, creates_members,
  passwords, groups_claim, rules, updated_at) ON sign_in_providers TO portcullis_app;
GRANT SELECT, INSERT, DELETE ON sign_in_identities TO portcullis_app;
