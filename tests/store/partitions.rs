//! Partitions of the audit log are made whatever is in it already, and by however many replicas.

use control_plane::db::{PoolSizes, Store};
use futures_util::future::join_all;
use ids::Uuid;
use seams::Timestamp;
use secrecy::SecretString;

use crate::{begin, count, new_database, run};

/// 15 November 2031.
const THEN: Timestamp = Timestamp::from_secs(1_952_467_200);

async fn record(conn: &mut sqlx::PgConnection, at: &str) {
    let tenant = Uuid::from_u128(7);
    begin(conn, "portcullis_audit_write", Some(tenant)).await;
    let insert = format!(
        "INSERT INTO audit_records (tenant_id, at, proxy_id, boot, seq, phase, decision, actor, method, target, code,
           body, leaf_hash, stored_at)
         VALUES ('{tenant}', '{at}', gen_random_uuid(), decode(repeat('00', 16), 'hex'), 1, 3, 1, '', '', '', '', '',
           decode(repeat('00', 32), 'hex'), now())"
    );
    run(conn, &insert).await.unwrap();
    run(conn, "COMMIT").await.unwrap();
}

#[tokio::test]
async fn a_record_from_a_clock_that_is_ahead_keeps_nothing_from_being_made() {
    let (url, mut conn) = new_database().await;
    let store = Store::open(&SecretString::from(url), PoolSizes::default()).await.unwrap();
    record(&mut conn, "2031-12-24T00:00:00Z").await;
    store.ensure_audit_partitions(THEN).await.expect("a control plane starts all the same");
    store.ensure_audit_partitions(THEN).await.unwrap();
    for at in ["2031-11-30T00:00:00Z", "2031-12-25T00:00:00Z", "2032-02-01T00:00:00Z"] {
        record(&mut conn, at).await;
    }
    for (table, rows) in
        [("audit_records_203111", 1), ("audit_records_203202", 1), ("audit_records_default", 2)]
    {
        assert_eq!(count(&mut conn, table).await, rows, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_replicas_may_make_them_at_once() {
    let (url, mut conn) = new_database().await;
    let store = Store::open(&SecretString::from(url), PoolSizes::default()).await.unwrap();
    for made in join_all((0..8).map(|_| store.ensure_audit_partitions(THEN))).await {
        made.expect("each replica starts");
    }
    assert_eq!(count(&mut conn, "audit_records_203202").await, 0);
}
