//! R41, R48: a proxy that starts while no control plane can be reached serves what it enforced last, and nothing else.

use std::time::Duration;

use harness::{Caller, Gateway, Upstream, eventually, text, tool};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

async fn readyz(gateway: &Gateway) -> Value {
    let url = format!("http://{}/readyz", gateway.proxies[0].admin_addr());
    serde_json::from_str(&reqwest::get(url).await.unwrap().text().await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_proxy_restarts_without_a_control_plane_and_opens_nothing() {
    let mut gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back"), tool("drop", "Drops a table")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let keys = format!("/clients/{}/keys", endpoint.client);
    let unused = tenant.post(&format!("{keys}?wait=applied"), json!({"name": "second"})).await;
    let unused = SecretString::from(text(&unused, "key"));
    let revoked = tenant.post(&keys, json!({"name": "third"})).await;
    let path = format!("{}{keys}/{}?wait=applied", tenant.base, text(&revoked, "id"));
    tenant.admin.delete(&path).await.unwrap();
    let revoked = SecretString::from(text(&revoked, "key"));

    gateway.stop_control().await;
    gateway.restart_proxy(0).await;
    let ready = readyz(&gateway).await;
    assert_eq!(
        (ready["configuration"].as_str(), ready["control"].as_str()),
        (Some("archived"), Some("unreachable"))
    );
    let url = format!("{}{}", gateway.url(0), endpoint.path);
    let caller = |key: &SecretString| Caller::new(&url, key.expose_secret());
    assert_eq!(caller(&unused).call("echo").await.tool_text(), "ok: echo", "a key never used before");
    assert_eq!(caller(&revoked).call("echo").await.status, 401, "a key revoked before");
    let unknown = crypto::key::mint(crypto::KeyKind::ApiKey, &seams::SystemEntropy).text;
    assert_eq!(caller(&unknown).call("echo").await.status, 401);
    assert_eq!(caller(&unused).call("drop").await.code(), "tool_not_granted");
    assert_eq!(upstream.calls().len(), 1, "nothing else has reached the server");

    gateway.start_control().await;
    eventually("the control plane has confirmed it", async || {
        readyz(&gateway).await["configuration"] == "complete"
    })
    .await;
    tenant.grant(&endpoint, &["drop"]).await;
    assert_eq!(caller(&unused).call("drop").await.tool_text(), "ok: drop", "changes arrive again");
    eventually("the calls of the outage are stored", async || {
        tenant.audit("phase=outcome&method=tools/call").await.len() >= 3
    })
    .await;
}

#[tokio::test]
async fn a_proxy_that_is_revoked_drops_what_it_holds() {
    let mut gateway = Gateway::with_proxies(2).await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    assert_eq!(endpoint.caller().call("echo").await.tool_text(), "ok: echo");
    let proxy = gateway.proxies[0].proxy_id().unwrap();
    gateway.operator.delete(&format!("/v1/proxies/{proxy}")).await.unwrap();
    eventually("it serves nothing any more", async || {
        endpoint.caller().call("echo").await.code() == "not_ready"
    })
    .await;
    assert_eq!(readyz(&gateway).await["configuration"], "missing");
    let other = endpoint.caller().at(&format!("{}{}", gateway.url(1), endpoint.path));
    assert_eq!(other.call("echo").await.tool_text(), "ok: echo", "the others serve on");

    // Nor after a restart, whoever can be reached.
    gateway.stop_control().await;
    let stopped = gateway.proxies.remove(0);
    stopped.shutdown().await;
    let restarted = gateway.start_unready(0).await;
    assert!(!restarted.is_ready());
    restarted.shutdown().await;
}

#[tokio::test]
async fn a_tenant_that_wants_it_fresher_is_refused_while_others_are_served() {
    let mut gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let (strict, patient) = (gateway.tenant("strict").await, gateway.tenant("patient").await);
    let endpoints = [strict.endpoint("tools", &upstream).await, patient.endpoint("tools", &upstream).await];
    strict.grant(&endpoints[0], &["echo"]).await;
    patient.grant(&endpoints[1], &["echo"]).await;
    let path = format!("{}?wait=applied", strict.base);
    strict.admin.patch(&path, json!({"max_stale_seconds": 60})).await.unwrap();

    gateway.stop_control().await;
    gateway.clock.ahead(Duration::from_secs(120));
    gateway.restart_proxy(0).await;
    let call = async |gateway: &Gateway, index: usize| {
        let endpoint = &endpoints[index];
        endpoint.caller().at(&format!("{}{}", gateway.url(0), endpoint.path)).call("echo").await
    };
    let refused = call(&gateway, 0).await;
    assert_eq!((refused.status, refused.code()), (503, "config_stale".to_owned()));
    assert_eq!(call(&gateway, 1).await.tool_text(), "ok: echo", "the proxy allows a day");
    assert_eq!(readyz(&gateway).await["configuration"], "archived");

    gateway.start_control().await;
    eventually("the control plane has confirmed it", async || {
        call(&gateway, 0).await.tool_text() == "ok: echo"
    })
    .await;
}

#[tokio::test]
async fn a_proxy_whose_clock_was_set_back_does_not_guess() {
    let mut gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    gateway.stop_control().await;
    let stopped = gateway.proxies.remove(0);
    stopped.shutdown().await;
    gateway.clock.behind(Duration::from_secs(3_600));
    let restarted = gateway.start_unready(0).await;
    assert!(!restarted.is_ready());
    gateway.proxies.push(restarted);
    assert_eq!(readyz(&gateway).await["configuration"], "stale");
    let caller = endpoint.caller().at(&format!("{}{}", gateway.url(0), endpoint.path));
    assert_eq!(caller.call("echo").await.code(), "config_stale");
}
