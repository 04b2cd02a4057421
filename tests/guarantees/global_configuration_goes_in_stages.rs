//! What is not a tenant's reaches the fleet in stages: one of several proxies tries it first, a revision that no proxy can use
//! stops there and is taken back, and what was in force before comes again.

use harness::{Caller, Gateway, Upstream, eventually, text, tool};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

const ROLLOUT: &str = "/v1/global/rollout";

/// The revision of the fleet's configuration that each proxy enforces, by the proxies' order.
async fn revisions(gateway: &Gateway) -> Vec<u64> {
    let mut revisions = Vec::new();
    for proxy in &gateway.proxies {
        let id = proxy.proxy_id().unwrap();
        let shown = gateway.operator.get(&format!("/v1/proxies/{id}")).await.unwrap();
        revisions.push(shown["global_rev"].as_u64().unwrap());
    }
    revisions
}

async fn rollout(gateway: &Gateway) -> Value {
    gateway.operator.get(ROLLOUT).await.unwrap()
}

async fn is(gateway: &Gateway, state: &str, percent: u64) -> bool {
    let rollout = rollout(gateway).await;
    rollout["state"] == state && rollout["stage_percent"] == percent
}

async fn soak(gateway: &Gateway, seconds: u64) {
    gateway.operator.patch(ROLLOUT, json!({"soak_seconds": seconds})).await.unwrap();
}

async fn act(gateway: &Gateway, what: &str, mut body: Value) -> Value {
    body["target_rev"] = rollout(gateway).await["target_rev"].clone();
    body["reason"] = json!("test");
    gateway.operator.post(&format!("{ROLLOUT}/{what}"), body).await.unwrap()
}

async fn large_call(caller: &Caller, url: &str, bytes: usize) -> String {
    let params = json!({"name": "echo", "arguments": {"text": "x".repeat(bytes)}});
    let answer = caller.clone().at(url).request("tools/call", params).await;
    if answer.code().is_empty() { answer.tool_text() } else { answer.code() }
}

#[tokio::test]
async fn one_proxy_tries_it_first_and_the_others_follow() {
    let gateway = Gateway::with_proxies(3).await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let caller = endpoint.caller();
    let urls: Vec<_> = (0..3).map(|index| format!("{}{}", gateway.url(index), endpoint.path)).collect();

    soak(&gateway, 3_600).await;
    let changed = gateway.operator.patch("/v1/global", json!({"max_request_bytes": 8_192})).await.unwrap();
    assert_eq!((&changed["rev"], &changed["max_request_bytes"]), (&json!(1), &json!(8_192)));
    eventually("the first stage has it", async || rollout(&gateway).await["proxies"]["applied"] == 1).await;
    let at = revisions(&gateway).await;
    assert_eq!(at.iter().sum::<u64>(), 1, "one of three: {at:?}");
    for (rev, url) in at.iter().zip(&urls) {
        let expected = if *rev == 1 { "request_too_large" } else { "ok: echo" };
        assert_eq!(large_call(&caller, url, 20_000).await, expected);
        assert_eq!(large_call(&caller, url, 20).await, "ok: echo");
    }
    let conflict = gateway.operator.patch("/v1/global", json!({"max_request_bytes": 9_000})).await;
    assert!(conflict.unwrap_err().to_string().contains("409"), "one at a time");

    // It has held: the next poll moves it on, and the one after.
    soak(&gateway, 0).await;
    eventually("every proxy has it", async || {
        is(&gateway, "complete", 100).await && revisions(&gateway).await == [1, 1, 1]
    })
    .await;
    for url in &urls {
        assert_eq!(large_call(&caller, url, 20_000).await, "request_too_large");
    }

    // What was there before comes again, as a new revision, in stages too.
    let reverted = gateway.operator.patch("/v1/global", json!({"max_request_bytes": 16_384})).await.unwrap();
    assert_eq!(reverted["rev"], 2);
    eventually("it is everywhere", async || is(&gateway, "complete", 100).await).await;
    act(&gateway, "revert", json!({"rev": 1})).await;
    eventually("the old content is everywhere", async || {
        is(&gateway, "complete", 100).await && revisions(&gateway).await == [3, 3, 3]
    })
    .await;
    let list = gateway.operator.get("/v1/global/revisions").await.unwrap();
    let shown: Vec<_> = list["items"].as_array().unwrap().iter().map(|it| &it["max_request_bytes"]).collect();
    assert_eq!(shown, [&json!(8_192), &json!(16_384), &json!(8_192)]);
    assert_eq!(list["items"][0]["repeats"], 1);
    assert_eq!(list["items"][0]["digest"], list["items"][2]["digest"]);
}

