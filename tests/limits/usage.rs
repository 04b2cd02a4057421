//! R42: budgets, presets, and what is left, as the admin API shows it.

use harness::{Gateway, Upstream, eventually, redis::Redis, tool};
use serde_json::{Value, json};

async fn usage(tenant: &harness::Tenant, path: &str) -> Value {
    tenant.admin.get(&format!("{}{path}/usage", tenant.base)).await.unwrap()
}

#[tokio::test]
async fn usage_shows_what_the_proxies_counted() {
    let redis = Redis::start();
    let gateway = Gateway::with_redis(2, Some(&redis.url())).await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let limit = json!({
        "subject": {"client": endpoint.client}, "preset": "conservative", "per_day": 7, "per_month": 100,
    });
    let limit = tenant.post("/limits?wait=applied", limit).await;
    assert_eq!(
        (&limit["per_minute"], &limit["burst"], &limit["per_day"]),
        (&json!(60), &json!(60), &json!(7))
    );
    let path = format!("/limits/{}", limit["id"].as_str().unwrap());
    for proxy in &gateway.proxies {
        let url = format!("http://{}/readyz", proxy.admin_addr());
        eventually("the proxy counts together", async || {
            let health: Value = reqwest::get(&url).await.unwrap().json().await.unwrap();
            health["limits"] == json!({"counted": "together", "proxies": 2})
        })
        .await;
    }
    let callers =
        [0, 1].map(|proxy| endpoint.caller().at(&format!("{}{}", gateway.url(proxy), endpoint.path)));
    for number in 0..7 {
        let answer = callers[number % 2].call("echo").await;
        assert_eq!(answer.tool_text(), "ok: echo", "{answer:?}");
    }
    let seen = usage(&tenant, &path).await;
    assert_eq!(seen["counted"], "together");
    assert!((50..=60).contains(&seen["calls"]["remaining"].as_u64().unwrap()), "{seen}");
    assert!(seen["calls"]["full_after_ms"].as_u64().unwrap() > 0, "{seen}");
    assert_eq!(seen["requests"]["per_minute"], 300);
    assert_eq!((&seen["day"]["used"], &seen["day"]["remaining"]), (&json!(7), &json!(0)), "{seen}");
    // What proxies hold ahead of need counts as used, until it is given back.
    let of_month = |seen: &Value| seen["month"]["used"].as_u64().unwrap();
    assert!((7..=17).contains(&of_month(&seen)), "{seen}");
    assert!(seen["day"]["ends_at"].as_str().unwrap().ends_with("T00:00:00Z"), "{seen}");
    assert_eq!(usage(&tenant, &format!("/clients/{}", endpoint.client)).await["day"], seen["day"]);
    // Whichever proxy is asked, the day is over.
    for caller in &callers {
        let refused = caller.call("echo").await;
        assert_eq!((refused.status, refused.code().as_str()), (200, "budget_exhausted"), "{refused:?}");
        let data = &refused.json()["error"]["data"];
        assert_eq!(
            (&data["limit"], &data["window"], &data["allowed"]),
            (&json!("client"), &json!("day"), &json!(7))
        );
        assert!((1..=86_400_000).contains(&data["retry_after_ms"].as_u64().unwrap()), "{data}");
    }
    assert!(of_month(&usage(&tenant, &path).await) <= of_month(&seen), "what is refused takes nothing");
    // A larger budget counts on from where the smaller one stood.
    let larger = json!({"per_day": 9});
    tenant.admin.patch(&format!("{}{path}?wait=applied", tenant.base), larger).await.unwrap();
    let passed = async || callers[0].call("echo").await.code().is_empty();
    assert!(passed().await && passed().await && !passed().await);

    redis.stop();
    let url = format!("{}{}{path}/usage", gateway.control_url, tenant.base);
    let http = reqwest::Client::new();
    eventually("the control plane notices", async || {
        use secrecy::ExposeSecret as _;
        let request = http.get(&url).bearer_auth(tenant.admin_token.expose_secret());
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let problem: Value = response.json().await.unwrap();
        status == 503 && problem["code"] == "counters_unavailable"
    })
    .await;
}

#[tokio::test]
async fn without_redis_usage_says_who_counts() {
    let gateway = Gateway::start().await;
    let tenant = gateway.tenant("acme").await;
    let every = json!({"subject": "every_client", "preset": "high"});
    let every = tenant.post("/limits", every).await;
    let whole = tenant.post("/limits", json!({"subject": "tenant", "preset": "moderate"})).await;
    let path = |limit: &Value| format!("/limits/{}", limit["id"].as_str().unwrap());
    let seen = usage(&tenant, &path(&whole)).await;
    assert_eq!((&seen["counted"], &seen["calls"]), (&json!("by_proxy"), &Value::Null));
    let refused = tenant.admin.get(&format!("{}{}/usage", tenant.base, path(&every))).await;
    assert!(refused.is_err(), "a limit of each has no usage of its own: {refused:?}");
}
