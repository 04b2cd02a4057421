//! The schema's own catalogue: a new table cannot forget its row-level security.

use sqlx::{AssertSqlSafe, FromRow, PgConnection};

use crate::{ROLES, new_database};

/// Tables without `tenant_id`: the installation's. Only operators' and look-up roles have grants on them, but for
/// `kill_epochs`, a number.
const WITHOUT_TENANT: &[&str] = &[
    "accounts",
    "sessions",
    "_sqlx_migrations",
    "audit_gaps",
    "audit_quarantine",
    "audit_sources",
    "certificate_authorities",
    "global_revisions",
    "global_rollout",
    "join_tokens",
    "kill_acks",
    "kill_epochs",
    "operator_tokens",
    "pools",
    "proxies",
];

#[derive(Debug, FromRow)]
struct Table {
    name: String,
    has_tenant: bool,
    is_partition: bool,
    enabled: bool,
    forced: bool,
}

async fn tables(conn: &mut PgConnection) -> Vec<Table> {
    sqlx::query_as(
        "SELECT c.relname::text AS name, c.relispartition AS is_partition, c.relrowsecurity AS enabled,
           c.relforcerowsecurity AS forced,
           EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id') AS has_tenant
         FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') ORDER BY 1",
    )
    .fetch_all(conn)
    .await
    .unwrap()
}

async fn strings(conn: &mut PgConnection, sql: &str) -> Vec<String> {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_all(conn).await.unwrap()
}

#[tokio::test]
async fn every_tenant_table_has_row_level_security_forced_and_a_policy_for_every_granted_command() {
    let (_, mut conn) = new_database().await;
    let tables = tables(&mut conn).await;
    assert!(tables.len() > 25);
    for table in &tables {
        let name = table.name.as_str();
        if !table.has_tenant && name != "tenants" {
            assert!(WITHOUT_TENANT.contains(&name), "{name} has no tenant_id and is not on the list");
            continue;
        }
        assert!(table.enabled && table.forced, "{name}: row-level security is not enabled and forced");
        for role in ROLES {
            for (command, code) in [("SELECT", 'r'), ("INSERT", 'a'), ("UPDATE", 'w'), ("DELETE", 'd')] {
                let granted = if command == "DELETE" {
                    format!("SELECT has_table_privilege('{role}', 'public.{name}', 'DELETE')")
                } else {
                    format!("SELECT has_any_column_privilege('{role}', 'public.{name}', '{command}')")
                };
                let granted: bool =
                    sqlx::query_scalar(AssertSqlSafe(granted)).fetch_one(&mut conn).await.unwrap();
                let policy = format!(
                    "SELECT EXISTS (SELECT FROM pg_policy WHERE polrelid = 'public.{name}'::regclass AND polpermissive
                       AND polcmd IN ('*', '{code}') AND '{role}'::regrole = ANY (polroles))"
                );
                let policy: bool =
                    sqlx::query_scalar(AssertSqlSafe(policy)).fetch_one(&mut conn).await.unwrap();
                assert!(!granted || policy, "{name}: {role} may {command} and no policy says which rows");
                assert!(
                    !(granted && table.is_partition),
                    "{name}: a partition is reached through its parent alone"
                );
            }
        }
    }
}

