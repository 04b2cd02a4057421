//! Legacy sessions: the upstream's id never leaves, and ours works for its own client alone; so with what the server
//! asks in them.

use harness::{Behaviour, Caller, Gateway, Upstream, text, tool};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_session_is_sealed_and_bound_to_its_client() {
    let gateway = Gateway::with_proxies(2).await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    for revision in ["2025-06-18", "2025-11-25"] {
        let (session, answer) = endpoint.caller().initialize(revision).await;
        assert_eq!(answer.json()["result"]["protocolVersion"], revision);
        let id = answer.header("mcp-session-id").to_owned();
        assert!(!id.is_empty() && !id.contains("upstream-session"), "the upstream's id is sealed: {id}");

        let call = json!({"name": "echo", "arguments": {}});
        let answer = session.legacy("tools/call", call.clone()).await;
        assert_eq!(answer.tool_text(), "ok: echo", "{revision}: {answer:?}");
        let seen = upstream.calls().pop().unwrap();
        assert!(seen.headers["mcp-session-id"].to_str().unwrap().starts_with("upstream-session-"));
        // Any proxy serves it: the state is in the seal.
        let second = session.clone().at(&format!("{}{}", gateway.url(1), endpoint.path));
        assert_eq!(second.legacy("tools/call", call.clone()).await.tool_text(), "ok: echo");

        // Another client of the same endpoint, with a good key of its own.
        let other = text(&tenant.post("/clients", json!({"name": format!("thief {revision}")})).await, "id");
        let relation = format!("{}/clients/{other}/endpoints/{}?wait=applied", tenant.base, endpoint.id);
        tenant.admin.put(&relation, json!({})).await.unwrap();
        let key = text(
            &tenant.post(&format!("/clients/{other}/keys?wait=applied"), json!({"name": "k"})).await,
            "key",
        );
        let thief = Caller::new(&endpoint.url, &key)
            .with_header("mcp-protocol-version", revision)
            .with_header("mcp-session-id", &id);
        for method in [Method::POST, Method::GET, Method::DELETE] {
            let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}).to_string();
            let body = if method == Method::POST { body } else { String::new() };
            let answer = thief.send(method.clone(), body).await;
            assert_eq!((answer.status, answer.code().as_str()), (404, "session_not_found"), "{method}");
        }
        // Another letter than the one there, and not the last: some of its bits may mean nothing.
        let mut damaged = id.clone();
        let other = if damaged.as_bytes()[9] == b'A' { "B" } else { "A" };
        damaged.replace_range(9..10, other);
        let damaged = session.with_header("mcp-session-id", &damaged);
        assert_eq!(damaged.legacy("tools/list", json!({})).await.status, 404);
    }
}

#[tokio::test]
async fn a_question_of_the_server_is_answered_by_whom_it_was_put_to() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let (session, _) = endpoint.caller().initialize("2025-11-25").await;

    let question =
        json!({"jsonrpc": "2.0", "id": 7, "method": "elicitation/create", "params": {"message": "Sure?"}});
    let done = json!({"content": [{"type": "text", "text": "done"}]});
    upstream.next(Behaviour::Stream(vec![question], done));
    let answer = session.legacy("tools/call", json!({"name": "echo", "arguments": {}})).await;
    let stream = String::from_utf8(answer.body.to_vec()).unwrap();
    let events = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    let messages: Vec<Value> = events.map(|data| serde_json::from_str(data).unwrap()).collect();
    assert_eq!(messages[0]["params"], json!({"message": "Sure?"}));
    assert_eq!(messages[1]["result"]["content"][0]["text"], "done");

    let answers = || {
        upstream.received().into_iter().filter(|sent| sent.json().get("result").is_some()).collect::<Vec<_>>()
    };
    let reply = |id: &Value| json!({"jsonrpc": "2.0", "id": id, "result": {"action": "accept"}}).to_string();
    // The server's own id means nothing: it was never given to anyone.
    let refused = session.send(Method::POST, reply(&json!(7))).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "state_invalid"));
    assert!(answers().is_empty());
    let accepted = session.send(Method::POST, reply(&messages[0]["id"])).await;
    assert_eq!(accepted.status, 202);
    assert_eq!(answers()[0].json(), json!({"jsonrpc": "2.0", "id": 7, "result": {"action": "accept"}}));
}

#[tokio::test]
async fn a_client_of_both_eras_begins_a_session_of_the_older() {
    let gateway = Gateway::start().await;
    // This server answers `initialize` with whatever revision it is asked for.
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    let (_, answer) = endpoint.caller().initialize("2026-07-28").await;
    assert_eq!(answer.json()["result"]["protocolVersion"], "2025-11-25", "{answer:?}");
    for older in ["2025-03-26", "2024-11-05"] {
        let (_, answer) = endpoint.caller().initialize(older).await;
        assert_eq!(answer.code(), "protocol_version_unsupported", "{answer:?}");
    }
}
