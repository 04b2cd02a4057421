//! R75: both planes export their spans over OTLP: a call by the semantic conventions for MCP, a request to the admin API by
//! those for HTTP. No secret is in any of them.

use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc, time::Duration};

use harness::{Site, Upstream, site::Plan, tool};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use parking_lot::Mutex;
use secrecy::ExposeSecret as _;
use tonic::{Request, Response, Status};

/// What arrived, by the service that sent it.
type Spans = Arc<Mutex<Vec<(String, Span)>>>;

struct Collector(Spans);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.map(|resource| resource.attributes).unwrap_or_default();
            let service = text(&attributes, "service.name");
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.0.lock().extend(spans.map(|span| (service.clone(), span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// Starts a collector; returns its URL and what it gathers.
async fn collector() -> (String, Spans) {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let spans = Spans::default();
    let service = TraceServiceServer::new(Collector(Arc::clone(&spans)));
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    (url, spans)
}

/// An attribute as text; empty where it is missing.
fn text(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|found| found.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        _ => String::new(),
    }
}

/// The span of a service once it has arrived.
async fn arrived(spans: &Spans, service: &str, what: &str, is_it: impl Fn(&Span) -> bool) -> Span {
    for _ in 0..600 {
        let found = spans.lock().iter().find(|(of, span)| of == service && is_it(span)).cloned();
        if let Some((_, span)) = found {
            return span;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let names: BTreeSet<_> = spans.lock().iter().map(|(of, span)| format!("{of}: {}", span.name)).collect();
    panic!("{what} did not arrive; what did: {names:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_and_a_request_arrive_as_spans_without_a_secret() {
    let (url, spans) = collector().await;
    // As fine as it gets: a secret that some span or event of ours holds would come too.
    let log =
        "info,portcullis_control_plane=trace,portcullis_data_plane=trace,portcullis_wire=trace".to_owned();
    let options = vec![("--otlp-endpoint", url), ("--log", log)];
    let mut site = Site::start(Plan { options, ..Plan::default() }).await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = site.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    let credential = serde_json::json!({"header": "X-Api-Key", "value": "credential-of-the-upstream"});
    tenant.post(&format!("/upstreams/{}/credentials", endpoint.upstream), credential).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let caller = endpoint.caller().with_header("traceparent", &format!("00-{trace}-b7ad6b7169203331-01"));
    assert_eq!(caller.call("echo").await.tool_text(), "ok: echo");
    assert_eq!(caller.call("other").await.code(), "tool_not_granted");

    let call = arrived(&spans, "portcullis-proxy", "the call", |span| span.name == "tools/call echo").await;
    assert_eq!(
        (hex::encode(&call.trace_id).as_str(), call.kind),
        (trace, 2),
        "the caller's trace, as server"
    );
    for (name, expected) in [
        ("mcp.method.name", "tools/call"),
        ("mcp.protocol.version", "2026-07-28"),
        ("gen_ai.tool.name", "echo"),
        ("gen_ai.operation.name", "execute_tool"),
        ("jsonrpc.request.id", "1"),
        ("network.transport", "tcp"),
        ("network.protocol.name", "http"),
        ("client.address", "127.0.0.1"),
        ("portcullis.tenant.id", tenant.id.as_str()),
        ("portcullis.endpoint.id", endpoint.id.as_str()),
        ("portcullis.client.id", endpoint.client.as_str()),
    ] {
        assert_eq!(text(&call.attributes, name), expected, "{name}");
    }
    let is_refused = |span: &Span| text(&span.attributes, "error.type") == "tool_not_granted";
    arrived(&spans, "portcullis-proxy", "the refusal", is_refused).await;
    let is_write = |span: &Span| text(&span.attributes, "http.route") == "/v1/tenants/{tenant}/grants";
    let write = arrived(&spans, "portcullis-control", "the request", is_write).await;
    assert_eq!(text(&write.attributes, "http.request.method"), "POST");
    assert_eq!(text(&write.attributes, "http.response.status_code"), "201");

    // What still waits is sent at the end.
    site.take_proxy(0).terminate();
    site.take_control(0).terminate();
    let operator = std::fs::read_to_string(site.operator_token_file()).unwrap();
    let master = std::fs::read(site.operator_token_file().with_file_name("master")).unwrap();
    let everything = format!("{:?}", spans.lock());
    for (what, secret) in [
        ("the API key", endpoint.key.expose_secret()),
        ("the admin token", tenant.admin_token.expose_secret()),
        ("the operator token", operator.trim()),
        ("the upstream's credential", "credential-of-the-upstream"),
        ("the master key", String::from_utf8_lossy(&master).trim()),
        ("the database's password", password(&site.database_url())),
    ] {
        assert!(secret.len() > 10 && !everything.contains(secret), "{what} is in a span");
        for log in ["control-0", "proxy-0"] {
            assert!(!site.log(log).contains(secret), "{what} is in the log of {log}");
        }
    }
}

fn password(url: &str) -> &str {
    url.split_once("://").and_then(|(_, rest)| rest.split_once('@')?.0.split_once(':')).unwrap().1
}
