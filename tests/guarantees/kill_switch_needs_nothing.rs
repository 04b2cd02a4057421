//! R62: with everything else down a kill is an order signed offline; and a restart forgets no kill, whoever ordered it.

use crypto::SigningKey;
use harness::{
    Gateway, Upstream, eventually,
    orders::{key, lift, signed, stop},
    tool,
};
use ids::KillId;
use seams::{Clock as _, SystemClock};
use serde_json::{Value, json};
use wire::kill::Order;

async fn hand_in(gateway: &Gateway, text: &str) -> (u16, Value) {
    let url = format!("http://{}/kill-orders", gateway.proxies[0].admin_addr());
    let answer = reqwest::Client::new().post(url).body(text.to_owned()).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
}

#[tokio::test]
async fn an_order_stops_a_proxy_that_hears_of_nobody_else_and_only_its_id_lifts_it() {
    let mut gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let (acme, other) = (gateway.tenant("acme").await, gateway.tenant("other").await);
    let (ours, theirs) = (acme.endpoint("tools", &upstream).await, other.endpoint("tools", &upstream).await);
    acme.grant(&ours, &["echo"]).await;
    other.grant(&theirs, &["echo"]).await;

    gateway.stop_control().await;
    gateway.postgres_goes_away().await;
    let id = KillId::from_parts(SystemClock.now().millis(), [5; 10]);
    let thief = SigningKey::from_seed(&[43; 32]).unwrap();
    for wrong in [signed(&stop(id, &acme.id), &thief), "stop everything".to_owned(), "x".repeat(100_000)] {
        let (status, problem) = hand_in(&gateway, &wrong).await;
        assert_eq!((status, problem["code"].as_str()), (403, Some("kill_order_refused")), "{problem}");
    }
    assert_eq!(ours.caller().call("echo").await.tool_text(), "ok: echo");
    let order = signed(&stop(id, &acme.id), &key());
    assert_eq!(hand_in(&gateway, &order).await.0, 200);
    // It is in force when the order is answered.
    assert_eq!(ours.caller().call("echo").await.code(), "killed");
    assert_eq!(theirs.caller().call("echo").await.tool_text(), "ok: echo");

    gateway.postgres_comes_back().await;
    gateway.start_control().await;
    gateway.restart_proxy(0).await;
    let at =
        |endpoint: &harness::Endpoint| endpoint.caller().at(&format!("{}{}", gateway.url(0), endpoint.path));
    let (ours, theirs) = (at(&ours), at(&theirs));
    assert_eq!(
        ours.call("echo").await.code(),
        "killed",
        "after a restart, with a control plane that knows nothing of it"
    );
    assert_eq!(theirs.call("echo").await.tool_text(), "ok: echo");

    let path = format!("/v1/kills/{id}/lift?wait=applied");
    gateway.operator.post(&path, json!({"reason": "over", "epoch": 0})).await.unwrap();
    assert_eq!(ours.call("echo").await.tool_text(), "ok: echo");
    // Whoever kept the order cannot bring it back.
    assert_eq!(hand_in(&gateway, &order).await.0, 200);
    assert_eq!(ours.call("echo").await.tool_text(), "ok: echo");
}

#[tokio::test]
async fn an_order_may_be_a_file() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let id = KillId::from_parts(SystemClock.now().millis(), [6; 10]);
    let orders = gateway.state_dir(0).join("kill-orders");
    let hand_in = |name: &str, order: &Order| {
        std::fs::write(orders.join(format!("{name}.new")), signed(order, &key())).unwrap();
        std::fs::rename(orders.join(format!("{name}.new")), orders.join(name)).unwrap();
    };
    hand_in("stop", &stop(id, &tenant.id));
    eventually("the order is followed", async || endpoint.caller().call("echo").await.code() == "killed")
        .await;
    hand_in("go-on", &lift(id));
    eventually("it is lifted", async || endpoint.caller().call("echo").await.tool_text() == "ok: echo").await;
    assert!(orders.join("stop.done").exists());
}

/// A kill of the control plane's outlives a restart too, and is in force before the proxy is ready.
#[tokio::test]
async fn a_restarted_proxy_goes_on_refusing() {
    let mut gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let order = json!({"level": "tool", "target": tool_id(&tenant).await, "reason": "an incident"});
    let kill = tenant.post("/kills?wait=applied", order).await;
    for _ in 0..2 {
        gateway.restart_proxy(0).await;
        let caller = endpoint.caller().at(&format!("{}{}", gateway.url(0), endpoint.path));
        assert_eq!(caller.call("echo").await.code(), "killed");
    }
    let lift = json!({"reason": "over", "epoch": kill["epoch"]});
    tenant.post(&format!("/kills/{}/lift?wait=applied", harness::text(&kill, "id")), lift).await;
    gateway.restart_proxy(0).await;
    let caller = endpoint.caller().at(&format!("{}{}", gateway.url(0), endpoint.path));
    assert_eq!(caller.call("echo").await.tool_text(), "ok: echo");
}

/// What was kept later is known to have been: a proxy that is given back the kills of yesterday serves nothing by them.
#[tokio::test]
async fn an_older_kill_set_put_back_on_disk_is_not_served_by() {
    let mut gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let exercise = json!({"level": "tenant", "reason": "an exercise", "drill": true});
    tenant.post("/kills?wait=applied", exercise).await;
    let kept = gateway.state_dir(0).join("kills.bin");
    let yesterday = std::fs::read(&kept).unwrap();
    let order = json!({"level": "endpoint", "target": endpoint.id, "reason": "an incident"});
    tenant.post("/kills?wait=applied", order).await;

    gateway.stop_control().await;
    gateway.restart_proxy(0).await;
    let here = |gateway: &Gateway| endpoint.caller().at(&format!("{}{}", gateway.url(0), endpoint.path));
    assert_eq!(here(&gateway).call("echo").await.code(), "killed", "ready by what it has on disk");
    let proxy = gateway.proxies.remove(0);
    proxy.shutdown().await;
    std::fs::write(&kept, yesterday).unwrap();
    let proxy = gateway.start_unready(0).await;
    gateway.proxies.insert(0, proxy);
    assert!(!gateway.proxies[0].is_ready());
    assert_eq!(here(&gateway).call("echo").await.code(), "not_ready");
    gateway.start_control().await;
    eventually("the control plane has said what is killed", async || {
        here(&gateway).call("echo").await.code() == "killed"
    })
    .await;
}

async fn tool_id(tenant: &harness::Tenant) -> String {
    let tools = tenant.admin.get(&format!("{}/tools", tenant.base)).await.unwrap();
    harness::text(&tools["items"][0], "id")
}
