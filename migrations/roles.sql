-- The group roles, idempotent, run by the login role before the migrations. Roles belong to the whole cluster, so they
-- cannot be part of a database's numbered migrations. None can log in: every transaction takes one of them with
-- `set_config('role', …, true)`, for which the login role needs membership and nothing else.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY[
    'portcullis_owner', 'portcullis_app', 'portcullis_ops', 'portcullis_auth', 'portcullis_people',
    'portcullis_audit_write', 'portcullis_audit_read'
  ] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION', name);
      EXCEPTION WHEN duplicate_object OR unique_violation THEN
        -- Another database of this cluster was being set up at the same moment.
        NULL;
      END;
    END IF;
    IF NOT pg_has_role(current_user, name, 'MEMBER') THEN
      EXECUTE format('GRANT %I TO %I', name, current_user);
    END IF;
  END LOOP;
  FOREACH name IN ARRAY ARRAY[
    'portcullis_app', 'portcullis_ops', 'portcullis_auth', 'portcullis_people', 'portcullis_audit_write',
    'portcullis_audit_read'
  ] LOOP
    IF NOT has_schema_privilege(name, 'public', 'USAGE') THEN
      EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', name);
    END IF;
  END LOOP;
  IF NOT has_schema_privilege('portcullis_owner', 'public', 'CREATE')
    OR NOT has_schema_privilege('portcullis_owner', 'public', 'USAGE') THEN
    GRANT USAGE, CREATE ON SCHEMA public TO portcullis_owner;
  END IF;
END
$$;
