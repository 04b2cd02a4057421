//! What each role can and cannot do, tried.

use ids::Uuid;

use crate::{begin, count, new_database, refused, run, twins};

/// insufficient_privilege: a missing grant, or a row that a policy refuses.
const DENIED: &str = "42501";
/// foreign_key_violation.
const NO_SUCH_ROW: &str = "23503";

#[tokio::test]
async fn a_tenant_sees_and_changes_only_its_own_rows() {
    let (_, mut conn) = new_database().await;
    let [ours, theirs] = twins(&mut conn).await;
    begin(&mut conn, "portcullis_app", Some(ours.tenant)).await;
    for table in ["tenants", "clients", "endpoints"] {
        assert_eq!(count(&mut conn, table).await, 1, "{table}");
    }
    let (tenant, client) = (theirs.tenant, theirs.client);
    assert_eq!(count(&mut conn, &format!("clients WHERE tenant_id = '{tenant}'")).await, 0);
    for change in [
        format!("UPDATE clients SET enabled = false WHERE tenant_id = '{tenant}'"),
        format!("DELETE FROM clients WHERE tenant_id = '{tenant}'"),
        format!("UPDATE tenants SET rev = 9 WHERE id = '{tenant}'"),
    ] {
        assert_eq!(run(&mut conn, &change).await.unwrap(), 0, "{change}");
    }
    let insert = format!("INSERT INTO clients VALUES ('{tenant}', '{client}', 'x', true, now(), now())");
    assert_eq!(refused(&mut conn, &insert).await, DENIED);
    run(&mut conn, "ROLLBACK").await.unwrap();
}

#[tokio::test]
async fn anothers_id_is_refused_like_one_that_does_not_exist() {
    let (_, mut conn) = new_database().await;
    let [ours, theirs] = twins(&mut conn).await;
    begin(&mut conn, "portcullis_app", Some(ours.tenant)).await;
    for endpoint in [theirs.endpoint, Uuid::from_u128(0xdead)] {
        let relate = format!(
            "INSERT INTO client_endpoints VALUES ('{}', '{}', '{endpoint}', now())",
            ours.tenant, ours.client
        );
        assert_eq!(refused(&mut conn, &relate).await, NO_SUCH_ROW);
    }
    // Nor does a unique name of theirs stand in our way.
    let insert = format!(
        "INSERT INTO endpoints (tenant_id, id, slug, name, hosts, origins, allow, deny, closed_methods,
        unknown_tools, max_request_bytes, max_response_bytes, enabled, created_at, updated_at)
        SELECT tenant_id, '{}', 'other', name, hosts, origins, allow, deny, closed_methods, unknown_tools,
        max_request_bytes, max_response_bytes, enabled, created_at, updated_at FROM endpoints",
        theirs.endpoint
    );
    assert_eq!(run(&mut conn, &insert).await.unwrap(), 1);
    run(&mut conn, "ROLLBACK").await.unwrap();
}

#[tokio::test]
async fn without_a_tenant_there_are_no_rows() {
    let (_, mut conn) = new_database().await;
    twins(&mut conn).await;
    begin(&mut conn, "portcullis_app", None).await;
    for table in ["tenants", "clients", "endpoints", "admin_tokens"] {
        let table = if table == "admin_tokens" { "(SELECT id FROM admin_tokens) t" } else { table };
        assert_eq!(count(&mut conn, table).await, 0, "{table}");
    }
    run(&mut conn, "ROLLBACK").await.unwrap();
}

