-- What members let clients do: consents, codes, and families of tokens.

CREATE TABLE consents (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  member_id uuid NOT NULL,
  client_id uuid NOT NULL,
  -- The endpoint, by the identifier under which it was asked for.
  resource text NOT NULL,
  scopes text[] NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, member_id, client_id, resource),
  FOREIGN KEY (tenant_id, member_id) REFERENCES members (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, client_id) REFERENCES clients (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX consents_by_client ON consents (tenant_id, client_id);

-- A family: what came of one code.
CREATE TABLE authorizations (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  member_id uuid NOT NULL,
  client_id uuid NOT NULL,
  resource text NOT NULL,
  scopes text[] NOT NULL,
  signed_in_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  ended_at timestamptz,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, member_id) REFERENCES members (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, client_id) REFERENCES clients (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX authorizations_by_member ON authorizations (tenant_id, member_id, client_id);
CREATE INDEX authorizations_by_client ON authorizations (tenant_id, client_id);
CREATE INDEX authorizations_by_time ON authorizations (expires_at);

-- `digest`: SHA-256 of the code. One that was used is kept as long as what came of it: a second use ends that.
CREATE TABLE authorization_codes (
  tenant_id uuid NOT NULL,
  digest bytea NOT NULL CHECK (octet_length(digest) = 32),
  member_id uuid NOT NULL,
  client_id uuid NOT NULL,
  -- Of the session in which the member agreed.
  session bytea NOT NULL,
  redirect_uri text NOT NULL,
  challenge text NOT NULL,
  resource text NOT NULL,
  scopes text[] NOT NULL,
  signed_in_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  authorization_id uuid,
  PRIMARY KEY (tenant_id, digest),
  FOREIGN KEY (tenant_id, member_id) REFERENCES members (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, client_id) REFERENCES clients (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, authorization_id) REFERENCES authorizations (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX authorization_codes_by_time ON authorization_codes (expires_at);
CREATE INDEX authorization_codes_by_member ON authorization_codes (tenant_id, member_id);
CREATE INDEX authorization_codes_by_client ON authorization_codes (tenant_id, client_id);
CREATE INDEX authorization_codes_by_family ON authorization_codes (tenant_id, authorization_id);

-- `digest`: SHA-256 of the token. Those in whose place another is are kept as long as they would be good: a second use ends the family.
CREATE TABLE refresh_tokens (
  tenant_id uuid NOT NULL,
  digest bytea NOT NULL CHECK (octet_length(digest) = 32),
  authorization_id uuid NOT NULL,
  expires_at timestamptz NOT NULL,
  used_at timestamptz,
  successor bytea CHECK (octet_length(successor) = 32),
  PRIMARY KEY (tenant_id, digest),
  FOREIGN KEY (tenant_id, authorization_id) REFERENCES authorizations (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX refresh_tokens_by_family ON refresh_tokens (tenant_id, authorization_id);
CREATE INDEX refresh_tokens_by_time ON refresh_tokens (expires_at);

-- Access tokens of a family that have not expired: they end with it.
CREATE TABLE authorization_tokens (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  authorization_id uuid NOT NULL,
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, authorization_id) REFERENCES authorizations (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX authorization_tokens_by_family ON authorization_tokens (tenant_id, authorization_id);
CREATE INDEX authorization_tokens_by_time ON authorization_tokens (expires_at);

DO $$
DECLARE
  name text;
  mine constant text := 'tenant_id = NULLIF(current_setting(''app.tenant'', true), '''')::uuid';
BEGIN
  FOREACH name IN ARRAY ARRAY[
    'consents', 'authorizations', 'authorization_codes', 'refresh_tokens', 'authorization_tokens'
  ] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY tenant ON %I FOR ALL TO portcullis_app USING (%s) WITH CHECK (%s)', name, mine, mine);
  END LOOP;
  FOREACH name IN ARRAY ARRAY['authorizations', 'authorization_codes', 'refresh_tokens', 'authorization_tokens'] LOOP
    EXECUTE format('CREATE POLICY operator ON %I FOR ALL TO portcullis_ops USING (true) WITH CHECK (true)', name);
    EXECUTE format('GRANT SELECT (expires_at), DELETE ON %I TO portcullis_ops', name);
  END LOOP;
END
$$;
GRANT SELECT (authorization_id) ON authorization_codes TO portcullis_ops;

GRANT SELECT, INSERT, DELETE, UPDATE (scopes, updated_at) ON consents TO portcullis_app;
GRANT SELECT, INSERT, DELETE, UPDATE (ended_at) ON authorizations TO portcullis_app;
GRANT SELECT, INSERT, DELETE, UPDATE (authorization_id) ON authorization_codes TO portcullis_app;
GRANT SELECT, INSERT, DELETE, UPDATE (used_at, successor) ON refresh_tokens TO portcullis_app;
GRANT SELECT, INSERT, DELETE ON authorization_tokens TO portcullis_app;
