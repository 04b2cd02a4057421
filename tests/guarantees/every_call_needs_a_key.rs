//! R1, R2, R5, R9, G1: no tool is reached without a valid key of the endpoint's tenant, in any revision or method.

use harness::{Caller, Gateway, Upstream, text, tool};
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::json;

#[tokio::test]
async fn a_granted_call_reaches_the_tool_and_nothing_else_does() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back"), tool("erase", "Erases")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;

    let caller = endpoint.caller();
    let answer = caller.call("echo").await;
    assert_eq!((answer.status, answer.tool_text()), (200, "ok: echo".to_owned()), "{answer:?}");
    assert_eq!(upstream.calls().len(), 1);

    let anonymous = Caller::anonymous(&endpoint.url);
    let (modern, call) = anonymous.modern("tools/call", json!({"name": "echo", "arguments": {}}));
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}});
    for (method, body) in [
        (Method::POST, call.to_string()),
        (Method::POST, initialize.to_string()),
        (Method::POST, "not json".to_owned()),
        (Method::GET, String::new()),
        (Method::DELETE, String::new()),
    ] {
        let answer = modern.send(method.clone(), body).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "credential_missing"), "{method}");
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{method}");
    }
    assert_eq!(upstream.calls().len(), 1, "a refused call reached the upstream");
}

#[tokio::test]
async fn wrong_keys_are_refused_alike() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let (acme, other) = (gateway.tenant("acme").await, gateway.tenant("other").await);
    let endpoint = acme.endpoint("tools", &upstream).await;
    let foreign = other.endpoint("tools", &upstream).await;
    acme.grant(&endpoint, &["echo"]).await;
    other.grant(&foreign, &["echo"]).await;
    assert_eq!(foreign.caller().call("echo").await.status, 200);

    let good = endpoint.key.expose_secret().to_owned();
    let entropy: &dyn seams::Entropy = &seams::SystemEntropy;
    let unknown = crypto::key::mint(crypto::key::KeyKind::ApiKey, entropy).text;
    let mut damaged = good.clone().into_bytes();
    damaged[20] = if damaged[20] == b'a' { b'b' } else { b'a' };
    let damaged = String::from_utf8(damaged).unwrap();
    for key in [foreign.key.expose_secret(), unknown.expose_secret(), damaged.as_str(), "pck_short", "x"] {
        let answer = Caller::new(&endpoint.url, key).call("echo").await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "credential_invalid"), "{}", key.len());
    }
    // R5: never in the query string, and a good key does not make up for it.
    let answer = endpoint.caller().at(&format!("{}?api_key={good}", endpoint.url)).call("echo").await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "query_token_refused"));
    let answer = endpoint.caller().with_header("authorization", "Basic dTpw").call("echo").await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "credential_missing"));
}

#[tokio::test]
async fn revoked_rotated_and_disabled_keys_stop_working() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;

    // Rotation with overlap: both work until the old one is revoked.
    let keys = format!("/clients/{}/keys", endpoint.client);
    let rotated = tenant
        .post(&format!("{keys}/{}/rotate?wait=applied", endpoint.key_id), json!({"overlap_seconds": 3600}))
        .await;
    let new = Caller::new(&endpoint.url, &text(&rotated, "key"));
    assert_eq!((new.call("echo").await.status, endpoint.caller().call("echo").await.status), (200, 200));
    tenant.admin.delete(&format!("{}{keys}/{}?wait=applied", tenant.base, endpoint.key_id)).await.unwrap();
    assert_eq!((new.call("echo").await.status, endpoint.caller().call("echo").await.status), (200, 401));

    let client = format!("{}/clients/{}?wait=applied", tenant.base, endpoint.client);
    tenant.admin.patch(&client, json!({"enabled": false})).await.unwrap();
    assert_eq!(new.call("echo").await.status, 401);
    tenant.admin.patch(&client, json!({"enabled": true})).await.unwrap();
    assert_eq!(new.call("echo").await.status, 200);
    let relation = format!("{}/clients/{}/endpoints/{}", tenant.base, endpoint.client, endpoint.id);
    tenant.admin.delete(&format!("{relation}?wait=applied")).await.unwrap();
    let answer = new.call("echo").await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "client_not_allowed"));
}
