//! R48, M2: a write can wait until every proxy enforces it; a proxy serves on without a control plane.

use harness::{Gateway, Upstream, tool};
use serde_json::json;

#[tokio::test]
async fn a_write_that_waited_is_enforced_by_every_proxy() {
    let gateway = Gateway::with_proxies(3).await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    let http = reqwest::Client::new();
    use secrecy::ExposeSecret as _;
    for round in 0..5 {
        let grant = json!({
            "subject": {"client": endpoint.client},
            "actions": [{"action": "call_tool", "upstream": endpoint.upstream, "tools": {"names": ["echo"]}}]
        });
        let response = http
            .post(format!("{}{}/grants?wait=applied", gateway.control_url, tenant.base))
            .bearer_auth(tenant.admin_token.expose_secret())
            .json(&grant)
            .send()
            .await
            .unwrap();
        let convergence = response.headers()["portcullis-convergence"].to_str().unwrap().to_owned();
        assert!(convergence.ends_with("applied=3, rejected=0, unreachable=0"), "{convergence}");
        let id = response.json::<serde_json::Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
        for proxy in 0..3 {
            let caller = endpoint.caller().at(&format!("{}{}", gateway.url(proxy), endpoint.path));
            assert_eq!(caller.call("echo").await.tool_text(), "ok: echo", "round {round}, proxy {proxy}");
        }
        tenant.admin.delete(&format!("{}/grants/{id}?wait=applied", tenant.base)).await.unwrap();
        for proxy in 0..3 {
            let caller = endpoint.caller().at(&format!("{}{}", gateway.url(proxy), endpoint.path));
            assert_eq!(caller.call("echo").await.code(), "tool_not_granted", "round {round}, proxy {proxy}");
        }
    }
}

#[tokio::test]
async fn what_does_not_compile_is_refused_and_changes_nothing() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let before = tenant.admin.get(&format!("{}/revisions", tenant.base)).await.unwrap();
    for action in [
        json!({"action": "call_tool", "upstream": endpoint.upstream, "tools": {"classes": ["unclassified"]}}),
        json!({"action": "call_tool", "upstream": endpoint.upstream, "tools": {"names": []}}),
        json!({"action": "fly", "upstream": endpoint.upstream}),
        json!({"action": "complete", "upstream": endpoint.upstream, "extra": 1}),
    ] {
        let grant = json!({"subject": {"client": endpoint.client}, "actions": [action]});
        let refused = tenant.admin.post(&format!("{}/grants", tenant.base), grant).await;
        let portcullis_cli::rest::RestError::Refused { status, problem, .. } = refused.unwrap_err() else {
            panic!("not answered")
        };
        assert_eq!(status.as_u16(), 422, "{problem}");
        assert!(problem["errors"][0]["pointer"].as_str().unwrap().starts_with("/actions"), "{problem}");
    }
    assert_eq!(tenant.admin.get(&format!("{}/revisions", tenant.base)).await.unwrap(), before);
    assert_eq!(endpoint.caller().call("echo").await.tool_text(), "ok: echo");
}

#[tokio::test]
async fn a_proxy_serves_on_without_a_control_plane_and_catches_up() {
    let mut gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    let grant = tenant.grant(&endpoint, &["echo"]).await;
    gateway.stop_control().await;
    for _ in 0..20 {
        assert_eq!(endpoint.caller().call("echo").await.tool_text(), "ok: echo");
    }
    gateway.start_control().await;
    harness::eventually("the calls of the outage are stored", async || {
        tenant.audit("phase=outcome&method=tools/call&limit=100").await.len() == 20
    })
    .await;
    tenant.admin.delete(&format!("{}/grants/{grant}?wait=applied&timeout=30s", tenant.base)).await.unwrap();
    assert_eq!(endpoint.caller().call("echo").await.code(), "tool_not_granted");
}
