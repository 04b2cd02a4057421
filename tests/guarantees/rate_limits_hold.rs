//! R41: no more calls pass than the limit says, and a refusal says when to come back.

use futures_util::future::join_all;
use harness::{Behaviour, Caller, Gateway, Machine, Person, Upstream, forge, text, tool};
use serde_json::{Value, json};
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

#[tokio::test]
async fn a_key_and_an_endpoint_have_limits_of_their_own_and_say_which_was_met() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    let another = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let other = tenant.endpoint("others", &another).await;
    tenant.grant(&endpoint, &["echo"]).await;
    tenant.grant(&other, &["echo"]).await;
    let keys = format!("/clients/{}/keys", endpoint.client);
    let second = tenant.post(&keys, json!({"name": "second"})).await;
    let limit = |subject: Value, burst: u32| json!({"subject": subject, "per_minute": 1, "burst": burst, "concurrency": 0});
    tenant.post("/limits", limit(json!({"key": endpoint.key_id}), 1)).await;
    let whole = tenant.post("/limits?wait=applied", limit(json!({"endpoint": endpoint.id}), 3)).await;

    let met = async |caller: &Caller| {
        let answer = caller.call("echo").await;
        let met = answer.json()["error"]["data"]["limit"].as_str().unwrap_or_default().to_owned();
        (answer.code(), met)
    };
    let (passed, limited) = ((String::new(), String::new()), "rate_limited".to_owned());
    let first = endpoint.caller();
    assert_eq!(met(&first).await, passed);
    assert_eq!(met(&first).await, (limited.clone(), "key".to_owned()));
    // What the key's limit refused was not counted for the endpoint.
    let second = Caller::new(&endpoint.url, &text(&second, "key"));
    assert_eq!([met(&second).await, met(&second).await], [passed.clone(), passed.clone()]);
    assert_eq!(met(&second).await, (limited, "endpoint".to_owned()));
    assert_eq!(met(&other.caller()).await, passed, "another endpoint");

    // What was counted stays counted when the limit is changed.
    let path = format!("{}/limits/{}?wait=applied", tenant.base, text(&whole, "id"));
    tenant.admin.patch(&path, json!({"burst": 4})).await.unwrap();
    assert_eq!(met(&second).await.1, "endpoint");
    tenant.admin.delete(&format!("{}{keys}/{}?wait=applied", tenant.base, endpoint.key_id)).await.unwrap();
    let left = tenant.admin.get(&format!("{}/limits", tenant.base)).await.unwrap();
    assert_eq!(
        left["items"].as_array().unwrap().len(),
        2,
        "a revoked key's limit does nothing, and stays to be seen"
    );
}

#[tokio::test]
async fn members_have_limits_of_their_own_through_whatever_client() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    tenant.post("/signing-keys", json!({})).await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    let people = [
        Person::join(&gateway, &tenant, "ann@acme.example").await,
        Person::join(&gateway, &tenant, "bob@acme.example").await,
        Person::join(&gateway, &tenant, "cec@acme.example").await,
    ];
    let role = text(&tenant.post("/roles", json!({"name": "agents"})).await, "id");
    for person in &people {
        let path = format!("{}/members/{}/roles/{role}", tenant.base, person.member);
        tenant.admin.put(&path, json!({})).await.unwrap();
    }
    let actions =
        json!([{"action": "call_tool", "upstream": endpoint.upstream, "tools": {"names": ["echo"]}}]);
    tenant.post("/grants", json!({"subject": {"role": role}, "actions": actions})).await;
    let limit = |subject: Value, burst: u32| json!({"subject": subject, "per_minute": 1, "burst": burst, "concurrency": 0});
    tenant.post("/limits", limit(json!({"member": people[2].member}), 2)).await;
    tenant.post("/limits?wait=applied", limit(json!("every_member"), 1)).await;

    let machines = [
        Machine::new(&gateway, &tenant, "one", &[&endpoint.id]).await,
        Machine::new(&gateway, &tenant, "two", &[&endpoint.id]).await,
    ];
    let mut callers = Vec::new();
    for person in &people {
        for machine in &machines {
            let own = machine.token().await;
            let token = forge::altered(&gateway, &tenant, &own, json!({"sub": person.member})).await;
            callers.push(Caller::new(&endpoint.url, &token));
        }
    }
    let mut seen = Vec::new();
    for caller in callers.iter().chain([&callers[4]]) {
        let answer = caller.call("echo").await;
        seen.push(answer.json()["error"]["data"]["limit"].as_str().unwrap_or("passed").to_owned());
    }
    // Each once through whichever client; who has a limit of their own, twice.
    assert_eq!(seen, ["passed", "member", "passed", "member", "passed", "passed", "member"]);
    for unknown in [json!({"member": people[0].member.replace("mem_", "mem_0")}), json!({"key": "key_none"})]
    {
        assert!(tenant.admin.post(&format!("{}/limits", tenant.base), limit(unknown, 1)).await.is_err());
    }
}
