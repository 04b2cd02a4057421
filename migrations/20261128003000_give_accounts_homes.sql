-- An account belongs to the tenant whose invitation made it, its home, and an address is that of one account there, not of one in the
-- whole installation: otherwise whoever is first to invite an address has it, and knows the password of what another tenant later makes
-- a member. An account is there as long as it is somebody's: its home is always a tenant of which it is a member.
--
-- A control plane of before this cannot make accounts any more (it knows of no home). That is meant: what it would make is what ends here.

ALTER TABLE accounts ADD COLUMN home_tenant_id uuid REFERENCES tenants (id) ON DELETE CASCADE;

-- Whose invitation made an account is not known any more: it was that of the tenant that it joined first, if that has not removed it.
ALTER TABLE members NO FORCE ROW LEVEL SECURITY;
UPDATE accounts a SET home_tenant_id = (
  SELECT m.tenant_id FROM members m WHERE m.account_id = a.id ORDER BY m.created_at, m.tenant_id LIMIT 1);
ALTER TABLE members FORCE ROW LEVEL SECURITY;
DELETE FROM accounts WHERE home_tenant_id IS NULL;

ALTER TABLE accounts ALTER COLUMN home_tenant_id SET NOT NULL, DROP CONSTRAINT accounts_email_key,
  ADD UNIQUE (email, home_tenant_id);
CREATE INDEX accounts_by_home ON accounts (home_tenant_id);
-- By which somebody is found who signs in for the tenant.
ALTER TABLE members ADD UNIQUE (tenant_id, email);

GRANT SELECT (home_tenant_id), UPDATE (home_tenant_id) ON accounts TO portcullis_people;
GRANT SELECT (created_at) ON members TO portcullis_people;
