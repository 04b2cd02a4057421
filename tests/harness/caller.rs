//! A caller that sees the wire: status, headers and body of every answer.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

/// Revision that [`Caller`] speaks unless told otherwise.
pub const MODERN: &str = "2026-07-28";

/// An MCP client without a library's opinions.
#[derive(Debug, Clone)]
pub struct Caller {
    http: reqwest::Client,
    url: String,
    headers: HeaderMap,
}

/// An answer as it came.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The body's bytes.
    pub body: bytes::Bytes,
}

impl Answer {
    /// The body as JSON; of an event stream, its last message.
    #[must_use]
    pub fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        let last =
            text.lines().filter_map(|line| line.strip_prefix("data:")).rfind(|data| !data.trim().is_empty());
        serde_json::from_str(last.unwrap_or(&text)).unwrap_or(Value::Null)
    }
    /// The stable code of a refusal, wherever it stands; empty for an answer that is none.
    #[must_use]
    pub fn code(&self) -> String {
        let json = self.json();
        let found = json["error"]["data"]["code"].as_str().or(json["code"].as_str());
        found.unwrap_or_default().to_owned()
    }
    /// The text of a tool's result.
    #[must_use]
    pub fn tool_text(&self) -> String {
        self.json()["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned()
    }
    /// A header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Caller {
    /// Calls `url` with `key` as bearer token.
    #[must_use]
    pub fn new(url: &str, key: &str) -> Self {
        Self::anonymous(url).with_header("authorization", &format!("Bearer {key}"))
    }

    /// Calls `url` without a credential.
    #[must_use]
    pub fn anonymous(url: &str) -> Self {
        crate::gateway::install_tls_provider();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { http, url: url.to_owned(), headers: HeaderMap::new() }
            .with_header("content-type", "application/json")
            .with_header("accept", "application/json, text/event-stream")
    }

    /// Where it calls.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same caller at another URL.
    #[must_use]
    pub fn at(mut self, url: &str) -> Self {
        url.clone_into(&mut self.url);
        self
    }

    /// The same caller, which connects so.
    #[must_use]
    pub fn over(mut self, http: reqwest::Client) -> Self {
        self.http = http;
        self
    }

    /// The same caller with a header set.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.headers.insert(name, HeaderValue::from_str(value).unwrap());
        self
    }

    /// The same caller without a header.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    /// Sends exactly these bytes.
    pub async fn send(&self, method: reqwest::Method, body: impl Into<reqwest::Body>) -> Answer {
        self.try_send(method, body).await.unwrap()
    }

    /// Sends exactly these bytes; an error is one of the connection.
    pub async fn try_send(
        &self,
        method: reqwest::Method,
        body: impl Into<reqwest::Body>,
    ) -> reqwest::Result<Answer> {
        let response =
            self.http.request(method, &self.url).headers(self.headers.clone()).body(body).send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, body: response.bytes().await? })
    }

    /// Calls a tool in the modern revision; an error is one of the connection, not a refusal.
    pub async fn try_call(&self, tool: &str) -> reqwest::Result<Answer> {
        let (caller, body) = self.modern("tools/call", json!({"name": tool, "arguments": {"text": "hello"}}));
        caller.try_send(reqwest::Method::POST, body.to_string()).await
    }

    /// The response of a request, for reading its stream as it comes.
    pub async fn open(&self, body: Value) -> reqwest::Response {
        self.http.post(&self.url).headers(self.headers.clone()).body(body.to_string()).send().await.unwrap()
    }

    /// A request of the modern revision, with the headers it needs.
    pub async fn request(&self, method: &str, params: Value) -> Answer {
        let (caller, body) = self.modern(method, params);
        caller.send(reqwest::Method::POST, body.to_string()).await
    }

    /// What [`Self::request`] would send.
    #[must_use]
    pub fn modern(&self, method: &str, mut params: Value) -> (Self, Value) {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {}
        });
        let mut caller =
            self.clone().with_header("mcp-protocol-version", MODERN).with_header("mcp-method", method);
        if let Some(name) = params["name"].as_str().or(params["uri"].as_str()) {
            caller = caller.with_header("mcp-name", name);
        }
        (caller, json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
    }

    /// Calls a tool in the modern revision.
    pub async fn call(&self, tool: &str) -> Answer {
        self.request("tools/call", json!({"name": tool, "arguments": {"text": "hello"}})).await
    }

    /// Names of the tools listed in the modern revision.
    pub async fn tools(&self) -> Vec<String> {
        let answer = self.request("tools/list", json!({})).await;
        let tools = answer.json()["result"]["tools"].as_array().cloned().unwrap_or_default();
        tools.iter().map(|tool| tool["name"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Opens a session of a legacy revision; the caller carries it from then on.
    pub async fn initialize(&self, revision: &str) -> (Self, Answer) {
        let body = json!({
            "jsonrpc": "2.0", "id": 0, "method": "initialize",
            "params": {
                "protocolVersion": revision, "capabilities": {},
                "clientInfo": {"name": "test", "version": "1"}
            }
        });
        let answer = self.send(reqwest::Method::POST, body.to_string()).await;
        let mut caller = self.clone().with_header("mcp-protocol-version", revision);
        if !answer.header("mcp-session-id").is_empty() {
            caller = caller.with_header("mcp-session-id", answer.header("mcp-session-id"));
        }
        (caller, answer)
    }

    /// A request of a legacy revision.
    pub async fn legacy(&self, method: &str, params: Value) -> Answer {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.send(reqwest::Method::POST, body.to_string()).await
    }
}
