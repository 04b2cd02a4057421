//! Names of attributes, the same in log lines and spans.
//!
//! MCP and HTTP names are those of the OpenTelemetry semantic conventions (`gen-ai/mcp.md`, status Development); what has
//! no name there begins with `portcullis.`. In tracing macros a constant goes in braces:
//! `tracing::info!({ field::MCP_METHOD_NAME } = method, "forwarded")`.

/// JSON-RPC method. Required on every MCP span.
pub const MCP_METHOD_NAME: &str = "mcp.method.name";
/// Negotiated MCP revision.
pub const MCP_PROTOCOL_VERSION: &str = "mcp.protocol.version";
/// Session id. Only ever a hash of it: the id itself lets its holder speak.
pub const MCP_SESSION_ID: &str = "mcp.session.id";
/// URI of a resource that is read or subscribed to.
pub const MCP_RESOURCE_URI: &str = "mcp.resource.uri";
/// Tool called, by its original name.
pub const GEN_AI_TOOL_NAME: &str = "gen_ai.tool.name";
/// Prompt asked for.
pub const GEN_AI_PROMPT_NAME: &str = "gen_ai.prompt.name";
/// `execute_tool`, on `tools/call` alone.
pub const GEN_AI_OPERATION_NAME: &str = "gen_ai.operation.name";
/// Value of [`GEN_AI_OPERATION_NAME`] for `tools/call`.
pub const EXECUTE_TOOL: &str = "execute_tool";
/// The request's JSON-RPC id.
pub const JSONRPC_REQUEST_ID: &str = "jsonrpc.request.id";
/// The JSON-RPC error code of a response, as text.
pub const RPC_RESPONSE_STATUS_CODE: &str = "rpc.response.status_code";
/// What kind of failure: a JSON-RPC code, our slug, or [`TOOL_ERROR`].
pub const ERROR_TYPE: &str = "error.type";
/// Value of [`ERROR_TYPE`] where a tool answered with `isError`.
pub const TOOL_ERROR: &str = "tool_error";
/// `tcp`.
pub const NETWORK_TRANSPORT: &str = "network.transport";
/// `http`.
pub const NETWORK_PROTOCOL_NAME: &str = "network.protocol.name";
/// `1.1` or `2`.
pub const NETWORK_PROTOCOL_VERSION: &str = "network.protocol.version";
/// Caller's address, on the span towards the agent.
pub const CLIENT_ADDRESS: &str = "client.address";
/// Caller's port.
pub const CLIENT_PORT: &str = "client.port";
/// Upstream's host, on the span towards the upstream.
pub const SERVER_ADDRESS: &str = "server.address";
/// Upstream's port.
pub const SERVER_PORT: &str = "server.port";
/// HTTP method.
pub const HTTP_REQUEST_METHOD: &str = "http.request.method";
/// HTTP status.
pub const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
/// The route's pattern, never the path that was asked for.
pub const HTTP_ROUTE: &str = "http.route";

/// Tenant id.
pub const TENANT_ID: &str = "portcullis.tenant.id";
/// Endpoint id.
pub const ENDPOINT_ID: &str = "portcullis.endpoint.id";
/// Upstream id.
pub const UPSTREAM_ID: &str = "portcullis.upstream.id";
/// Client id.
pub const CLIENT_ID: &str = "portcullis.client.id";
/// API key id, never the key.
pub const KEY_ID: &str = "portcullis.key.id";
/// Proxy id.
pub const PROXY_ID: &str = "portcullis.proxy.id";
/// Id of one HTTP request, the same in the answer's problem document.
pub const REQUEST_ID: &str = "portcullis.request.id";
/// Id of one audited call, the same in its audit records.
pub const CALL_ID: &str = "portcullis.call.id";
/// Slug of a refusal.
pub const REFUSAL_CODE: &str = "portcullis.refusal.code";
/// The tenant's configuration revision in force.
pub const CONFIG_REV: &str = "portcullis.config.rev";
/// A duration, whole microseconds.
pub const DURATION_US: &str = "portcullis.duration_us";
