//! What Postgres itself guarantees, whatever the code above it does.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it cannot go on")]

mod catalogue;
mod migrations;
mod partitions;
mod pools;
mod roles;
mod transactions;

use harness::servers::Servers;
use ids::Uuid;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

/// The group roles a transaction may take.
const ROLES: [&str; 6] = [
    "portcullis_app",
    "portcullis_ops",
    "portcullis_auth",
    "portcullis_people",
    "portcullis_audit_write",
    "portcullis_audit_read",
];

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

async fn new_database() -> (String, PgConnection) {
    let url = Servers::of_this_run().new_database().await;
    let conn = connect(&url).await;
    (url, conn)
}

/// Begins a transaction as the code does.
async fn begin(conn: &mut PgConnection, role: &str, tenant: Option<Uuid>) {
    let tenant = tenant.map(|tenant| tenant.to_string()).unwrap_or_default();
    run(conn, "BEGIN").await.unwrap();
    let set =
        format!("SELECT set_config('role', '{role}', true), set_config('app.tenant', '{tenant}', true)");
    run(conn, &set).await.unwrap();
}

async fn run(conn: &mut PgConnection, sql: &str) -> Result<u64, sqlx::Error> {
    Ok(conn.execute(AssertSqlSafe(sql.to_owned())).await?.rows_affected())
}

/// Runs a statement that must be refused, and says with which SQLSTATE.
async fn refused(conn: &mut PgConnection, sql: &str) -> String {
    run(conn, "SAVEPOINT before").await.unwrap();
    let error = run(conn, sql).await.expect_err(sql);
    run(conn, "ROLLBACK TO SAVEPOINT before").await.unwrap();
    error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned()
}

async fn count(conn: &mut PgConnection, from: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {from}"))).fetch_one(conn).await.unwrap()
}

/// Two tenants with twin rows; returns their ids, and of each a client and an endpoint.
async fn twins(conn: &mut PgConnection) -> [Twin; 2] {
    let pool = Uuid::from_u128(1);
    begin(conn, "portcullis_ops", None).await;
    run(conn, &format!("INSERT INTO pools VALUES ('{pool}', 'shared', now())")).await.unwrap();
    let twins = [0x100_u128, 0x200].map(|base| Twin {
        tenant: Uuid::from_u128(base),
        client: Uuid::from_u128(base + 1),
        endpoint: Uuid::from_u128(base + 2),
    });
    for twin in &twins {
        let Twin { tenant, .. } = twin;
        let insert = format!(
            "INSERT INTO tenants (id, slug, name, pool_id, rev, suspended, created_at, updated_at)
             VALUES ('{tenant}', 't{}', 'T', '{pool}', 0, false, now(), now())",
            tenant.as_u128()
        );
        run(conn, &insert).await.unwrap();
    }
    run(conn, "COMMIT").await.unwrap();
    for Twin { tenant, client, endpoint } in &twins {
        begin(conn, "portcullis_app", Some(*tenant)).await;
        for insert in [
            format!("INSERT INTO clients VALUES ('{tenant}', '{client}', 'same', true, now(), now())"),
            format!(
                "INSERT INTO endpoints VALUES ('{tenant}', '{endpoint}', 'same', 'Same', '{{}}', '{{}}', '{{}}', '{{}}',
                   '{{}}', 'block', 1024, 1024, true, now(), now())"
            ),
        ] {
            run(conn, &insert).await.unwrap();
        }
        run(conn, "COMMIT").await.unwrap();
    }
    twins
}

struct Twin {
    tenant: Uuid,
    client: Uuid,
    endpoint: Uuid,
}
