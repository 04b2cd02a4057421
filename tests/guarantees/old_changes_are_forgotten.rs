//! What changed from revision to revision is kept for an hour, also of tenants that do not change again.

use harness::{Gateway, eventually};
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

async fn changes(database: &mut PgConnection, which: &str) -> i64 {
    let count = format!("SELECT count(*) FROM deltas WHERE {which}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(count)).fetch_one(database).await.unwrap()
}

/// Two control planes do it at once, and more tenants are concerned than are done in one transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_quiet_tenants_are_trimmed_and_fresh_ones_stay() {
    const OLD: &str = "created_at < now() - interval '1 hour'";
    const FRESH: &str = "created_at >= now() - interval '1 hour'";
    let gateway = Gateway::with_proxies(0).await;
    for number in 0..40 {
        let slug = format!("quiet-{number}");
        gateway.operator.post("/v1/tenants", json!({"slug": slug, "name": slug})).await.unwrap();
    }
    let busy = gateway.tenant("busy").await;
    busy.post("/roles", json!({"name": "a change"})).await;
    let mut database = PgConnection::connect(&gateway.database_url).await.unwrap();
    sqlx::query(
        "INSERT INTO deltas SELECT id, number, sha256('a'), sha256('b'), '', now() - interval '2 hours'
         FROM tenants, generate_series(1000, 1099) AS number",
    )
    .execute(&mut database)
    .await
    .unwrap();
    let fresh = changes(&mut database, FRESH).await;
    assert!(fresh > 0 && changes(&mut database, OLD).await == 4_100);
    let (_one, _two) = tokio::join!(gateway.replica(), gateway.replica());
    eventually("old changes are gone", async || changes(&mut database, OLD).await == 0).await;
    assert_eq!(changes(&mut database, FRESH).await, fresh);
}
