-- How long proxies enforce the tenant's configuration while no control plane confirms it. Null: as long as each proxy allows, which
-- is a bound for every tenant.
ALTER TABLE tenants ADD COLUMN max_stale_seconds integer CHECK (max_stale_seconds BETWEEN 60 AND 604800);
GRANT UPDATE (max_stale_seconds) ON tenants TO portcullis_ops;
