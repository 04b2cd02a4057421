//! Whole proxies that count together.

use futures_util::future::join_all;
use harness::{Behaviour, Caller, Endpoint, Gateway, Upstream, eventually, redis::Redis, tool};
use serde_json::{Value, json};
use std::time::Duration;

/// Two proxies, an endpoint with one tool, and a limit of its client.
async fn two_proxies(redis: &Redis, limit: Value) -> (Gateway, Endpoint, Upstream) {
    let gateway = Gateway::with_redis(2, Some(&redis.url())).await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let mut limit = limit;
    limit["subject"] = json!({"client": endpoint.client});
    tenant.post("/limits?wait=applied", limit).await;
    everywhere(&gateway, "together").await;
    (gateway, endpoint, upstream)
}

/// Waits until every proxy says that limits are counted so, and knows of the other.
async fn everywhere(gateway: &Gateway, counted: &str) {
    for proxy in &gateway.proxies {
        let url = format!("http://{}/readyz", proxy.admin_addr());
        eventually("the proxy counts so", async || {
            let health: Value = reqwest::get(&url).await.unwrap().json().await.unwrap();
            health["limits"] == json!({"counted": counted, "proxies": 2})
        })
        .await;
    }
}

fn callers(gateway: &Gateway, endpoint: &Endpoint) -> [Caller; 2] {
    [0, 1].map(|proxy| endpoint.caller().at(&format!("{}{}", gateway.url(proxy), endpoint.path)))
}

#[tokio::test]
async fn a_limit_is_of_the_fleet_and_not_of_each_proxy() {
    let redis = Redis::start();
    let limit = json!({"per_minute": 1, "burst": 10, "concurrency": 0});
    let (gateway, endpoint, upstream) = two_proxies(&redis, limit).await;
    let callers = callers(&gateway, &endpoint);
    let answers = join_all((0..30).map(|number| callers[number % 2].call("echo"))).await;
    let passed = answers.iter().filter(|answer| answer.code().is_empty()).count();
    // One more may be earned should the machine stand still for a minute.
    assert!((10..=11).contains(&passed), "{passed} of 30 passed a burst of 10");
    assert_eq!(upstream.calls().len(), passed);
    let refused = answers.iter().find(|answer| !answer.code().is_empty()).unwrap();
    assert_eq!(refused.code(), "rate_limited");
    let data = &refused.json()["error"]["data"];
    assert_eq!((&data["limit"], &data["counted"]), (&json!("client"), &json!("together")), "{data}");
    assert!((1..=60_000).contains(&data["retry_after_ms"].as_u64().unwrap()), "{data}");
    // What a later check refuses is given back, whichever proxy is asked next.
    assert_eq!(callers[0].tools().await, ["echo"]);
}

#[tokio::test]
async fn how_many_run_at_once_is_of_the_fleet_too() {
    let redis = Redis::start();
    let limit = json!({"per_minute": 600, "burst": 600, "concurrency": 3});
    let (gateway, endpoint, upstream) = two_proxies(&redis, limit).await;
    let ok = json!({"content": [{"type": "text", "text": "done"}]});
    for _ in 0..3 {
        upstream.next(Behaviour::After(Duration::from_secs(2), ok.clone()));
    }
    let callers = callers(&gateway, &endpoint);
    let answers = join_all((0..10).map(|number| callers[number % 2].call("echo"))).await;
    let refused: Vec<_> = answers.iter().filter(|answer| !answer.code().is_empty()).collect();
    assert_eq!(refused.len(), 7, "{answers:?}");
    for answer in refused {
        let data = &answer.json()["error"]["data"];
        assert_eq!((&data["code"], &data["counted"]), (&json!("concurrency_limited"), &json!("together")));
    }
    let passes = async || callers[1].call("echo").await.code().is_empty();
    eventually("places are given back", passes).await;
    redis.stop();
    everywhere(&gateway, "by_share").await;
    // Two of three each.
    for _ in 0..4 {
        upstream.next(Behaviour::After(Duration::from_secs(2), ok.clone()));
    }
    let answers = join_all((0..10).map(|number| callers[number % 2].call("echo"))).await;
    let passed = answers.iter().filter(|answer| answer.code().is_empty()).count();
    assert_eq!(passed, 4, "{answers:?}");
    let refused = answers.iter().find(|answer| !answer.code().is_empty()).unwrap();
    assert_eq!(refused.json()["error"]["data"]["counted"], "by_share");
}

#[tokio::test]
async fn refused_calls_are_given_back_to_the_fleet() {
    let redis = Redis::start();
    let limit = json!({"per_minute": 1, "burst": 3, "concurrency": 0});
    let (gateway, endpoint, _upstream) = two_proxies(&redis, limit).await;
    let callers = callers(&gateway, &endpoint);
    for number in 0..10 {
        // Not granted: refused after the reservation. The next call finds what this one gave back, a moment later.
        let code = callers[number % 2].call("nosuchtool").await.code();
        assert!(["tool_not_granted", "rate_limited"].contains(&code.as_str()), "{code}");
    }
    eventually("the units are back", async || callers[0].call("echo").await.code().is_empty()).await;
}

#[tokio::test]
async fn without_redis_each_proxy_admits_its_share_and_says_so() {
    let redis = Redis::start();
    let limit = json!({"per_minute": 2, "burst": 20, "concurrency": 0});
    let (gateway, endpoint, upstream) = two_proxies(&redis, limit).await;
    let callers = callers(&gateway, &endpoint);
    redis.stop();
    everywhere(&gateway, "by_share").await;
    let answers = join_all((0..60).map(|number| callers[number % 2].call("echo"))).await;
    let passed = answers.iter().filter(|answer| answer.code().is_empty()).count();
    assert!((20..=22).contains(&passed), "{passed} passed two shares of 10");
    assert_eq!(upstream.calls().len(), passed);
    let refused = answers.iter().find(|answer| !answer.code().is_empty()).unwrap();
    assert_eq!(refused.json()["error"]["data"]["counted"], "by_share");
}

#[tokio::test]
async fn a_proxy_that_starts_with_nobody_to_ask_admits_its_share_and_not_all() {
    let redis = Redis::start();
    let limit = json!({"per_minute": 2, "burst": 20, "concurrency": 0});
    let (mut gateway, endpoint, _upstream) = two_proxies(&redis, limit).await;
    gateway.stop_control().await;
    redis.stop();
    everywhere(&gateway, "by_share").await;
    for index in [0, 1] {
        gateway.restart_proxy(index).await;
    }
    everywhere(&gateway, "by_share").await;
    let callers = callers(&gateway, &endpoint);
    let answers = join_all((0..60).map(|number| callers[number % 2].call("echo"))).await;
    let passed = answers.iter().filter(|answer| answer.code().is_empty()).count();
    assert!((20..=22).contains(&passed), "{passed} passed two shares of 10");
}
