//! R62, R59: what was under way ends too, at every replica, and a restart forgets nothing.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use harness::{Behaviour, Caller, Endpoint, Gateway, Tenant, Upstream, eventually, text, tool};
use serde_json::{Value, json};

async fn world(proxies: usize) -> (Gateway, Upstream, Tenant, Endpoint) {
    let gateway = Gateway::with_proxies(proxies).await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    (gateway, upstream, tenant, endpoint)
}

/// A call whose answer streams and has begun.
async fn streaming(upstream: &Upstream, caller: &Caller) -> reqwest::Response {
    let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress",
        "params": {"progressToken": 1, "progress": 1}});
    upstream.next(Behaviour::Hang(progress));
    let (caller, body) = caller.modern("tools/call", json!({"name": "echo", "arguments": {"text": "x"}}));
    let mut response = caller.open(body).await;
    assert!(response.chunk().await.unwrap().is_some());
    response
}

/// What comes until the stream's end, which must come.
async fn rest(mut response: reqwest::Response) -> String {
    let mut text = String::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    text
}

#[tokio::test]
async fn open_streams_and_warm_connections_are_cut_at_every_proxy() {
    let (gateway, upstream, tenant, endpoint) = world(2).await;
    let callers =
        [0, 1].map(|proxy| endpoint.caller().at(&format!("{}{}", gateway.url(proxy), endpoint.path)));
    let mut streams = Vec::new();
    for caller in &callers {
        streams.push(streaming(&upstream, caller).await);
        assert_eq!(caller.call("echo").await.tool_text(), "ok: echo");
    }
    let order = json!({"level": "client", "target": endpoint.client, "reason": "stolen"});
    tenant.post("/kills?wait=applied", order).await;
    for stream in streams {
        assert!(rest(stream).await.contains("\"killed\""));
    }
    let calls = upstream.calls().len();
    for caller in &callers {
        assert_eq!(caller.call("echo").await.code(), "killed");
    }
    assert_eq!(upstream.calls().len(), calls, "nothing reached the server");
}

#[tokio::test]
async fn a_revoked_key_dies_with_its_streams_and_so_do_a_deleted_clients() {
    let (_gateway, upstream, tenant, endpoint) = world(1).await;
    let keys = format!("/clients/{}/keys", endpoint.client);
    let second = tenant.post(&format!("{keys}?wait=applied"), json!({"name": "second"})).await;
    let second = Caller::new(&endpoint.url, &text(&second, "key"));
    let (first_stream, second_stream) =
        (streaming(&upstream, &endpoint.caller()).await, streaming(&upstream, &second).await);

    tenant.admin.delete(&format!("{}{keys}/{}", tenant.base, endpoint.key_id)).await.unwrap();
    assert!(rest(first_stream).await.contains("\"credential_invalid\""));
    let answer = endpoint.caller().call("echo").await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "credential_invalid"));
    assert_eq!(second.call("echo").await.tool_text(), "ok: echo");

    tenant.admin.delete(&format!("{}/clients/{}", tenant.base, endpoint.client)).await.unwrap();
    assert!(rest(second_stream).await.contains("\"credential_invalid\""));
    assert_eq!(second.call("echo").await.status, 401);
}

/// A kill at one control plane stops a proxy of another.
#[tokio::test]
async fn a_kill_reaches_the_proxies_of_every_control_plane() {
    let (first, _upstream, tenant, endpoint) = world(1).await;
    let mut second = first.replica().await;
    second.add_proxy().await;
    let order = json!({"level": "tenant", "tenant_id": tenant.id, "reason": "an incident"});
    let kill = first.operator.post("/v1/kills?wait=applied&timeout=30s", order).await.unwrap();
    assert_eq!(kill["acknowledgement"]["acknowledged"], 2, "{kill}");
    for gateway in [&first, &second] {
        let caller = endpoint.caller().at(&format!("{}{}", gateway.url(0), endpoint.path));
        assert_eq!(caller.call("echo").await.code(), "killed");
        let seen = gateway.operator.get(&format!("/v1/kills/{}", text(&kill, "id"))).await.unwrap();
        assert_eq!(seen["acknowledgement"]["acknowledged"], 2, "{seen}");
    }
}

