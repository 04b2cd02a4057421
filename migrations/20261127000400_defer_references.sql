-- Deleting a tenant deletes its rows table after table, so a reference within the tenant that only forbids stands in the
-- way of whichever table's turn comes first. The deletion puts these checks off to its end, when both sides are gone;
-- whoever does not ask for that gets them at once, as before.
ALTER TABLE upstream_credentials
  ALTER CONSTRAINT upstream_credentials_tenant_id_data_key_id_fkey DEFERRABLE INITIALLY IMMEDIATE;
ALTER TABLE api_keys ALTER CONSTRAINT api_keys_tenant_id_data_key_id_fkey DEFERRABLE INITIALLY IMMEDIATE;
ALTER TABLE endpoint_upstreams
  ALTER CONSTRAINT endpoint_upstreams_tenant_id_upstream_id_fkey DEFERRABLE INITIALLY IMMEDIATE;
ALTER TABLE tools
  ALTER CONSTRAINT tools_tenant_id_pinned_digest_fkey DEFERRABLE INITIALLY IMMEDIATE,
  ALTER CONSTRAINT tools_tenant_id_seen_digest_fkey DEFERRABLE INITIALLY IMMEDIATE;