#[tokio::test]
async fn an_operator_goes_on_stops_and_takes_back() {
    let gateway = Gateway::with_proxies(3).await;
    soak(&gateway, 3_600).await;
    let before = json!({"connections_per_address": 64});
    gateway.operator.patch("/v1/global", before).await.unwrap();
    eventually("it has been tried", async || rollout(&gateway).await["proxies"]["applied"] == 1).await;
    let halted = act(&gateway, "halt", json!({})).await;
    assert_eq!((&halted["state"], &halted["reason"]), (&json!("halted"), &json!("test")));
    let stale = json!({"target_rev": 9, "reason": "test"});
    let refused = gateway.operator.post(&format!("{ROLLOUT}/promote"), stale).await.unwrap_err();
    assert!(refused.to_string().contains("412"), "{refused}");
    while act(&gateway, "promote", json!({})).await["state"] != "complete" {}
    eventually("every proxy has it", async || revisions(&gateway).await == [1, 1, 1]).await;

    soak(&gateway, 3_600).await;
    gateway.operator.patch("/v1/global", json!({"connections_per_address": 32})).await.unwrap();
    eventually("it has been tried", async || rollout(&gateway).await["proxies"]["applied"] == 1).await;
    let back = act(&gateway, "revert", json!({})).await;
    assert_eq!((&back["state"], &back["target_rev"]), (&json!("rolled_back"), &json!(3)));
    eventually("the old content is everywhere", async || revisions(&gateway).await == [3, 3, 3]).await;
    assert_eq!(gateway.operator.get("/v1/global").await.unwrap()["connections_per_address"], 64);
    let log = gateway.operator.get("/v1/audit-records?limit=50").await.unwrap();
    let log = log["items"].to_string();
    for operation in [
        "update_global",
        "halt_global_rollout",
        "promote_global_rollout",
        "revert_global",
        "update_global_rollout",
    ] {
        assert!(log.contains(operation), "{operation} is not in the log");
    }
}

#[tokio::test]
async fn a_revision_that_no_proxy_can_use_stops_at_the_first_and_is_taken_back() {
    let gateway = Gateway::with_proxies(3).await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    soak(&gateway, 0).await;
    gateway.operator.patch("/v1/global", json!({"max_request_bytes": 65_536})).await.unwrap();
    eventually("it is everywhere", async || {
        is(&gateway, "complete", 100).await && revisions(&gateway).await == [1, 1, 1]
    })
    .await;

    // No API makes one: a newer control plane may, and so may a damaged row. It has a field that no proxy knows.
    soak(&gateway, 3_600).await;
    let mut conn = PgConnection::connect(&gateway.database_url).await.unwrap();
    sqlx::raw_sql(
        "BEGIN;
         INSERT INTO global_revisions (rev, body, digest, actor, created_at)
           SELECT 2, body || '\\xf83e07'::bytea, digest, 'test', now() FROM global_revisions WHERE rev = 1;
         UPDATE global_rollout SET state = 'rolling', target_rev = 2, stage = 1, stage_at = now(),
           first_proxy = (SELECT id FROM proxies LIMIT 1);
         COMMIT;",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    eventually("it is taken back", async || is(&gateway, "rolled_back", 100).await).await;
    let after = rollout(&gateway).await;
    let reason = text(&after, "reason");
    assert!(reason.contains("refused it: snapshot_undecodable"), "{reason}");
    assert_eq!((&after["target_rev"], &after["stable_rev"]), (&json!(3), &json!(3)));
    eventually("every proxy has what it had", async || revisions(&gateway).await == [3, 3, 3]).await;
    assert_eq!(gateway.operator.get("/v1/global").await.unwrap()["max_request_bytes"], 65_536);
    let log = gateway.operator.get("/v1/audit-records?limit=50").await.unwrap();
    assert!(log["items"].to_string().contains("roll_back_global"), "{log}");

    // No tenant has noticed.
    tenant.grant(&endpoint, &["echo"]).await;
    for index in 0..3 {
        let url = format!("{}{}", gateway.url(index), endpoint.path);
        let caller = Caller::new(&url, endpoint.key.expose_secret());
        assert_eq!(caller.call("echo").await.tool_text(), "ok: echo");
    }
}

#[tokio::test]
async fn it_outlives_the_control_plane() {
    let mut gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    soak(&gateway, 0).await;
    gateway.operator.patch("/v1/global", json!({"max_request_bytes": 8_192})).await.unwrap();
    eventually("it is everywhere", async || {
        is(&gateway, "complete", 100).await && revisions(&gateway).await == [1]
    })
    .await;
    gateway.stop_control().await;
    gateway.restart_proxy(0).await;
    let url = format!("{}{}", gateway.url(0), endpoint.path);
    assert_eq!(large_call(&endpoint.caller(), &url, 20_000).await, "request_too_large");
    assert_eq!(large_call(&endpoint.caller(), &url, 20).await, "ok: echo");
}

#[tokio::test]
async fn replicas_agree_on_the_stage() {
    let gateway = Gateway::with_proxies(2).await;
    let replica = gateway.replica().await;
    soak(&replica, 0).await;
    replica.operator.patch("/v1/global", json!({"max_response_bytes": 1_048_576})).await.unwrap();
    eventually("it is everywhere", async || {
        is(&gateway, "complete", 100).await && revisions(&gateway).await == [1, 1]
    })
    .await;
    let (ours, theirs) = (rollout(&gateway).await, rollout(&replica).await);
    assert_eq!(ours, theirs);
    let log = gateway.operator.get("/v1/audit-records?limit=100").await.unwrap();
    let ends = log["items"].as_array().unwrap().iter().filter(|it| text(it, "target").ends_with("complete"));
    assert_eq!(ends.count(), 1, "each step is made once: {log}");
}
