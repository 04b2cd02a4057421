-- What devices have asked for and people are to decide (RFC 8628).
CREATE TABLE device_authorizations (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  client_id uuid NOT NULL,
  -- Of the device code.
  lookup text NOT NULL,
  hash bytea NOT NULL CHECK (octet_length(hash) = 32),
  -- Of what the person types, keyed.
  user_code bytea NOT NULL CHECK (octet_length(user_code) = 16),
  resource text NOT NULL,
  scopes text[] NOT NULL,
  state text NOT NULL CHECK (state IN ('pending', 'allowed', 'denied')),
  member_id uuid,
  signed_in_at timestamptz,
  interval_seconds integer NOT NULL CHECK (interval_seconds BETWEEN 1 AND 3600),
  polled_at timestamptz,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, lookup),
  UNIQUE (tenant_id, user_code),
  CHECK ((state = 'allowed') = (member_id IS NOT NULL AND signed_in_at IS NOT NULL)),
  FOREIGN KEY (tenant_id, client_id) REFERENCES clients (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, member_id) REFERENCES members (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX device_authorizations_by_client ON device_authorizations (tenant_id, client_id);
CREATE INDEX device_authorizations_by_member ON device_authorizations (tenant_id, member_id);
CREATE INDEX device_authorizations_by_time ON device_authorizations (expires_at);

ALTER TABLE device_authorizations ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON device_authorizations FOR ALL TO portcullis_app
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);
CREATE POLICY operator ON device_authorizations FOR ALL TO portcullis_ops USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE, UPDATE (state, member_id, signed_in_at, interval_seconds, polled_at) ON device_authorizations TO portcullis_app;
GRANT SELECT (expires_at), DELETE ON device_authorizations TO portcullis_ops;
