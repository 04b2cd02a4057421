//! R13, R14: a list shows exactly what the principal may call, as it was approved.

use harness::{Gateway, Upstream, tool};
use serde_json::json;

#[tokio::test]
async fn lists_are_filtered_by_the_same_decision_as_calls() {
    let gateway = Gateway::start().await;
    let names = ["alpha", "beta", "gamma"];
    let upstream = Upstream::start(names.iter().map(|name| tool(name, "A tool")).collect()).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    assert_eq!(endpoint.caller().tools().await, Vec::<String>::new(), "nothing is granted yet");
    tenant.grant(&endpoint, &["alpha", "gamma"]).await;

    let caller = endpoint.caller();
    let listed = caller.tools().await;
    assert_eq!(listed, ["alpha", "gamma"]);
    for name in names {
        let called = caller.call(name).await.code().is_empty();
        assert_eq!(called, listed.iter().any(|listed| listed == name), "{name}");
    }
    let list = caller.request("tools/list", json!({})).await.json();
    assert_eq!(list["result"]["cacheScope"], "private", "{list}");

    let (legacy, _) = caller.initialize("2025-11-25").await;
    let list = legacy.legacy("tools/list", json!({})).await.json();
    assert_eq!(list["result"]["tools"].as_array().unwrap().len(), 2, "{list}");
}

#[tokio::test]
async fn a_role_grants_classes_and_only_classified_tools() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("look", "Looks"), tool("change", "Changes")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    let tools =
        tenant.admin.get(&format!("{}/tools?upstream_id={}", tenant.base, endpoint.upstream)).await.unwrap();
    let change = tools["items"].as_array().unwrap().iter().find(|tool| tool["name"] == "change").unwrap();
    let path = format!("{}/tools/{}?wait=applied", tenant.base, change["id"].as_str().unwrap());
    tenant.admin.patch(&path, json!({"class": "write"})).await.unwrap();

    let role = harness::text(&tenant.post("/roles", json!({"name": "readers"})).await, "id");
    let action =
        json!({"action": "call_tool", "upstream": endpoint.upstream, "tools": {"classes": ["read"]}});
    tenant.post("/grants", json!({"subject": {"role": role}, "actions": [action]})).await;
    let assign = format!("{}/clients/{}/roles/{role}?wait=applied", tenant.base, endpoint.client);
    tenant.admin.put(&assign, json!({})).await.unwrap();
    let caller = endpoint.caller();
    assert_eq!(caller.tools().await, ["look"]);
    assert_eq!(caller.call("change").await.code(), "tool_not_granted");

    tenant.admin.patch(&path, json!({"class": "unclassified"})).await.unwrap();
    assert_eq!(caller.call("change").await.code(), "tool_not_granted");
    tenant.admin.delete(&assign).await.unwrap();
    assert_eq!(caller.tools().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_prefix_names_tools_apart_and_the_upstream_sees_its_own_name() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let attached =
        tenant.admin.get(&format!("{}/endpoints/{}/upstreams", tenant.base, endpoint.id)).await.unwrap();
    let attachment = harness::text(&attached["items"][0], "id");
    let path = format!("{}/endpoints/{}/upstreams/{attachment}", tenant.base, endpoint.id);
    tenant.admin.delete(&path).await.unwrap();
    let attach = json!({"upstream_id": endpoint.upstream, "prefix": "acme_"});
    tenant.post(&format!("/endpoints/{}/upstreams?wait=applied", endpoint.id), attach).await;

    let caller = endpoint.caller();
    assert_eq!(caller.tools().await, ["acme_echo"]);
    assert_eq!(caller.call("acme_echo").await.tool_text(), "ok: echo");
    let seen = upstream.calls().pop().unwrap();
    assert_eq!(seen.json()["params"]["name"], "echo");
    assert_eq!(seen.headers["mcp-name"], "echo");
    assert_eq!(caller.call("echo").await.code(), "tool_not_granted");
}
