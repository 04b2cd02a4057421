//! What was decided on is what the server reads: no spelling, encoding or header lets one request be two.

use harness::{Gateway, Upstream, tool};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn no_other_reading_of_a_permitted_call_reaches_the_server() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("read", "Reads"), tool("erase", "Erases")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["read"]).await;
    let (caller, _) = endpoint.caller().initialize("2025-11-25").await;

    // In UTF-7, which some servers believe, `+ACI-` is a quotation mark: the text holds a second `name`.
    let hidden = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"text":"+ACIAfQAs-+ACI-name+ACI-:+ACI-erase+ACI-,+ACI-x+ACI-:{+ACI-y+ACI-:+ACI-"}}}"#;
    let other = caller.clone().with_header("content-type", "application/json; charset=utf-7");
    let answer = other.send(Method::POST, hidden).await;
    assert_eq!((answer.status, answer.code().as_str()), (415, "content_type_refused"));

    // Readers that ignore case take the last.
    let twice = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","Name":"erase"}}"#;
    assert_eq!(caller.send(Method::POST, twice).await.code(), "invalid_params");
    assert!(upstream.calls().is_empty(), "{:?}", upstream.calls());

    // A server, or what routes to it, may believe a header that nobody compared with the body.
    let headed = caller.clone().with_header("mcp-method", "tools/list").with_header("mcp-name", "erase");
    let params = json!({"name": "read", "arguments": {"text": "hello"}});
    assert_eq!(headed.legacy("tools/call", params).await.tool_text(), "ok: read");
    let calls = upstream.calls();
    assert_eq!(calls.len(), 1);
    for absent in ["mcp-method", "mcp-name"] {
        assert!(!calls[0].headers.contains_key(absent), "{absent}");
    }
    assert_eq!(calls[0].headers["content-type"], "application/json");
}
