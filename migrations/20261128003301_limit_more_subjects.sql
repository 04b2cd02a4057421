-- Limits of an endpoint, of members and of keys. A control plane of the former version does not publish a tenant that has such a limit: it
-- refuses the write that would.

ALTER TABLE limits
  ADD COLUMN endpoint_id uuid,
  ADD COLUMN member_id uuid,
  ADD COLUMN key_id uuid,
  DROP CONSTRAINT limits_subject_check,
  DROP CONSTRAINT limits_tenant_id_subject_client_id_tool_id_key;

ALTER TABLE limits
  ADD CONSTRAINT limits_subject_check CHECK (subject IN
    ('tenant', 'every_client', 'every_member', 'client', 'tool', 'endpoint', 'member', 'key')),
  ADD CONSTRAINT limits_one_of_a_subject
    UNIQUE NULLS NOT DISTINCT (tenant_id, subject, client_id, tool_id, endpoint_id, member_id, key_id),
  ADD CHECK ((subject = 'endpoint') = (endpoint_id IS NOT NULL)),
  ADD CHECK ((subject = 'member') = (member_id IS NOT NULL)),
  ADD CHECK ((subject = 'key') = (key_id IS NOT NULL)),
  ADD FOREIGN KEY (tenant_id, endpoint_id) REFERENCES endpoints (tenant_id, id) ON DELETE CASCADE,
  ADD FOREIGN KEY (tenant_id, member_id) REFERENCES members (tenant_id, id) ON DELETE CASCADE,
  ADD FOREIGN KEY (tenant_id, key_id) REFERENCES api_keys (tenant_id, id) ON DELETE CASCADE;
