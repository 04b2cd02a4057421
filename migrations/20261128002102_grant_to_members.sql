-- A grant may be for one member.
ALTER TABLE grants ADD COLUMN member_id uuid;
ALTER TABLE grants ADD FOREIGN KEY (tenant_id, member_id) REFERENCES members (tenant_id, id) ON DELETE CASCADE;
CREATE INDEX grants_by_member ON grants (tenant_id, member_id) WHERE member_id IS NOT NULL;
-- Wider than before, for a version of the control plane that does not know members as well.
ALTER TABLE grants DROP CONSTRAINT grants_check;
ALTER TABLE grants ADD CONSTRAINT grants_subject_check CHECK (num_nonnulls(role_id, client_id, member_id) = 1);
