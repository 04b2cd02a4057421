//! The span of a call towards the agent, by the OpenTelemetry semantic conventions for MCP.

use ::mcp::{Method, envelope::Message, raw::Raw};
use http::HeaderMap;
use telemetry::{TraceParent, field};
use tracing::{Span, field::Empty};

use super::Trail;

/// A span with what is known when the call is forwarded.
pub(super) fn of(trail: &Trail, traces: Traces) -> Span {
    let named = if trail.target.is_empty() { None } else { Some(trail.target.as_str()) };
    let (tool, prompt, uri) = match trail.method {
        Some(Method::ToolsCall) => (named, None, None),
        Some(Method::PromptsGet) => (None, named, None),
        Some(Method::ResourcesRead | Method::ResourcesSubscribe | Method::ResourcesUnsubscribe) => {
            (None, None, named)
        }
        _ => (None, None, None),
    };
    let name = match tool.or(prompt) {
        Some(target) => format!("{} {target}", trail.method_name),
        None => trail.method_name.to_string(),
    };
    let span = tracing::info_span!(
        "call",
        otel.name = name,
        otel.kind = "server",
        { field::MCP_METHOD_NAME } = &*trail.method_name,
        { field::MCP_PROTOCOL_VERSION } = trail.revision.map(|revision| revision.as_str()),
        { field::GEN_AI_TOOL_NAME } = tool,
        { field::GEN_AI_PROMPT_NAME } = prompt,
        { field::MCP_RESOURCE_URI } = uri,
        { field::GEN_AI_OPERATION_NAME } = tool.map(|_| field::EXECUTE_TOOL),
        { field::JSONRPC_REQUEST_ID } = trail.id.as_deref().and_then(|id| std::str::from_utf8(id).ok()),
        { field::NETWORK_TRANSPORT } = "tcp",
        { field::NETWORK_PROTOCOL_NAME } = "http",
        { field::CLIENT_ADDRESS } = %trail.peer.address.ip(),
        { field::CLIENT_PORT } = trail.peer.address.port(),
        { field::CALL_ID } = %trail.call,
        { field::TENANT_ID } = trail.place.as_ref().map(|place| tracing::field::display(place.tenant().id)),
        { field::ENDPOINT_ID } = trail.place.as_ref().map(|place| tracing::field::display(place.endpoint().id)),
        { field::CLIENT_ID } = trail.principal.as_ref().map(|principal| tracing::field::display(principal.client_id())),
        { field::ERROR_TYPE } = Empty,
    );
    // The context inside the message is the caller's own; the one in the headers may be an intermediary's.
    match (traces.in_message, traces.in_header) {
        (Some(parent), other) => {
            telemetry::child_of(&span, parent);
            if let Some(other) = other.filter(|other| *other != parent) {
                telemetry::linked_to(&span, other);
            }
        }
        (None, Some(parent)) => telemetry::child_of(&span, parent),
        (None, None) => {}
    }
    span
}

/// The caller's trace contexts (W3C Trace Context).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Traces {
    pub(super) in_message: Option<TraceParent>,
    pub(super) in_header: Option<TraceParent>,
}

impl Traces {
    pub(super) fn of(headers: &HeaderMap, message: Option<&Message<'_>>) -> Self {
        let header = headers.get("traceparent").and_then(|value| value.to_str().ok());
        let member = message.and_then(Message::params).and_then(|params| params.meta_members().traceparent());
        Self {
            in_message: member.and_then(Raw::string).and_then(|text| TraceParent::parse(&text).ok()),
            in_header: header.and_then(|text| TraceParent::parse(text).ok()),
        }
    }
}
