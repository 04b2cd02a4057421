//! rmcp's client as a caller: connects in either era, lists tools, calls one, and reports what it sees of a refusal.

mod identity;

use anyhow::{Context, bail};
use rmcp::{
    ClientLifecycleMode, ClientServiceExt, ServiceError,
    model::{CallToolRequestParams, CallToolResult, ClientConfig, ProtocolVersion},
    transport::{
        AuthClient, StreamableHttpClientTransport,
        streamable_http_client::{StreamableHttpClient, StreamableHttpClientTransportConfig},
    },
};
use serde_json::{Map, Value, json};

use identity::Authorized;
pub use identity::Identity;

/// How the client opens the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The `initialize` handshake (revisions up to 2025-11-25).
    Legacy,
    /// `server/discover` (2026-07-28), nothing else.
    Modern,
}

/// What to do.
#[derive(Debug, Clone)]
pub struct Visit {
    /// URL of the MCP endpoint.
    pub url: String,
    /// Who calls.
    pub identity: Identity,
    /// The era to speak.
    pub mode: Mode,
    /// Tool to call.
    pub tool: String,
    /// Its arguments.
    pub arguments: Map<String, Value>,
    /// A tool whose call is expected to be refused.
    pub withheld: Option<String>,
}

/// Carries the visit out.
///
/// Returns `{"protocol", "tools", "call": {"is_error", "text"}, "refused": {"kind", "code", "slug", "remedy", "shown"}}`;
/// `refused` is null without a withheld tool.
///
/// # Errors
/// When the connection, the list or the call fails.
pub async fn visit(visit: &Visit) -> anyhow::Result<Value> {
    let config = StreamableHttpClientTransportConfig::with_uri(visit.url.as_str());
    match visit.identity.authorize(&visit.url).await.context("authorize")? {
        Authorized::Header(key) => {
            follow(visit, StreamableHttpClientTransport::from_config(config.auth_header(key))).await
        }
        Authorized::Tokens(manager) => {
            let http = AuthClient::new(reqwest::Client::new(), *manager);
            follow(visit, StreamableHttpClientTransport::with_client(http, config)).await
        }
    }
}

async fn follow<C>(visit: &Visit, transport: StreamableHttpClientTransport<C>) -> anyhow::Result<Value>
where
    C: StreamableHttpClient + Send + Sync + 'static,
{
    let lifecycle = match visit.mode {
        Mode::Legacy => ClientLifecycleMode::Initialize,
        Mode::Modern => {
            ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }
        }
    };
    let client =
        ClientConfig::default().serve_with_lifecycle(transport, lifecycle).await.context("connect")?;

    let tools: Vec<String> = client
        .list_all_tools()
        .await
        .context("list tools")?
        .into_iter()
        .map(|tool| tool.name.into_owned())
        .collect();
    let call = CallToolRequestParams::new(visit.tool.clone()).with_arguments(visit.arguments.clone());
    let result = client.call_tool(call).await.context("call")?;
    let refused = match &visit.withheld {
        Some(name) => refusal(client.call_tool(CallToolRequestParams::new(name.clone())).await)?,
        None => Value::Null,
    };
    let protocol = match visit.mode {
        Mode::Legacy => client.peer_info().map(|info| info.protocol_version.to_string()),
        Mode::Modern => Some(ProtocolVersion::V_2026_07_28.to_string()),
    };
    let seen = json!({
        "protocol": protocol,
        "tools": tools,
        "call": {"is_error": result.is_error.unwrap_or(false), "text": texts(&result)},
        "refused": refused,
    });
    client.cancel().await.context("close")?;
    Ok(seen)
}

fn refusal(outcome: Result<CallToolResult, ServiceError>) -> anyhow::Result<Value> {
    match outcome {
        Ok(result) => Ok(json!({
            "kind": "result", "is_error": result.is_error.unwrap_or(false), "shown": texts(&result),
        })),
        Err(ServiceError::McpError(error)) => {
            let data = error.data.clone().unwrap_or_default();
            Ok(json!({
                "kind": "error", "code": error.code.0, "slug": data["code"], "remedy": data["remedy"],
                "shown": error.to_string(),
            }))
        }
        Err(other) => bail!("the refusal reached the caller as a broken connection: {other}"),
    }
}

fn texts(result: &CallToolResult) -> String {
    let blocks = serde_json::to_value(&result.content).unwrap_or_default();
    let texts = blocks.as_array().into_iter().flatten().filter_map(|block| block["text"].as_str());
    texts.collect::<Vec<_>>().join("\n")
}
