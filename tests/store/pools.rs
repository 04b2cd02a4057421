//! Connections are few: what one tenant does must leave some for the others.

use std::time::Duration;

use control_plane::{
    db::{PoolSizes, Store, StoreError},
    kills::{self, Kills},
    secrets::Secrets,
};
use crypto::FileKek;
use futures_util::{
    TryFutureExt as _,
    future::{join, join_all},
};
use ids::TenantId;
use seams::SystemEntropy;
use secrecy::SecretString;
use tokio::time::timeout;

use crate::{connect, new_database, run, twins};

const SOON: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_wait_for_their_tenants_turn_hold_no_connection() {
    let (url, mut conn) = new_database().await;
    let [ours, theirs] = twins(&mut conn).await.map(|twin| TenantId::from_uuid(twin.tenant));
    let sizes = PoolSizes { app: 3, ..PoolSizes::default() };
    let store = Store::open(&SecretString::from(url.as_str()), sizes).await.unwrap();

    let mut blocker = connect(&url).await;
    run(&mut blocker, "BEGIN").await.unwrap();
    let lock = format!("SELECT FROM tenants WHERE id = '{}' FOR UPDATE", ours.uuid());
    run(&mut blocker, &lock).await.unwrap();
    let writers = join_all((0..8).map(|_| store.tenant_for_write(ours).map_ok(drop)));
    let others = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        timeout(SOON, store.tenant(theirs)).await.expect("a read of another tenant waits").unwrap();
        timeout(SOON, store.tenant_for_write(theirs))
            .await
            .expect("a write of another tenant waits")
            .unwrap();
        timeout(SOON, store.tenant(ours)).await.expect("a read of the same tenant waits").unwrap();
        run(&mut blocker, "ROLLBACK").await.unwrap();
    };
    let (written, ()) = timeout(4 * SOON, join(writers, others)).await.expect("every write gets its turn");
    for write in written {
        write.unwrap();
    }
    store.close().await;
}

#[tokio::test]
async fn reading_the_audit_log_holds_up_no_record() {
    let (url, mut conn) = new_database().await;
    let [ours, theirs] = twins(&mut conn).await.map(|twin| TenantId::from_uuid(twin.tenant));
    let sizes = PoolSizes { audit: 2, ..PoolSizes::default() };
    let store = Store::open(&SecretString::from(url.as_str()), sizes).await.unwrap();
    let _searches = (store.audit_reader(ours).await.unwrap(), store.audit_reader(ours).await.unwrap());
    timeout(SOON, store.audit_writer(theirs)).await.expect("a record waits for readers").unwrap();
}

/// A replica that stands still, with the row that every change of the kill set needs, holds the others up only so long.
#[tokio::test]
async fn a_transaction_that_is_left_open_ends_with_its_locks() {
    let (url, _conn) = new_database().await;
    let store = Store::open(&SecretString::from(url.as_str()), PoolSizes::default()).await.unwrap();
    let secrets = Secrets::from_master_key(&FileKek::generate_file(&SystemEntropy)).unwrap();
    let switch = Kills::new(&secrets, None).unwrap();
    let mut stuck = store.operator().await.unwrap();
    kills::raise_as_operator(&mut stuck, &switch).await.unwrap();

    let mut waiting = store.operator().await.unwrap();
    let refused = kills::raise_as_operator(&mut waiting, &switch).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    drop(waiting);
    harness::eventually("the lock is free", async || {
        let mut tx = store.operator().await.unwrap();
        kills::raise_as_operator(&mut tx, &switch).await.is_ok()
    })
    .await;
    let late = kills::raise_as_operator(&mut stuck, &switch).await.unwrap_err();
    assert!(matches!(late, StoreError::Unavailable(_)), "{late:?}");
}

/// A standby that was not promoted, or a primary with a full disk: it answers, and takes no writes.
#[tokio::test]
async fn a_database_that_takes_no_writes_counts_as_away() {
    let (url, mut conn) = new_database().await;
    let [ours, _] = twins(&mut conn).await.map(|twin| TenantId::from_uuid(twin.tenant));
    let store = Store::open(&SecretString::from(url.as_str()), PoolSizes::default()).await.unwrap();
    let name: String = sqlx::query_scalar("SELECT current_database()").fetch_one(&mut conn).await.unwrap();
    run(&mut conn, &format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await.unwrap();
    store.tenant(ours).await.expect("it can be read");
    let refused = store.tenant_for_write(ours).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
}

/// A thousand proxies that come back at once must not keep a replica from seeing new revisions and kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_proxies_leave_connections_for_polls() {
    let (url, _) = new_database().await;
    let sizes = PoolSizes { ops: 4, ..PoolSizes::default() };
    let store = Store::open(&SecretString::from(url.as_str()), sizes).await.unwrap();
    let held = (store.stream().await.unwrap(), store.stream().await.unwrap());
    let mut coming_back = Box::pin(join_all((0..50).map(|_| store.stream().map_ok(drop))));
    let waits = timeout(Duration::from_millis(300), &mut coming_back).await;
    assert!(waits.is_err(), "a third one holds no connection while two are held");
    let polls = (store.operator().await.expect("a poll"), store.operator().await.expect("another"));
    drop((held, polls));
    for one in coming_back.await {
        one.expect("every stream gets its turn");
    }
    store.close().await;
}

#[tokio::test]
async fn stored_answers_of_tenants_and_proxies_that_come_hold_up_no_operator() {
    let (url, _conn) = new_database().await;
    let sizes = PoolSizes { app: 8, ops: 1, auth: 4, ..PoolSizes::default() };
    let store = Store::open(&SecretString::from(url.as_str()), sizes).await.unwrap();
    let _answers = (store.answers(true).await.unwrap(), store.answers(true).await.unwrap());
    let _admissions = (store.admission().await.unwrap().unwrap(), store.admission().await.unwrap().unwrap());
    assert!(
        timeout(Duration::from_millis(100), store.answers(true)).await.is_err(),
        "more wait for their turn"
    );
    assert!(timeout(Duration::from_millis(100), store.admission()).await.is_err(), "as do more proxies");
    timeout(SOON, store.operator()).await.expect("an operator waits").unwrap();
    timeout(SOON, store.stream()).await.expect("a stream waits").unwrap();
    timeout(SOON, store.auth()).await.expect("a log-in waits").unwrap();
    let tenant = TenantId::from_parts(1, [0; 10]);
    timeout(SOON, store.tenant(tenant)).await.expect("a tenant waits").unwrap();
    store.close().await;
}