#[tokio::test]
async fn roles_do_nothing_beyond_their_work() {
    let (_, mut conn) = new_database().await;
    let [ours, theirs] = twins(&mut conn).await;
    let record = |tenant: Uuid| {
        format!(
            "INSERT INTO audit_records (tenant_id, at, proxy_id, boot, seq, phase, decision, actor, method, target, code,
               body, leaf_hash, stored_at)
             VALUES ('{tenant}', now(), gen_random_uuid(), decode(repeat('00', 16), 'hex'), 1, 3, 1, '', '', '', '', '',
               decode(repeat('00', 32), 'hex'), now())"
        )
    };
    let refusals: [(&str, &[&str]); 6] = [
        (
            "portcullis_audit_write",
            &[
                "SELECT body FROM audit_records",
                "UPDATE audit_records SET code = ''",
                "DELETE FROM audit_records",
                "TRUNCATE audit_records",
                "SELECT id FROM tenants",
                "SELECT id FROM clients",
            ],
        ),
        (
            "portcullis_audit_read",
            &[
                "UPDATE audit_records SET code = ''",
                "DELETE FROM audit_records",
                "SELECT id FROM tenants",
                "INSERT INTO audit_records (tenant_id) VALUES (gen_random_uuid())",
            ],
        ),
        (
            "portcullis_auth",
            &[
                "SELECT name FROM admin_tokens",
                "SELECT scopes FROM admin_tokens",
                "SELECT name FROM operator_tokens",
                "SELECT id FROM tenants",
                "SELECT hash FROM api_keys",
                "SELECT client_id FROM api_keys",
                "SELECT hash FROM client_secrets",
                "UPDATE api_keys SET revoked_at = now()",
                "UPDATE admin_tokens SET revoked_at = now()",
            ],
        ),
        (
            "portcullis_people",
            &[
                "SELECT admin_role FROM members",
                "SELECT email FROM members",
                "SELECT admin_role FROM invitations",
                "SELECT rev FROM tenants",
                "SELECT id FROM clients",
                "SELECT hash FROM admin_tokens",
                "INSERT INTO members (tenant_id) VALUES (gen_random_uuid())",
                "UPDATE accounts SET email = 'x'",
                "UPDATE members SET account_id = gen_random_uuid()",
                "SELECT code FROM admin_sessions",
                "UPDATE admin_sessions SET digest = NULL",
                "DELETE FROM invitations",
            ],
        ),
        (
            "portcullis_app",
            &[
                "SELECT id FROM accounts",
                "SELECT digest FROM sessions",
                "SELECT digest FROM invitations",
                "UPDATE members SET email = 'x'",
                "UPDATE authorizations SET scopes = '{all}'",
                "SELECT hash FROM admin_tokens",
                "SELECT body FROM audit_records",
                "SELECT id FROM proxies",
                "SELECT id FROM operator_tokens",
                "SELECT id FROM join_tokens",
                "UPDATE clients SET id = gen_random_uuid()",
                "UPDATE endpoints SET slug = 'x'",
                "DELETE FROM tenants",
                "INSERT INTO egress_rules VALUES (gen_random_uuid(), 'x', 1)",
                "UPDATE tenants SET suspended = false",
                "DELETE FROM api_keys",
                "TRUNCATE clients",
                "CREATE TABLE mine (id int)",
                "ALTER TABLE clients DISABLE ROW LEVEL SECURITY",
                "SELECT ensure_audit_partitions(now(), 1)",
            ],
        ),
        (
            "portcullis_ops",
            &[
                "SELECT id FROM clients",
                "SELECT id FROM api_keys",
                "SELECT sealed FROM upstream_credentials",
                "SELECT body FROM audit_records",
                "SELECT hash FROM operator_tokens",
                "SELECT hash FROM join_tokens",
                "UPDATE tenants SET slug = 'x'",
                "UPDATE snapshots SET rev = 1",
            ],
        ),
    ];
    for (role, statements) in refusals {
        begin(&mut conn, role, Some(ours.tenant)).await;
        for statement in statements {
            assert_eq!(refused(&mut conn, statement).await, DENIED, "{role}: {statement}");
        }
        run(&mut conn, "ROLLBACK").await.unwrap();
    }
    begin(&mut conn, "portcullis_audit_write", Some(ours.tenant)).await;
    assert_eq!(run(&mut conn, &record(ours.tenant)).await.unwrap(), 1);
    assert_eq!(refused(&mut conn, &record(theirs.tenant)).await, DENIED);
    run(&mut conn, "COMMIT").await.unwrap();
    for (tenant, seen) in [(ours.tenant, 1), (theirs.tenant, 0)] {
        begin(&mut conn, "portcullis_audit_read", Some(tenant)).await;
        assert_eq!(count(&mut conn, "audit_records").await, seen);
        run(&mut conn, "ROLLBACK").await.unwrap();
    }
}

#[tokio::test]
async fn partitions_are_made_ahead_and_nothing_falls_between() {
    let (_, mut conn) = new_database().await;
    run(&mut conn, "SET ROLE portcullis_owner").await.unwrap();
    let made: i32 = sqlx::query_scalar("SELECT ensure_audit_partitions('2031-11-15T12:00:00Z', 3)")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(made, 4);
    let again: i32 = sqlx::query_scalar("SELECT ensure_audit_partitions('2031-12-31T23:59:59.999999Z', 3)")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(again, 1);
    run(&mut conn, "RESET ROLE").await.unwrap();
    let tenant = Uuid::from_u128(7);
    begin(&mut conn, "portcullis_audit_write", Some(tenant)).await;
    for at in [
        "2031-11-30T23:59:59.999999Z",
        "2031-12-01T00:00:00Z",
        "2099-01-01T00:00:00Z",
        "1970-01-01T00:00:00Z",
    ] {
        let insert = format!(
            "INSERT INTO audit_records (tenant_id, at, proxy_id, boot, seq, phase, decision, actor, method, target, code,
               body, leaf_hash, stored_at)
             VALUES ('{tenant}', '{at}', gen_random_uuid(), decode(repeat('00', 16), 'hex'), 1, 3, 1, '', '', '', '', '',
               decode(repeat('00', 32), 'hex'), now())"
        );
        assert_eq!(run(&mut conn, &insert).await.unwrap(), 1, "{at}");
    }
    run(&mut conn, "COMMIT").await.unwrap();
    for (table, rows) in
        [("audit_records_203111", 1), ("audit_records_203112", 1), ("audit_records_default", 2)]
    {
        assert_eq!(count(&mut conn, table).await, rows, "{table}");
    }
}
