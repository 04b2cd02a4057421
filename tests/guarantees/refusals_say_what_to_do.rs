//! Refusals: the real status before the body is known, a JSON-RPC error with a stable code and a remedy after.

use harness::{Gateway, Upstream, tool};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn a_parsed_call_is_refused_as_json_rpc_with_code_and_remedy() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    let answer = endpoint.caller().call("echo").await;
    assert_eq!((answer.status, answer.header("portcullis-refusal")), (200, "tool_not_granted"));
    let error = &answer.json()["error"];
    assert_eq!(answer.json()["id"], 1);
    assert!(error["code"].as_i64().unwrap() > 0, "outside the range that JSON-RPC reserves");
    assert_eq!(error["data"]["code"], "tool_not_granted");
    assert!(!error["data"]["remedy"].as_str().unwrap().is_empty());
    let page = reqwest::get(format!("{}/errors/tool_not_granted", gateway.control_url)).await.unwrap();
    assert_eq!(page.status(), 200, "the code has a page");
}

#[tokio::test]
async fn what_cannot_be_a_call_is_refused_with_its_status() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let caller = endpoint.caller();
    let (modern, call) = caller.modern("tools/call", json!({"name": "echo", "arguments": {}}));
    let send = async |caller: &harness::Caller, body: String| {
        let answer = caller.send(Method::POST, body).await;
        (answer.status, answer.code())
    };
    let duplicated = call.to_string().replacen("\"name\"", "\"name\":\"other\",\"name\"", 1);
    assert_eq!(send(&modern, duplicated).await, (400, "parse_error".into()), "two readings of one body");
    assert_eq!(send(&modern, "{".into()).await, (400, "parse_error".into()));
    assert_eq!(send(&modern, format!("[{call}]")).await, (400, "batch_unsupported".into()));
    let other = modern.clone().with_header("mcp-name", "other");
    assert_eq!(send(&other, call.to_string()).await, (400, "header_mismatch".into()));
    let old = modern.clone().with_header("mcp-protocol-version", "2024-11-05");
    assert_eq!(send(&old, call.to_string()).await.0, 400);
    let packed = modern.clone().with_header("content-encoding", "gzip");
    assert_eq!(send(&packed, call.to_string()).await, (415, "content_encoding_refused".into()));
    let text = modern.clone().with_header("content-type", "text/plain");
    assert_eq!(send(&text, call.to_string()).await, (415, "content_type_refused".into()));
    let large = call.to_string().replace("{}", &format!("{{\"text\":\"{}\"}}", "x".repeat(1_048_577)));
    assert_eq!(send(&modern, large).await, (413, "request_too_large".into()));
    assert_eq!(modern.send(Method::GET, "").await.status, 405);
    assert_eq!(caller.send(Method::PUT, call.to_string()).await.status, 405);
    let unknown = caller.at(&endpoint.url.replace("/tools/", "/other/"));
    assert_eq!(send(&unknown, call.to_string()).await, (404, "endpoint_not_found".into()));
    assert!(upstream.calls().is_empty());
}

#[tokio::test]
async fn methods_and_parameters_are_closed() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    let caller = endpoint.caller();
    let before = upstream.received().len();
    for method in ["tools/destroy", "initialize", "ping", "resources/subscribe"] {
        let answer = caller.request(method, json!({})).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "method_unknown"), "{method}: {answer:?}");
        assert_eq!(answer.json()["error"]["code"], -32601);
    }
    // The modern revision requires what every request says of its client.
    let (modern, mut body) = caller.modern("tools/list", json!({}));
    body["params"]["_meta"].as_object_mut().unwrap().remove("io.modelcontextprotocol/clientCapabilities");
    let answer = modern.send(Method::POST, body.to_string()).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_params"), "{answer:?}");
    assert_eq!(answer.json()["error"]["code"], -32602);
    assert_eq!(upstream.received().len(), before, "nothing of it reached the upstream");
}

#[tokio::test]
async fn strange_hosts_origins_and_addresses_are_refused() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let caller = endpoint.caller();
    let rebound = caller.clone().with_header("host", "evil.example");
    let refused = rebound.call("echo").await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (404, "endpoint_not_found"),
        "an unknown host has no endpoints"
    );
    let page = caller.clone().with_header("origin", "https://evil.example");
    let refused = page.call("echo").await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "origin_refused"));

    let path = format!("{}/endpoints/{}?wait=applied", tenant.base, endpoint.id);
    tenant.admin.patch(&path, json!({"origins": ["https://app.example"]})).await.unwrap();
    let app = caller.clone().with_header("origin", "https://app.example");
    let answer = app.call("echo").await;
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.example");
    assert_eq!(page.call("echo").await.status, 403);
    tenant.admin.patch(&path, json!({"allow": ["10.0.0.0/8"]})).await.unwrap();
    assert_eq!(caller.call("echo").await.code(), "address_refused");
}
