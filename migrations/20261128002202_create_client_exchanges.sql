-- Clients that may exchange tokens (RFC 8693), and whose.
CREATE TABLE client_exchanges (
  tenant_id uuid NOT NULL,
  client_id uuid NOT NULL,
  subjects text NOT NULL CHECK (subjects IN ('own', 'members')),
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, client_id),
  FOREIGN KEY (tenant_id, client_id) REFERENCES clients (tenant_id, id) ON DELETE CASCADE
);
ALTER TABLE client_exchanges ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON client_exchanges FOR ALL TO portcullis_app
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);
GRANT SELECT, INSERT, DELETE, UPDATE (subjects, updated_at) ON client_exchanges TO portcullis_app;
