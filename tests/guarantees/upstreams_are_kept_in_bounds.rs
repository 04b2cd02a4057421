//! R31, R36, R43: where an upstream may be, how long it may take, how much it may send.

use harness::{Behaviour, Gateway, Upstream, text, tool};
use portcullis_cli::rest::RestError;
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn private_addresses_are_refused_unless_an_operator_allowed_them() {
    let gateway = Gateway::start().await;
    let tenant = gateway.tenant("acme").await;
    for url in [
        "http://127.0.0.1:9/mcp",
        "http://10.0.0.1/mcp",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/mcp",
        "http://[::ffff:127.0.0.1]/mcp",
        "http://[64:ff9b::7f00:1]/mcp",
        "http://2130706433/mcp",
        "http://0x7f.1/mcp",
        "file:///etc/passwd",
        "http://user:secret@example.com/mcp",
    ] {
        let new = json!({"slug": "bad", "name": "bad", "url": url});
        match tenant.admin.post(&format!("{}/upstreams", tenant.base), new).await {
            Err(RestError::Refused { status, .. }) => assert_eq!(status.as_u16(), 422, "{url}"),
            other => panic!("{url}: {other:?}"),
        }
    }
    // A name is judged by what it resolves to, at the connection.
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    assert_eq!(endpoint.caller().call("echo").await.tool_text(), "ok: echo");
    gateway.operator.patch(&format!("{}?wait=applied", tenant.base), json!({"egress": []})).await.unwrap();
    assert_eq!(endpoint.caller().call("echo").await.code(), "upstream_address_refused");
}

#[tokio::test]
async fn slow_large_and_broken_answers_become_errors() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let path = format!("{}/upstreams/{}?wait=applied", tenant.base, endpoint.upstream);
    tenant.admin.patch(&path, json!({"first_byte_timeout_ms": 500})).await.unwrap();
    let caller = endpoint.caller();

    let ok = json!({"content": [{"type": "text", "text": "late"}]});
    upstream.next(Behaviour::After(Duration::from_secs(3), ok));
    assert_eq!(caller.call("echo").await.code(), "upstream_timeout");
    let raw = |content_type, body: String| Behaviour::Raw {
        status: 200,
        content_type,
        headers: Vec::new(),
        body: body.into(),
    };
    let large = json!({"jsonrpc": "2.0", "id": 1, "result": {"content": [], "x": "y".repeat(1_100_000)}});
    upstream.next(raw("application/json", large.to_string()));
    assert_eq!(caller.call("echo").await.code(), "response_too_large");
    upstream.next(raw("text/event-stream", format!("data: {large}\n\n")));
    assert_eq!(caller.call("echo").await.code(), "response_too_large", "in a stream too");
    upstream.next(raw("application/json", "{\"jsonrpc\":\"2.0\",".into()));
    assert_eq!(caller.call("echo").await.code(), "upstream_protocol");
    upstream.next(raw("text/html", "<html>".into()));
    assert_eq!(caller.call("echo").await.code(), "upstream_protocol");
    upstream.next(Behaviour::Raw {
        status: 302,
        content_type: "text/plain",
        headers: vec![("location", "http://169.254.169.254/".into())],
        body: "".into(),
    });
    assert_eq!(caller.call("echo").await.code(), "upstream_protocol", "redirects are not followed");
    assert_eq!(caller.call("echo").await.tool_text(), "ok: echo");
}

#[tokio::test]
async fn a_tool_may_have_time_outs_of_its_own() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back"), tool("slow", "Takes its time")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo", "slow"]).await;
    let tools = tenant.admin.get(&format!("{}/tools", tenant.base)).await.unwrap();
    let echo = tools["items"].as_array().unwrap().iter().find(|tool| tool["name"] == "echo").unwrap();
    let unset = json!({"connect_timeout_ms": null, "first_byte_timeout_ms": null, "idle_timeout_ms": null, "total_timeout_ms": null});
    assert_eq!(echo["timeouts"], unset);
    let path = format!("{}/tools/{}?wait=applied", tenant.base, text(echo, "id"));
    let own = json!({"timeouts": {"first_byte_timeout_ms": 300}});
    assert_eq!(tenant.admin.patch(&path, own).await.unwrap()["timeouts"]["first_byte_timeout_ms"], 300);

    let late =
        || Behaviour::After(Duration::from_secs(1), json!({"content": [{"type": "text", "text": "late"}]}));
    let caller = endpoint.caller();
    upstream.next(late());
    let refused = caller.call("echo").await;
    assert_eq!(refused.code(), "upstream_timeout");
    assert_eq!(refused.json()["error"]["data"]["waited_for"], "first_byte");
    upstream.next(late());
    assert_eq!(caller.call("slow").await.tool_text(), "late", "the other tool has its server's");
    let back = json!({"timeouts": {"first_byte_timeout_ms": null}});
    assert_eq!(tenant.admin.patch(&path, back).await.unwrap()["timeouts"], unset);
    upstream.next(late());
    assert_eq!(caller.call("echo").await.tool_text(), "late");
    for wrong in
        [json!({"total_timeout_ms": 0}), json!({"connect_timeout_ms": 60_001}), json!({"read_ms": 1})]
    {
        assert!(tenant.admin.patch(&path, json!({"timeouts": wrong})).await.is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn an_event_stream_is_relayed_message_by_message() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}});
    let (caller, body) = endpoint.caller().modern("tools/call", json!({"name": "echo", "arguments": {}}));
    upstream.next(Behaviour::Hang(progress.clone()));
    let mut response = caller.open(body).await;
    let first = response.chunk().await.unwrap().unwrap();
    assert!(
        String::from_utf8_lossy(&first).contains("notifications/progress"),
        "before the stream has ended"
    );
    drop(response);

    let done = json!({"content": [{"type": "text", "text": "done"}]});
    upstream.next(Behaviour::Stream(vec![progress.clone(), progress], done));
    let answer = endpoint.caller().call("echo").await;
    assert!(answer.header("content-type").starts_with("text/event-stream"));
    assert_eq!(String::from_utf8_lossy(&answer.body).matches("notifications/progress").count(), 2);
    assert_eq!(text(&answer.json()["result"]["content"][0], "text"), "done");
}
