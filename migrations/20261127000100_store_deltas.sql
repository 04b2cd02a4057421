-- What changed from one revision of a tenant to the next, for proxies that hold the former. Written with the snapshot it
-- leads to; whoever finds none sends the whole snapshot.
CREATE TABLE deltas (
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  -- The revision it leads to, from the one before.
  rev bigint NOT NULL CHECK (rev > 1),
  from_digest bytea NOT NULL CHECK (octet_length(from_digest) = 32),
  digest bytea NOT NULL CHECK (octet_length(digest) = 32),
  -- wire.v1.Changes.
  body bytea NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, rev)
);

ALTER TABLE deltas ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON deltas FOR ALL TO portcullis_app
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);
CREATE POLICY operator ON deltas FOR SELECT TO portcullis_ops USING (true);
GRANT SELECT, INSERT, DELETE ON deltas TO portcullis_app;
GRANT SELECT ON deltas TO portcullis_ops;