/// Without Postgres, which knows neither the caller nor the proxies then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_kills_while_postgres_is_away_and_the_row_follows() {
    let (gateway, _upstream, tenant, endpoint) = world(1).await;
    gateway.postgres_goes_away().await;
    let order =
        json!({"level": "endpoint", "tenant_id": tenant.id, "target": endpoint.id, "reason": "an incident"});
    let kill = gateway.operator.post("/v1/kills?wait=applied", order).await.unwrap();
    assert_eq!(
        (&kill["epoch"], &kill["acknowledgement"]["acknowledged"]),
        (&Value::Null, &json!(1)),
        "{kill}"
    );
    assert_eq!(endpoint.caller().call("echo").await.code(), "killed");
    let path = format!("/v1/kills/{}", text(&kill, "id"));
    assert_eq!(gateway.operator.get(&path).await.unwrap()["epoch"], Value::Null);

    gateway.postgres_comes_back().await;
    eventually("the row is written", async || {
        gateway.operator.get(&path).await.is_ok_and(|kill| kill["epoch"].is_u64())
    })
    .await;
    assert_eq!(endpoint.caller().call("echo").await.code(), "killed");
    let kill = gateway.operator.get(&path).await.unwrap();
    let lift = json!({"reason": "over", "epoch": kill["epoch"]});
    gateway.operator.post(&format!("{path}/lift?wait=applied"), lift).await.unwrap();
    assert_eq!(endpoint.caller().call("echo").await.tool_text(), "ok: echo");
}

/// As after a restore, or a failover to a standby that lagged: the next kill counts on from what proxies have seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_steps_back_keeps_no_kill_from_the_proxies() {
    let (gateway, _upstream, tenant, endpoint) = world(1).await;
    for drill in 0..3 {
        let order = json!({"level": "tenant", "reason": format!("drill {drill}"), "drill": true});
        tenant.post("/kills?wait=applied", order).await;
    }
    let database = sqlx::PgPool::connect(&gateway.database_url).await.unwrap();
    sqlx::query("UPDATE kill_epochs SET epoch = 1").execute(&database).await.unwrap();
    let order = json!({"level": "endpoint", "target": endpoint.id, "reason": "an incident"});
    let kill = tenant.post("/kills?wait=applied", order).await;
    assert_eq!(kill["acknowledgement"]["acknowledged"], 1, "{kill}");
    assert_eq!(endpoint.caller().call("echo").await.code(), "killed");
}

/// Order, not time: whoever begins after the acknowledgement is refused, however many are calling meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_admitted_after_the_acknowledgement() {
    let (_gateway, _upstream, tenant, endpoint) = world(1).await;
    let much = json!({"subject": {"client": endpoint.client}, "per_minute": 60_000, "burst": 60_000, "concurrency": 0});
    tenant.post("/limits?wait=applied", much).await;
    let levels = [("tenant", None), ("endpoint", Some(&endpoint.id)), ("client", Some(&endpoint.client))];
    for (level, target) in levels.into_iter().chain(levels) {
        let acknowledged = Arc::new(AtomicBool::new(false));
        let calling = (0..6).map(|_| {
            let (caller, acknowledged) = (endpoint.caller(), Arc::clone(&acknowledged));
            tokio::spawn(async move {
                loop {
                    let after = acknowledged.load(Ordering::SeqCst);
                    let answer = caller.call("echo").await;
                    if after {
                        assert_eq!(answer.code(), "killed", "{answer:?}");
                        return;
                    }
                }
            })
        });
        let calling: Vec<_> = calling.collect();
        let order = json!({"level": level, "target": target, "reason": "an exercise"});
        let kill = tenant.post("/kills?wait=applied", order).await;
        assert_eq!(kill["acknowledgement"]["unreachable"], 0, "{kill}");
        acknowledged.store(true, Ordering::SeqCst);
        for call in calling {
            call.await.unwrap();
        }
        let lift = json!({"reason": "over", "epoch": kill["epoch"]});
        tenant.post(&format!("/kills/{}/lift?wait=applied", text(&kill, "id")), lift).await;
        assert_ne!(endpoint.caller().call("echo").await.code(), "killed", "{level}, lifted");
    }
}
