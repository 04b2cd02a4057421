-- Audit records: inserted by one role, read by another, changed by none. Retention drops whole partitions.

CREATE TABLE audit_records (
  -- All zero for acts on the installation itself. No reference: the log outlives the tenant.
  tenant_id uuid NOT NULL,
  at timestamptz NOT NULL,
  -- All zero for the control plane's own acts.
  proxy_id uuid NOT NULL,
  boot bytea NOT NULL CHECK (octet_length(boot) = 16),
  seq bigint NOT NULL,
  -- Numbers of the wire enums Phase and Decision.
  phase smallint NOT NULL,
  decision smallint NOT NULL,
  call_id uuid,
  client_id uuid,
  key_id uuid,
  endpoint_id uuid,
  upstream_id uuid,
  tool_id uuid,
  actor text NOT NULL,
  method text NOT NULL,
  target text NOT NULL,
  code text NOT NULL,
  -- Canonical bytes (wire.v1.AuditRecord) and SHA-256(0x00 || body).
  body bytea NOT NULL,
  leaf_hash bytea NOT NULL CHECK (octet_length(leaf_hash) = 32),
  stored_at timestamptz NOT NULL,
  -- The record's own time is part of its name, as the key of a partitioned table must hold the partition key.
  PRIMARY KEY (tenant_id, proxy_id, boot, seq, at)
) PARTITION BY RANGE (at);
CREATE INDEX audit_records_by_time ON audit_records (tenant_id, at DESC, proxy_id, boot, seq);
CREATE INDEX audit_records_by_client ON audit_records (tenant_id, client_id, at DESC) WHERE client_id IS NOT NULL;
CREATE INDEX audit_records_by_tool ON audit_records (tenant_id, tool_id, at DESC) WHERE tool_id IS NOT NULL;
CREATE INDEX audit_records_by_call ON audit_records (tenant_id, call_id) WHERE call_id IS NOT NULL;

-- Takes records whose time no monthly partition covers, such as those of a proxy with a wrong clock: nothing is lost.
CREATE TABLE audit_records_default PARTITION OF audit_records DEFAULT;
ALTER TABLE audit_records_default ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

-- Makes the partitions of the month of `start` and of the `months` after it; returns how many were new. Partitions
-- carry no grants and no policies, so they can be read and written through the parent alone.
CREATE FUNCTION ensure_audit_partitions(start timestamptz, months integer) RETURNS integer
LANGUAGE plpgsql SECURITY INVOKER SET search_path = public, pg_temp AS $$
DECLARE
  lower_bound timestamp;
  name text;
  made integer := 0;
BEGIN
  FOR i IN 0..months LOOP
    lower_bound := date_trunc('month', start AT TIME ZONE 'UTC') + make_interval(months => i);
    name := 'audit_records_' || to_char(lower_bound, 'YYYYMM');
    IF to_regclass(name) IS NULL THEN
      EXECUTE format(
        'CREATE TABLE %I PARTITION OF audit_records FOR VALUES FROM (%L) TO (%L)',
        name, lower_bound AT TIME ZONE 'UTC', (lower_bound + interval '1 month') AT TIME ZONE 'UTC');
      EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
      made := made + 1;
    END IF;
  END LOOP;
  RETURN made;
END
$$;
REVOKE ALL ON FUNCTION ensure_audit_partitions(timestamptz, integer) FROM PUBLIC;
