//! An admin token makes others with no scope that it lacks, and with no longer a life than its own.

use harness::{Gateway, text};
use reqwest::Method;
use secrecy::SecretString;
use serde_json::json;

#[tokio::test]
async fn a_token_that_ends_makes_none_that_outlives_it() {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let path = format!("{}/admin-tokens", tenant.base);
    let made = json!({"name": "short", "scopes": ["*"], "not_after": "2190-01-01T00:00:00Z"});
    let made = tenant.admin.post(&path, made).await.unwrap();
    assert_eq!(made["not_after"], "2190-01-01T00:00:00Z");
    let short = tenant.admin.with_token(SecretString::from(text(&made, "token")));

    for beyond in [json!(null), json!("2190-01-01T00:00:01Z")] {
        let longer = json!({"name": "longer", "scopes": ["*"], "not_after": beyond});
        let refused = short.send(Method::POST, &path, Some(longer)).await.unwrap_err().to_string();
        assert!(refused.contains("422"), "{refused}");
    }
    let same = json!({"name": "same", "scopes": ["*"], "not_after": "2190-01-01T00:00:00Z"});
    short.post(&path, same).await.unwrap();
    let endless = json!({"name": "endless", "scopes": ["keys:read"]});
    tenant.admin.post(&path, endless).await.unwrap();
}

/// In UTC, the year of the first is 10000.
#[tokio::test]
async fn a_time_that_cannot_be_stored_is_refused_and_one_that_can_is_shown_in_utc() {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let path = format!("{}/admin-tokens", tenant.base);
    let beyond = json!({"name": "n", "scopes": ["*"], "not_after": "9999-12-31T23:59:59-01:00"});
    let refused = tenant.admin.post(&path, beyond).await.unwrap_err().to_string();
    assert!(refused.contains("422"), "{refused}");

    let made = json!({"name": "n", "scopes": ["*"], "not_after": "2190-01-01T01:00:00.1234567+01:00"});
    let made = tenant.admin.post(&path, made).await.unwrap();
    let read = tenant.admin.get(&format!("{path}/{}", text(&made, "id"))).await.unwrap();
    assert_eq!(made["not_after"], read["not_after"], "the write's answer is the resource");
}
