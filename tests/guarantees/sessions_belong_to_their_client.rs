//! Legacy sessions: the upstream's id never leaves, and ours works for its own client alone.

use harness::{Caller, Gateway, Upstream, text, tool};
use reqwest::Method;
use serde_json::json;

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
        let damaged = session.with_header("mcp-session-id", &format!("{}A", &id[..id.len() - 1]));
        assert_eq!(damaged.legacy("tools/list", json!({})).await.status, 404);
    }
}
