//! Revisions: every write makes one, in order, and a refused one makes none.

use futures_util::future::join_all;
use harness::Person;
use reqwest::StatusCode;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use crate::{api, delete, patch, post};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revisions_are_gapless_and_every_write_is_in_the_log() {
    let (gateway, tenant) = api().await;
    let before = post(&gateway, &tenant, "/clients", json!({"name": "first"})).await.revision();
    let writes = (0..20).map(|n| post(&gateway, &tenant, "/clients", json!({"name": format!("c{}", n / 2)})));
    let answers = join_all(writes).await;
    let mut made: Vec<_> =
        answers.iter().filter(|a| a.status == StatusCode::CREATED).map(crate::Answer::revision).collect();
    made.sort_unstable();
    assert_eq!(made, (before + 1..=before + 10).collect::<Vec<_>>(), "of each pair of twins one is refused");

    let mut conn = PgConnection::connect(&gateway.database_url).await.unwrap();
    let acts: Vec<i64> = sqlx::query_scalar(
        "SELECT seq FROM audit_records WHERE tenant_id = (SELECT id FROM tenants WHERE slug = 'acme') ORDER BY seq",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert_eq!(acts, (1..=i64::try_from(before).unwrap() + 10).collect::<Vec<_>>());
    let stored: (i64, i64) = sqlx::query_as(
        "SELECT (SELECT max(rev) FROM snapshots s WHERE s.tenant_id = t.id), t.rev FROM tenants t WHERE slug = 'acme'",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert_eq!(stored.0, stored.1);
}

#[tokio::test]
async fn what_does_not_compile_leaves_no_trace() {
    let (gateway, tenant) = api().await;
    let before = post(&gateway, &tenant, "/clients", json!({"name": "first"})).await.revision();
    let refused =
        post(&gateway, &tenant, "/endpoints", json!({"slug": "one", "name": "One", "hosts": ["a b"]})).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::UNPROCESSABLE_ENTITY, "config_rejected"));
    assert_eq!(post(&gateway, &tenant, "/clients", json!({"name": "second"})).await.revision(), before + 1);
}

#[tokio::test]
async fn without_proxies_waiting_ends_at_once_and_says_so() {
    let (gateway, tenant) = api().await;
    let answer = post(&gateway, &tenant, "/clients?wait=applied&timeout=5s", json!({"name": "one"})).await;
    let expected = format!("rev={}, applied=0, rejected=0, unreachable=0", answer.revision());
    assert_eq!(answer.header("portcullis-convergence"), Some(expected.as_str()));
    let plain = post(&gateway, &tenant, "/clients", json!({"name": "two"})).await;
    assert_eq!(plain.header("portcullis-convergence"), None);
    for (query, place) in
        [("wait=soon", "?/wait"), ("wait=applied&timeout=61s", "?/timeout"), ("dry=1", "?/dry")]
    {
        let refused = post(&gateway, &tenant, &format!("/clients?{query}"), json!({"name": "three"})).await;
        assert_eq!((refused.code(), refused.places()), ("validation_failed", vec![place]), "{query}");
    }
}

#[tokio::test]
async fn a_restart_keeps_everything_and_the_operators_token() {
    let (mut gateway, tenant) = api().await;
    post(&gateway, &tenant, "/clients", json!({"name": "kept"})).await;
    gateway.stop_control().await;
    gateway.start_control().await;
    let answer = crate::get(&gateway, &tenant, "/clients").await;
    assert_eq!(answer.body["items"][0]["name"], "kept");
    gateway.operator.get("/v1/tenants").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_would_leave_a_tenant_without_an_owner_says_so() {
    let (gateway, tenant) = api().await;
    let ann = Person::join_as(&gateway, &tenant, "ann@example.com", "owner").await;
    let path = format!("/members/{}", ann.member);
    let refused = [
        delete(&gateway, &tenant, &path, "*").await,
        patch(&gateway, &tenant, &path, "*", json!({"enabled": false})).await,
    ];
    for refused in refused {
        assert_eq!((refused.status, refused.code()), (StatusCode::CONFLICT, "last_owner"));
    }
}
