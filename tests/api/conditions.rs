//! Entity tags and `If-Match`.

use futures_util::future::join_all;
use harness::text;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{MERGE, api, delete, get, patch, post, send};

#[tokio::test]
async fn a_stale_change_is_refused_and_changes_nothing() {
    let (gateway, tenant) = api().await;
    let made = post(&gateway, &tenant, "/clients", json!({"name": "one"})).await;
    let path = format!("/clients/{}", text(&made.body, "id"));
    let first = made.header("etag").unwrap().to_owned();
    assert_eq!(
        get(&gateway, &tenant, &path).await.header("etag"),
        Some(first.as_str()),
        "a read has the write's tag"
    );

    let full = format!("{}{path}", tenant.base);
    let body = json!({"enabled": false}).to_string();
    let blind = send(&gateway, Some(&tenant.admin_token), Method::PATCH, &full, &[MERGE], body).await;
    assert_eq!((blind.status, blind.code()), (StatusCode::PRECONDITION_REQUIRED, "precondition_required"));

    let changed = patch(&gateway, &tenant, &path, &first, json!({"enabled": false})).await;
    assert_eq!(changed.status, StatusCode::OK);
    let second = changed.header("etag").unwrap().to_owned();
    assert_ne!(first, second);

    for stale in [first.as_str(), "\"x\"", &format!("W/{second}")] {
        let refused = patch(&gateway, &tenant, &path, stale, json!({"enabled": true})).await;
        assert_eq!(
            (refused.status, refused.code()),
            (StatusCode::PRECONDITION_FAILED, "precondition_failed")
        );
        let refused = delete(&gateway, &tenant, &path, stale).await;
        assert_eq!(refused.code(), "precondition_failed");
    }
    let now = get(&gateway, &tenant, &path).await;
    assert_eq!((now.header("etag"), &now.body["enabled"]), (Some(second.as_str()), &json!(false)));

    let changed = patch(&gateway, &tenant, &path, &format!("\"x\", {second}"), json!({"name": "two"})).await;
    assert_eq!(changed.status, StatusCode::OK, "one of several tags fits");
    assert_eq!(delete(&gateway, &tenant, &path, "*").await.status, StatusCode::NO_CONTENT);
    assert_eq!(get(&gateway, &tenant, &path).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_changes_to_one_state_exactly_one_wins() {
    let (gateway, tenant) = api().await;
    let made = post(&gateway, &tenant, "/clients", json!({"name": "one"})).await;
    let path = format!("/clients/{}", text(&made.body, "id"));
    let tag = made.header("etag").unwrap();
    let changes = (0..10).map(|n| patch(&gateway, &tenant, &path, tag, json!({"name": format!("name {n}")})));
    let answers = join_all(changes).await;
    let won = answers.iter().filter(|answer| answer.status == StatusCode::OK).count();
    let lost = answers.iter().filter(|answer| answer.code() == "precondition_failed").count();
    assert_eq!((won, lost), (1, 9));
}

#[tokio::test]
async fn a_merge_patch_removes_and_replaces_and_leaves_the_rest() {
    let (gateway, tenant) = api().await;
    let new =
        json!({"slug": "one", "name": "One", "origins": ["https://a.example"], "deny": ["192.0.2.0/24"]});
    let made = post(&gateway, &tenant, "/endpoints", new).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let path = format!("/endpoints/{}", text(&made.body, "id"));
    let change = json!({"origins": ["https://b.example"], "deny": null, "max_request_bytes": 2048});
    let changed = patch(&gateway, &tenant, &path, "*", change).await.body;
    assert_eq!(changed["origins"], json!(["https://b.example"]));
    assert_eq!(changed["deny"], json!([]));
    assert_eq!(changed["max_request_bytes"], 2048);
    assert_eq!((&changed["name"], &changed["slug"]), (&json!("One"), &json!("one")));
    let refused = patch(&gateway, &tenant, &path, "*", json!({"slug": "two"})).await;
    assert_eq!(
        (refused.code(), refused.places()),
        ("validation_failed", vec!["/slug"]),
        "a slug never changes"
    );
}
