-- For watches: what a tenant has stored since a transaction. By the transaction alone, a quiet tenant's watch went through
-- everybody's records at each look. Within one transaction there are few of a tenant's, so nothing more is in it. A block
-- range index, which this replaces, is of no use for one tenant.
CREATE INDEX audit_records_by_tenant_xact ON audit_records (tenant_id, xact) WHERE xact IS NOT NULL;
DROP INDEX audit_records_by_xact;
