-- As before, and: replicas take turns, and a month of which the default partition already holds a record (a proxy's clock
-- was ahead) is left to it. Making that month's partition fails for ever; failing the others with it would keep the
-- control plane from starting.
CREATE OR REPLACE FUNCTION ensure_audit_partitions(start timestamptz, months integer) RETURNS integer
LANGUAGE plpgsql SECURITY INVOKER SET search_path = public, pg_temp AS $$
DECLARE
  lower_bound timestamp;
  name text;
  made integer := 0;
BEGIN
  PERFORM pg_advisory_xact_lock('audit_records'::regclass::oid::bigint);
  FOR i IN 0..months LOOP
    lower_bound := date_trunc('month', start AT TIME ZONE 'UTC') + make_interval(months => i);
    name := 'audit_records_' || to_char(lower_bound, 'YYYYMM');
    IF to_regclass(name) IS NULL THEN
      BEGIN
        EXECUTE format(
          'CREATE TABLE %I PARTITION OF audit_records FOR VALUES FROM (%L) TO (%L)',
          name, lower_bound AT TIME ZONE 'UTC', (lower_bound + interval '1 month') AT TIME ZONE 'UTC');
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        made := made + 1;
      EXCEPTION WHEN check_violation THEN
        RAISE WARNING 'records of % are in the default partition and stay there', name;
      END;
    END IF;
  END LOOP;
  RETURN made;
END
$$;
