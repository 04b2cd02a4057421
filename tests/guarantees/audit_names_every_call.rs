//! R49, R51, G4: who called which tool, when, with what, and what came back; refusals and administrative acts too.

use harness::{Gateway, Upstream, eventually, tool};
use serde_json::{Value, json};

#[tokio::test]
async fn a_call_has_intent_and_outcome_and_a_refusal_its_reason() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back"), tool("erase", "Erases")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    let grant = tenant.grant(&endpoint, &["echo"]).await;
    let caller = endpoint.caller();
    let answer = caller.call("echo").await;
    assert_eq!(caller.call("erase").await.code(), "tool_not_granted");

    eventually("both calls are stored", async || {
        tenant.audit("phase=outcome&method=tools/call").await.len() == 2
    })
    .await;
    let outcomes = tenant.audit("phase=outcome&method=tools/call").await;
    let (refused, allowed) = (&outcomes[0], &outcomes[1]);
    assert_eq!(
        (refused["decision"].as_str(), refused["code"].as_str()),
        (Some("refused"), Some("tool_not_granted"))
    );
    assert_eq!(allowed["decision"], "allowed", "{allowed}");
    for record in [refused, allowed] {
        assert_eq!(record["client_id"], endpoint.client.as_str());
        assert_eq!(record["key_id"], endpoint.key_id.as_str());
        assert_eq!(record["endpoint_id"], endpoint.id.as_str());
        assert_eq!(record["address"], "127.0.0.1");
    }
    assert_eq!(allowed["target"], "echo");
    assert_eq!(allowed["policies"], json!([grant]));
    let digest = hex::encode(crypto::digest::sha256(&answer.body));
    assert_eq!(allowed["response_digest"], digest.as_str(), "the digest is of what the caller got");

    // The intent was there before the call went out, and names the same call.
    let intents = tenant.audit("phase=intent&method=tools/call").await;
    assert_eq!(intents.len(), 1, "a refused call has no intent");
    assert_eq!(intents[0]["call_id"], allowed["call_id"]);

    let call = allowed["call_id"].as_str().unwrap();
    let opened = tenant.audit(&format!("call_id={call}&include=content")).await;
    let text = Value::Array(opened).to_string();
    assert!(text.contains("hello"), "arguments are kept, sealed, and opened for who may see them: {text}");
    assert!(text.contains("ok: echo"), "so is an excerpt of the answer: {text}");
}

#[tokio::test]
async fn refusals_before_a_principal_is_known_are_counted() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    for _ in 0..7 {
        assert_eq!(harness::Caller::anonymous(&endpoint.url).call("echo").await.status, 401);
    }
    eventually("all seven are counted", async || {
        let records = tenant.audit("phase=aggregate&code=credential_missing").await;
        records.iter().map(|record| record["count"].as_u64().unwrap_or_default()).sum::<u64>() == 7
    })
    .await;
}

#[tokio::test]
async fn administrative_acts_are_recorded_with_who_did_them() {
    let gateway = Gateway::start().await;
    let tenant = gateway.tenant("acme").await;
    let made = tenant.post("/roles", json!({"name": "readers"})).await;
    let acts = tenant.audit("phase=act&method=create_role").await;
    assert_eq!(acts.len(), 1);
    assert_eq!(acts[0]["target"], made["id"]);
    assert!(acts[0]["actor"].as_str().unwrap().starts_with("adm_"), "{}", acts[0]);
}
