//! R41: no more calls pass than the limit says, and a refusal says when to come back.

use futures_util::future::join_all;
use harness::{Behaviour, Gateway, Upstream, tool};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_client_gets_its_burst_and_then_a_time_to_wait() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let limit =
        json!({"subject": {"client": endpoint.client}, "per_minute": 1, "burst": 5, "concurrency": 0});
    tenant.post("/limits?wait=applied", limit).await;

    let caller = endpoint.caller();
    let answers = join_all((0..20).map(|_| caller.call("echo"))).await;
    let passed = answers.iter().filter(|answer| answer.code().is_empty()).count();
    // One more may be earned while the twenty are on their way, should the machine stand still for a minute.
    assert!((5..=6).contains(&passed), "{passed} of 20 passed a burst of 5");
    assert_eq!(upstream.calls().len(), passed, "a refused call reached the upstream");
    let refused = answers.iter().find(|answer| !answer.code().is_empty()).unwrap();
    assert_eq!((refused.status, refused.code().as_str()), (200, "rate_limited"));
    assert_eq!(refused.header("portcullis-refusal"), "rate_limited");
    let wait = refused.json()["error"]["data"]["retry_after_ms"].as_u64().unwrap();
    assert!((1..=60_000).contains(&wait), "{wait}");
    // Connecting and listing do not eat the calls' budget, and are not stopped by its end.
    assert_eq!(caller.tools().await, ["echo"]);
}

#[tokio::test]
async fn calls_in_flight_are_limited_and_released() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("slow", "Waits")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["slow"]).await;
    let limit =
        json!({"subject": {"client": endpoint.client}, "per_minute": 600, "burst": 600, "concurrency": 2});
    tenant.post("/limits?wait=applied", limit).await;
    let ok = json!({"content": [{"type": "text", "text": "done"}]});
    for _ in 0..2 {
        upstream.next(Behaviour::After(Duration::from_secs(2), ok.clone()));
    }
    let caller = endpoint.caller();
    let answers = join_all((0..6).map(|_| caller.call("slow"))).await;
    let refused = answers.iter().filter(|answer| answer.code() == "concurrency_limited").count();
    assert_eq!(refused, 4, "{answers:?}");
    assert_eq!(caller.call("slow").await.tool_text(), "ok: slow", "places are given back");
}

#[tokio::test]
async fn a_limit_of_zero_closes_a_tool() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back"), tool("other", "Other")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo", "other"]).await;
    let tools = tenant.admin.get(&format!("{}/tools", tenant.base)).await.unwrap();
    let echo = tools["items"].as_array().unwrap().iter().find(|tool| tool["name"] == "echo").unwrap();
    let limit = json!({"subject": {"tool": echo["id"]}, "per_minute": 0, "burst": 1, "concurrency": 0});
    tenant.post("/limits?wait=applied", limit).await;
    let caller = endpoint.caller();
    assert_eq!(caller.call("echo").await.code(), "rate_limited");
    assert_eq!(caller.call("other").await.tool_text(), "ok: other");
}
