-- Who may do what with which rows. A table with `tenant_id` has row-level security enabled and forced; tests fail when
-- one has not. `app.tenant` unset or empty gives no rows.

-- Roles and what they are for:
--   portcullis_owner        owns everything; migrations and partitions
--   portcullis_app          one tenant at a time
--   portcullis_ops          across tenants: operators' resources, and pushing configuration to proxies
--   portcullis_auth         before a tenant is known: hashes and ids of credentials
--   portcullis_audit_write  inserts audit records
--   portcullis_audit_read   reads one tenant's audit records

DO $$
DECLARE
  name text;
  mine constant text := 'tenant_id = NULLIF(current_setting(''app.tenant'', true), '''')::uuid';
BEGIN
  -- A tenant's own tables.
  FOREACH name IN ARRAY ARRAY[
    'egress_rules', 'tenant_data_keys', 'snapshots', 'outbox', 'admin_tokens', 'upstreams', 'upstream_credentials',
    'endpoints', 'endpoint_upstreams', 'clients', 'client_endpoints', 'api_keys', 'roles', 'client_roles', 'grants',
    'tool_definitions', 'tools', 'upstream_status', 'limits', 'proxy_revisions', 'commands'
  ] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY tenant ON %I FOR ALL TO portcullis_app USING (%s) WITH CHECK (%s)', name, mine, mine);
  END LOOP;
  -- Of these, what operators' work and pushing configuration need.
  FOREACH name IN ARRAY ARRAY[
    'egress_rules', 'tenant_data_keys', 'snapshots', 'outbox', 'admin_tokens', 'proxy_revisions', 'commands'
  ] LOOP
    EXECUTE format('CREATE POLICY operator ON %I FOR ALL TO portcullis_ops USING (true) WITH CHECK (true)', name);
  END LOOP;
END
$$;

ALTER TABLE tenants ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenants FOR ALL TO portcullis_app
  USING (id = NULLIF(current_setting('app.tenant', true), '')::uuid)
  WITH CHECK (id = NULLIF(current_setting('app.tenant', true), '')::uuid);
CREATE POLICY operator ON tenants FOR ALL TO portcullis_ops USING (true) WITH CHECK (true);

CREATE POLICY lookup ON admin_tokens FOR SELECT TO portcullis_auth USING (true);

ALTER TABLE audit_records ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY append ON audit_records FOR INSERT TO portcullis_audit_write
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);
CREATE POLICY tenant ON audit_records FOR SELECT TO portcullis_audit_read
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);

-- Grants. Columns that never change (ids, slugs, secrets' hashes) are in no UPDATE list.
GRANT SELECT, UPDATE (rev) ON tenants TO portcullis_app;
GRANT SELECT ON egress_rules TO portcullis_app;
GRANT SELECT ON tenant_data_keys TO portcullis_app;
GRANT SELECT, INSERT, DELETE ON snapshots TO portcullis_app;
GRANT SELECT, INSERT, DELETE ON outbox TO portcullis_app;
GRANT SELECT (tenant_id, id, name, scopes, created_at, not_after, revoked_at), INSERT, UPDATE (revoked_at)
  ON admin_tokens TO portcullis_app;

GRANT SELECT, INSERT, DELETE, UPDATE (name, url, connect_timeout_ms, first_byte_timeout_ms, idle_timeout_ms,
  total_timeout_ms, tls_ca_pem, tls_server_name, enabled, updated_at) ON upstreams TO portcullis_app;
GRANT SELECT, INSERT, DELETE, UPDATE (data_key_id, sealed, fingerprint, updated_at)
  ON upstream_credentials TO portcullis_app;
GRANT SELECT, INSERT, DELETE, UPDATE (name, hosts, origins, allow, deny, closed_methods, unknown_tools, max_request_bytes,
  max_response_bytes, enabled, updated_at) ON endpoints TO portcullis_app;
GRANT SELECT, INSERT, DELETE ON endpoint_upstreams TO portcullis_app;
GRANT SELECT, INSERT, DELETE, UPDATE (name, enabled, updated_at) ON clients TO portcullis_app;
GRANT SELECT, INSERT, DELETE ON client_endpoints TO portcullis_app;
GRANT SELECT, INSERT, UPDATE (not_after, revoked_at, rotated_to) ON api_keys TO portcullis_app;
GRANT SELECT, INSERT, DELETE, UPDATE (name, updated_at) ON roles TO portcullis_app;
GRANT SELECT, INSERT, DELETE ON client_roles TO portcullis_app;
GRANT SELECT, INSERT, DELETE, UPDATE (effect, actions, updated_at) ON grants TO portcullis_app;
GRANT SELECT, INSERT ON tool_definitions TO portcullis_app;
GRANT SELECT, INSERT, UPDATE (state, class, labels, cost, pinned_digest, pinned_at, seen_digest, last_seen_at,
  updated_at) ON tools TO portcullis_app;
GRANT SELECT, INSERT, UPDATE (proxy_id, reported_at, protocol_version, server_name, server_version, error_code)
  ON upstream_status TO portcullis_app;
GRANT SELECT, INSERT, DELETE, UPDATE (per_minute, burst, concurrency, updated_at) ON limits TO portcullis_app;
GRANT SELECT, INSERT ON commands TO portcullis_app;

GRANT SELECT, INSERT, DELETE, UPDATE (name, pool_id, suspended, updated_at) ON tenants TO portcullis_ops;
GRANT SELECT, INSERT, DELETE ON egress_rules TO portcullis_ops;
GRANT SELECT, INSERT ON tenant_data_keys TO portcullis_ops;
GRANT SELECT ON snapshots TO portcullis_ops;
GRANT SELECT ON outbox TO portcullis_ops;
GRANT SELECT (tenant_id, id, name, scopes, created_at, not_after, revoked_at) ON admin_tokens TO portcullis_ops;
GRANT SELECT, INSERT, UPDATE ON proxy_revisions TO portcullis_ops;
GRANT SELECT, UPDATE (claimed_by, claimed_at, finished_at, error_code) ON commands TO portcullis_ops;
GRANT SELECT, INSERT ON pools TO portcullis_ops;
GRANT SELECT, INSERT, UPDATE (build, certificate_sha256, certificate_not_after, lease_until, boot, revoked_at)
  ON proxies TO portcullis_ops;
GRANT SELECT (id, pool_id, lookup, created_at, not_after, used_at, used_by), INSERT, DELETE, UPDATE (used_at, used_by)
  ON join_tokens TO portcullis_ops;
GRANT SELECT, INSERT ON certificate_authorities TO portcullis_ops;
GRANT SELECT (id, name, lookup, created_at, not_after, revoked_at), INSERT, UPDATE (revoked_at)
  ON operator_tokens TO portcullis_ops;

GRANT SELECT (tenant_id, id, lookup, hash) ON admin_tokens TO portcullis_auth;
GRANT SELECT (id, lookup, hash) ON operator_tokens TO portcullis_auth;
GRANT SELECT (id, lookup, hash) ON join_tokens TO portcullis_auth;

GRANT INSERT ON audit_records TO portcullis_audit_write;
GRANT SELECT ON audit_records TO portcullis_audit_read;
