//! A scriptable MCP server: speaks both eras, records what reached it, and misbehaves on request.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, StatusCode, header},
    response::Response,
};
use parking_lot::Mutex;
use serde_json::{Value, json};

/// What the server does with the next `tools/call`.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// Answers with a JSON body.
    Answer(Value),
    /// Answers as an event stream: these messages, then the result.
    Stream(Vec<Value>, Value),
    /// Sends these bytes with this status and content type.
    Raw {
        /// HTTP status.
        status: u16,
        /// `Content-Type`.
        content_type: &'static str,
        /// Further headers.
        headers: Vec<(&'static str, String)>,
        /// Body.
        body: Bytes,
    },
    /// Waits, then answers.
    After(Duration, Value),
    /// An event stream that sends one message and never ends.
    Hang(Value),
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// HTTP method.
    pub http: Method,
    /// All headers.
    pub headers: HeaderMap,
    /// The body's bytes.
    pub body: Bytes,
}

impl Received {
    /// The JSON-RPC method, if the body has one.
    #[must_use]
    pub fn method(&self) -> String {
        self.json()["method"].as_str().unwrap_or_default().to_owned()
    }
    /// The body, parsed.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

#[derive(Default)]
struct Shared {
    tools: Vec<Value>,
    script: VecDeque<Behaviour>,
    received: Vec<Received>,
    /// Instead of `received`: of each tool call its argument `text`.
    ledger: Option<Vec<String>>,
    sessions: u64,
}

/// The running server; it ends with the test's runtime.
#[derive(Clone)]
pub struct Upstream {
    addr: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").field("addr", &self.addr).finish_non_exhaustive()
    }
}

/// A tool definition with one string argument.
#[must_use]
pub fn tool(name: &str, description: &str) -> Value {
    json!({
        "name": name, "description": description,
        "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}}
    })
}

impl Upstream {
    /// Starts a server with these tools on a free loopback port.
    pub async fn start(tools: Vec<Value>) -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Mutex::new(Shared { tools, ..Shared::default() }));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { addr, shared }
    }

    /// The same, and of what arrives it keeps nothing but the argument `text` of each tool call: for many calls.
    pub async fn with_ledger(tools: Vec<Value>) -> Self {
        let upstream = Self::start(tools).await;
        upstream.shared.lock().ledger = Some(Vec::new());
        upstream
    }

    /// The argument `text` of each tool call, in order of arrival.
    #[must_use]
    pub fn ledger(&self) -> Vec<String> {
        self.shared.lock().ledger.clone().unwrap_or_default()
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
    /// Its MCP URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.addr)
    }
    /// Replaces the tools it lists.
    pub fn set_tools(&self, tools: Vec<Value>) {
        self.shared.lock().tools = tools;
    }
    /// Says what the next call does; calls without a script answer `ok: <tool>`.
    pub fn next(&self, behaviour: Behaviour) {
        self.shared.lock().script.push_back(behaviour);
    }
    /// Everything that arrived so far.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.shared.lock().received.clone()
    }
    /// The tool calls that arrived so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Received> {
        self.received().into_iter().filter(|received| received.method() == "tools/call").collect()
    }
}