#[tokio::test]
async fn policies_of_tenants_roles_compare_the_tenant_both_ways() {
    let (_, mut conn) = new_database().await;
    let loose = strings(
        &mut conn,
        "SELECT p.polname || ' on ' || p.polrelid::regclass::text FROM pg_policy p
         WHERE ARRAY['portcullis_app'::regrole, 'portcullis_audit_write'::regrole, 'portcullis_audit_read'::regrole]::oid[]
             && p.polroles
           AND (coalesce(pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
                  NOT LIKE '%current_setting(''app.tenant''%'
             OR (p.polcmd = '*' AND pg_get_expr(p.polqual, p.polrelid) IS DISTINCT FROM
                  pg_get_expr(p.polwithcheck, p.polrelid)))",
    )
    .await;
    assert_eq!(loose, Vec::<String>::new());
}

#[tokio::test]
async fn group_roles_own_nothing_and_cannot_bypass() {
    let (_, mut conn) = new_database().await;
    let strong = strings(
        &mut conn,
        "SELECT rolname::text FROM pg_roles WHERE rolname LIKE 'portcullis\\_%'
           AND (rolsuper OR rolbypassrls OR rolcanlogin OR rolcreaterole OR rolcreatedb OR rolreplication)",
    )
    .await;
    assert_eq!(strong, Vec::<String>::new());
    let owners = strings(
        &mut conn,
        "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'public'::regnamespace",
    )
    .await;
    assert_eq!(owners, ["portcullis_owner"]);
    let public = strings(
        &mut conn,
        "SELECT c.relname::text FROM pg_class c, aclexplode(c.relacl) acl
         WHERE c.relnamespace = 'public'::regnamespace AND acl.grantee = 0",
    )
    .await;
    assert_eq!(public, Vec::<String>::new(), "granted to everybody");
}

#[tokio::test]
async fn looking_up_a_credential_shows_hashes_and_ids_alone() {
    let (_, mut conn) = new_database().await;
    let columns = strings(
        &mut conn,
        "SELECT table_name || '.' || column_name || ' ' || privilege_type FROM information_schema.column_privileges
         WHERE grantee = 'portcullis_auth' ORDER BY 1",
    )
    .await;
    let expected = [
        "admin_tokens.hash SELECT",
        "admin_tokens.id SELECT",
        "admin_tokens.lookup SELECT",
        "admin_tokens.tenant_id SELECT",
        "api_keys.id SELECT",
        "api_keys.lookup SELECT",
        "api_keys.tenant_id SELECT",
        "client_secrets.id SELECT",
        "client_secrets.lookup SELECT",
        "client_secrets.tenant_id SELECT",
        "initial_access_tokens.id SELECT",
        "initial_access_tokens.lookup SELECT",
        "initial_access_tokens.tenant_id SELECT",
        "join_tokens.hash SELECT",
        "join_tokens.id SELECT",
        "join_tokens.lookup SELECT",
        "operator_tokens.hash SELECT",
        "operator_tokens.id SELECT",
        "operator_tokens.lookup SELECT",
    ];
    assert_eq!(columns, expected);
}

#[tokio::test]
async fn nobody_may_change_the_audit_log() {
    let (_, mut conn) = new_database().await;
    let granted = strings(
        &mut conn,
        "SELECT grantee || ' ' || privilege_type FROM information_schema.role_table_grants
         WHERE table_name = 'audit_records' AND grantee <> 'portcullis_owner' ORDER BY 1",
    )
    .await;
    assert_eq!(granted, ["portcullis_audit_read SELECT", "portcullis_audit_write INSERT"]);
}

#[tokio::test]
async fn references_between_tenants_tables_carry_the_tenant() {
    let (_, mut conn) = new_database().await;
    let bare = strings(
        &mut conn,
        "SELECT k.conname::text FROM pg_constraint k
         WHERE k.contype = 'f' AND k.connamespace = 'public'::regnamespace AND k.confrelid <> 'tenants'::regclass
           AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attname = 'tenant_id')
           AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = k.confrelid AND a.attname = 'tenant_id')
           AND NOT EXISTS (SELECT FROM generate_subscripts(k.conkey, 1) i
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[i] AND a.attname = 'tenant_id'
             JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = k.confkey[i] AND b.attname = 'tenant_id')",
    )
    .await;
    assert_eq!(bare, Vec::<String>::new());
}

/// A tenant is deleted in one statement that cascades from table to table in no particular order.
#[tokio::test]
async fn no_reference_stands_in_the_way_of_deleting_a_tenant() {
    let (_, mut conn) = new_database().await;
    let in_the_way = strings(
        &mut conn,
        "SELECT k.conname::text FROM pg_constraint k
         WHERE k.contype = 'f' AND k.connamespace = 'public'::regnamespace
           AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attname = 'tenant_id')
           AND (k.confrelid = 'tenants'::regclass
             OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = k.confrelid AND a.attname = 'tenant_id'))
           AND k.confdeltype <> 'c' AND NOT k.condeferrable",
    )
    .await;
    assert_eq!(in_the_way, Vec::<String>::new(), "ON DELETE CASCADE, or DEFERRABLE INITIALLY IMMEDIATE");
}
