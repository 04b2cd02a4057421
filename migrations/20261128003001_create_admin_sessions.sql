-- Members at the API's origin. Each of these sessions comes of one at the authorization servers' origin (`sessions`), by a code, and ends
-- with it: whoever signs out everywhere, or changes the password, ends all of them.
CREATE TABLE admin_sessions (
  tenant_id uuid NOT NULL,
  member_id uuid NOT NULL,
  session bytea NOT NULL REFERENCES sessions (digest) ON DELETE CASCADE,
  -- SHA-256 of the code, kept so that its being used twice is noticed; and the challenge of who may use it (RFC 7636).
  code bytea NOT NULL CHECK (octet_length(code) = 32),
  challenge text NOT NULL,
  code_until timestamptz NOT NULL,
  -- SHA-256 of what the browser has; NULL until the code was used.
  digest bytea UNIQUE CHECK (octet_length(digest) = 32),
  PRIMARY KEY (tenant_id, code),
  FOREIGN KEY (tenant_id, member_id) REFERENCES members (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX admin_sessions_by_member ON admin_sessions (tenant_id, member_id);
CREATE INDEX admin_sessions_by_session ON admin_sessions (session);
CREATE INDEX admin_sessions_unused ON admin_sessions (code_until) WHERE digest IS NULL;

ALTER TABLE admin_sessions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON admin_sessions FOR ALL TO portcullis_app
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);
-- The tenant of a cookie is not known before it was looked up.
CREATE POLICY lookup ON admin_sessions FOR ALL TO portcullis_people USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE, UPDATE (digest) ON admin_sessions TO portcullis_app;
GRANT SELECT (tenant_id, member_id, session, code_until, digest), DELETE ON admin_sessions TO portcullis_people;

-- Who made an invitation: it ends with what they may. Of those of before nobody knows.
ALTER TABLE invitations ADD COLUMN made_by text NOT NULL DEFAULT '';
GRANT SELECT (made_by) ON invitations TO portcullis_app;
