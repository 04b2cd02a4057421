-- A link by which a member chooses another password: an invitation of somebody who is one already.
ALTER TABLE invitations ADD COLUMN member_id uuid,
  ADD FOREIGN KEY (tenant_id, member_id) REFERENCES members (tenant_id, id) ON DELETE CASCADE;
CREATE UNIQUE INDEX invitations_by_member ON invitations (tenant_id, member_id);
GRANT SELECT (member_id) ON invitations TO portcullis_app, portcullis_people;
-- A member whose account is one of other tenants too gets one of their own: no tenant changes the password of those.
GRANT UPDATE (account_id) ON members TO portcullis_app;
