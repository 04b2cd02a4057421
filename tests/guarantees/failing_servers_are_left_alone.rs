//! R44: a server that fails is not called again and again, on any worker of a proxy, and is tried again after a while.

use harness::{Behaviour, Gateway, Upstream, eventually, tool};
use serde_json::json;

fn unavailable() -> Behaviour {
    Behaviour::Raw { status: 503, content_type: "text/plain", headers: Vec::new(), body: "".into() }
}

#[tokio::test]
async fn after_failures_calls_are_refused_at_once_until_a_probe_succeeds() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let path = format!("{}/upstreams/{}", tenant.base, endpoint.upstream);
    let standard = tenant.admin.get(&path).await.unwrap()["breaker"].clone();
    assert_eq!(standard, json!({"failures": 5, "failure_percent": 50, "open_ms": 5000}));

    let change = json!({"breaker": {"failures": 3, "open_ms": 600_000}});
    let changed = tenant.admin.patch(&format!("{path}?wait=applied"), change).await.unwrap();
    assert_eq!(changed["breaker"], json!({"failures": 3, "failure_percent": 50, "open_ms": 600_000}));
    // Each call on a connection of its own, so on whichever worker takes it.
    for _ in 0..3 {
        upstream.next(unavailable());
        assert_eq!(endpoint.caller().call("echo").await.code(), "upstream_unreachable");
    }
    for _ in 0..8 {
        let refused = endpoint.caller().call("echo").await;
        assert_eq!(refused.code(), "upstream_circuit_open");
        assert!(refused.json()["error"]["data"]["retry_after_ms"].as_u64().unwrap() > 500_000);
    }
    assert_eq!(upstream.calls().len(), 3);

    let short = json!({"breaker": {"open_ms": 200}});
    tenant.admin.patch(&format!("{path}?wait=applied"), short).await.unwrap();
    assert_eq!(endpoint.caller().call("echo").await.code(), "upstream_circuit_open", "as it was opened");
    let off = json!({"breaker": {"failures": 0}});
    tenant.admin.patch(&format!("{path}?wait=applied"), off).await.unwrap();
    assert_eq!(endpoint.caller().call("echo").await.tool_text(), "ok: echo");
    // Another place, or another way to it, begins anew.
    let on = json!({"breaker": {"failures": 1}, "total_timeout_ms": 20_000});
    tenant.admin.patch(&format!("{path}?wait=applied"), on).await.unwrap();
    upstream.next(unavailable());
    assert_eq!(endpoint.caller().call("echo").await.code(), "upstream_unreachable");
    assert_eq!(endpoint.caller().call("echo").await.code(), "upstream_circuit_open");
    eventually("a probe is let through", async || {
        endpoint.caller().call("echo").await.tool_text() == "ok: echo"
    })
    .await;
    for wrong in [json!({"failures": 1001}), json!({"failure_percent": 0}), json!({"open_ms": 0})] {
        assert!(tenant.admin.patch(&path, json!({"breaker": wrong})).await.is_err(), "{wrong}");
    }
}