async fn answer(
    State(shared): State<Arc<Mutex<Shared>>>,
    http: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    {
        let mut shared = shared.lock();
        if shared.ledger.is_none() {
            shared.received.push(Received { http: http.clone(), headers, body: body.clone() });
        }
    }
    if http != Method::POST {
        let status =
            if http == Method::DELETE { StatusCode::NO_CONTENT } else { StatusCode::METHOD_NOT_ALLOWED };
        return plain(status);
    }
    let Ok(message) = serde_json::from_slice::<Value>(&body) else { return plain(StatusCode::BAD_REQUEST) };
    let Some(id) = message.get("id").cloned() else { return plain(StatusCode::ACCEPTED) };
    let modern = message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"].is_string();
    match message["method"].as_str().unwrap_or_default() {
        "initialize" => initialize(&shared, &id, &message),
        "server/discover" => json_answer(&complete(
            &id,
            json!({
                "supportedVersions": ["2026-07-28", "2025-11-25", "2025-06-18"],
                "capabilities": {"tools": {}}, "ttlMs": 0, "cacheScope": "public",
                "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "scripted", "version": "1"}}
            }),
            true,
        )),
        "tools/list" => {
            let tools = shared.lock().tools.clone();
            let mut result = json!({"tools": tools});
            if modern {
                result["ttlMs"] = json!(1000);
                result["cacheScope"] = json!("public");
            }
            json_answer(&complete(&id, result, modern))
        }
        "tools/call" => {
            let name = message["params"]["name"].as_str().unwrap_or_default();
            let next = {
                let mut shared = shared.lock();
                let text = message["params"]["arguments"]["text"].as_str().unwrap_or_default();
                shared.ledger.iter_mut().for_each(|ledger| ledger.push(text.to_owned()));
                shared.script.pop_front()
            };
            let ok = json!({"content": [{"type": "text", "text": format!("ok: {name}")}]});
            act(next.unwrap_or(Behaviour::Answer(ok)), &id, modern).await
        }
        "ping" => json_answer(&complete(&id, json!({}), modern)),
        _ => json_answer(&json!({
            "jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "Method not found"}
        })),
    }
}

fn initialize(shared: &Mutex<Shared>, id: &Value, message: &Value) -> Response {
    let session = {
        let mut shared = shared.lock();
        shared.sessions += 1;
        format!("upstream-session-{}", shared.sessions)
    };
    let asked = message["params"]["protocolVersion"].as_str().unwrap_or("2025-11-25");
    let result = json!({
        "protocolVersion": asked, "capabilities": {"tools": {"listChanged": true}},
        "serverInfo": {"name": "scripted", "version": "1"}
    });
    let mut response = json_answer(&complete(id, result, false));
    response.headers_mut().insert("mcp-session-id", session.parse().unwrap());
    response
}

async fn act(behaviour: Behaviour, id: &Value, modern: bool) -> Response {
    match behaviour {
        Behaviour::Answer(result) => json_answer(&complete(id, result, modern)),
        Behaviour::After(wait, result) => {
            tokio::time::sleep(wait).await;
            json_answer(&complete(id, result, modern))
        }
        Behaviour::Stream(messages, result) => {
            let mut text = String::new();
            for message in messages.into_iter().chain([complete(id, result, modern)]) {
                text.push_str(&format!("event: message\ndata: {message}\n\n"));
            }
            with_type(StatusCode::OK, "text/event-stream", Body::from(text))
        }
        Behaviour::Raw { status, content_type, headers, body } => {
            let mut response =
                with_type(StatusCode::from_u16(status).unwrap(), content_type, Body::from(body));
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
        Behaviour::Hang(first) => {
            let head = Bytes::from(format!("event: message\ndata: {first}\n\n"));
            let stream = futures_util::StreamExt::chain(
                futures_util::stream::iter([Ok::<_, std::convert::Infallible>(head)]),
                futures_util::stream::pending(),
            );
            with_type(StatusCode::OK, "text/event-stream", Body::from_stream(stream))
        }
    }
}

fn complete(id: &Value, mut result: Value, modern: bool) -> Value {
    if modern {
        result["resultType"] = json!("complete");
    }
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

fn json_answer(value: &Value) -> Response {
    with_type(StatusCode::OK, "application/json", Body::from(value.to_string()))
}

fn plain(status: StatusCode) -> Response {
    with_type(status, "text/plain", Body::empty())
}

fn with_type(status: StatusCode, content_type: &str, body: Body) -> Response {
    Response::builder().status(status).header(header::CONTENT_TYPE, content_type).body(body).unwrap()
}
