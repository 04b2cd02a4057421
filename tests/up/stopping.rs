//! Stopping loses nothing, and the next start finds everything.

use std::time::Duration;

use harness::{Behaviour, Caller, Upstream, eventually, text, tool};
use serde_json::{Value, json};

use crate::run::{Place, UpJson};

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_and_sigterm_stop_everything_and_the_same_key_works_again() {
    let place = Place::new();
    let mut keys = Vec::new();
    for signal in ["INT", "TERM", "HUP"] {
        let running = place.start(&[]);
        keys.push((place.result().text("api_key"), place.result().0["proxies"][0]["id"].clone()));
        let result = place.result();
        assert_eq!(result.sum_at(&result.text("endpoint_url"), 1, 1).await, "2");
        let processes = place.processes();
        let names: Vec<_> = processes.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["postgres", "control", "demo-server", "proxy-0"]);
        running.signal(signal);
        let ended = running.ended();
        assert!(ended.success && ended.text.ends_with("Stopping …\nStopped.\n"), "{signal}: {}", ended.text);
        for (name, process) in processes {
            assert!(!process.is_alive(), "{name} still runs after {signal}");
        }
        assert!(!place.up_json().exists());
    }
    assert!(
        keys.windows(2).all(|pair| pair[0] == pair[1]),
        "key and proxy are those of the first run: {keys:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_runs_is_answered_and_recorded_while_everything_stops() {
    let place = Place::new();
    let running = place.start(&["--no-demo"]);
    let upstream = Upstream::start(vec![tool("slow", "Waits")]).await;
    let done = json!({"content": [{"type": "text", "text": "done"}]});
    upstream.next(Behaviour::After(Duration::from_secs(2), done));
    let (caller, tenant) = tenant_with(&place.result(), &upstream).await;
    let call = tokio::spawn(async move { caller.call("slow").await });
    eventually("the call is on its way", async || upstream.calls().len() == 1).await;
    running.signal("INT");
    let answer = call.await.unwrap();
    assert_eq!((answer.status, answer.tool_text().as_str()), (200, "done"), "{answer:?}");
    assert!(running.ended().success);

    let _running = place.start(&["--no-demo"]);
    let outcomes = format!("/v1/tenants/{tenant}/audit-records?phase=outcome&method=tools/call");
    let operator = place.result().operator();
    eventually("the call's outcome is in the audit log", async || {
        operator.get(&outcomes).await.unwrap()["items"].as_array().unwrap().len() == 1
    })
    .await;
}

#[test]
fn a_second_start_is_quick() {
    let place = Place::new();
    assert!(place.start(&[]).stop().success);
    let before = boot_seconds();
    let running = place.start(&[]);
    let took = boot_seconds() - before;
    assert!(took <= 10, "{took} s");
    assert!(running.stop().success);
}

/// Whole seconds since the machine started.
fn boot_seconds() -> u64 {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    uptime.split('.').next().unwrap().parse().unwrap()
}

/// A tenant with one endpoint before `upstream`, and a caller that is granted its tools.
async fn tenant_with(result: &UpJson, upstream: &Upstream) -> (Caller, String) {
    let operator = result.operator();
    let egress = json!([{"network": "127.0.0.1/32", "port": upstream.addr().port()}]);
    let tenant = operator
        .post("/v1/tenants", json!({"slug": "acme", "name": "Acme", "egress": egress}))
        .await
        .unwrap();
    let tenant = text(&tenant, "id");
    let base = format!("/v1/tenants/{tenant}");
    let post = async |path: &str, body: Value| operator.post(&format!("{base}{path}"), body).await.unwrap();
    let of = text(
        &post("/upstreams", json!({"slug": "server", "name": "Server", "url": upstream.url()})).await,
        "id",
    );
    let endpoint = text(&post("/endpoints", json!({"slug": "tools", "name": "Tools"})).await, "id");
    post(&format!("/endpoints/{endpoint}/upstreams"), json!({"upstream_id": of, "prefix": ""})).await;
    let client = text(&post("/clients", json!({"name": "agent"})).await, "id");
    operator.put(&format!("{base}/clients/{client}/endpoints/{endpoint}"), json!({})).await.unwrap();
    let key = text(&post(&format!("/clients/{client}/keys"), json!({"name": "first"})).await, "key");
    post(&format!("/upstreams/{of}/discover"), json!({})).await;
    let tools = format!("{base}/tools?upstream_id={of}");
    eventually("the tool is reported", async || operator.get(&tools).await.unwrap()["items"][0].is_object())
        .await;
    let found = text(&operator.get(&tools).await.unwrap()["items"][0], "id");
    post(&format!("/tools/{found}/approve"), json!({"class": "read"})).await;
    let actions = json!([{"action": "call_tool", "upstream": of, "tools": {"names": ["slow"]}}]);
    post("/grants?wait=applied", json!({"subject": {"client": client}, "actions": actions})).await;
    (Caller::new(&format!("{}/acme/tools/mcp", result.text("gateway_url")), &key), tenant)
}
