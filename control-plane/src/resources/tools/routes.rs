//! `/v1/tenants/{tenant}/tools`.

use ids::{ToolId, UpstreamId};
use serde::Deserialize;

use super::{
    queries,
    types::{Approval, Tool, ToolDetail, ToolSettings},
};
use crate::{
    http::prelude::*,
    publish::{commit::commit, rows::ToolState},
};

/// Query parameters of the list of tools.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ToolsQuery {
    /// Only tools of this upstream.
    #[param(value_type = Option<String>)]
    pub upstream_id: Option<UpstreamId>,
    /// Only tools in this state.
    #[param(inline)]
    pub state: Option<ToolState>,
    /// Items on a page: 1 to 200, 50 if absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    pub limit: Option<String>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// Tools of all upstreams, in the order in which they were first seen.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/tools", operation_id = "list_tools", tag = "tools",
    params(TenantPath, ToolsQuery), responses((status = 200, description = "A page", body = Page<Tool>), Problems),
    security(("token" = ["tools:read"])))]
pub async fn list(
    caller: InTenant<ToolsRead>,
    State(core): State<Core>,
    Query(filter): Query<ToolsQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    let tools =
        queries::list(&mut tx, filter.upstream_id, filter.state, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, tools, |tool| tool.id)
}

/// A tool with its approved definition and the one that was seen last.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/tools/{tool}", operation_id = "get_tool", tag = "tools",
    params(TenantPath, ("tool" = String, Path, description = "Id (`tool_…`)")),
    responses((status = 200, description = "The tool", body = ToolDetail), Problems),
    security(("token" = ["tools:read"])))]
pub async fn get(
    caller: InTenant<ToolsRead>,
    State(core): State<Core>,
    OfPath(id): OfPath<ToolId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    Reply::resource(&queries::get(&mut tx, id).await?)
}

/// Changes a tool's class, labels, cost or time-outs.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}/tools/{tool}", operation_id = "update_tool", tag = "tools",
    params(TenantPath, IfMatch, ("tool" = String, Path, description = "Id (`tool_…`)"), Wait),
    request_body(content = ToolSettings, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "Changed", body = ToolDetail), Problems),
    security(("token" = ["tools:write"])))]
pub async fn update(
    caller: InTenant<ToolsWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<ToolId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
    patch: MergePatch,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let present = queries::lock(&mut tx, id).await?;
    if_match.check(&present)?;
    let settings: ToolSettings = patch.apply(&present.tool.settings)?;
    let settings = settings.checked()?;
    queries::update(&mut tx, id, &settings, core.clock.now().to_offset()).await?;
    let tool = queries::get(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("update_tool", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::resource(&tool)?).await
}

/// Approves the definition that was seen last: from then on the tool may be called, while it stays as it is.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/tools/{tool}/approve", operation_id = "approve_tool", tag = "tools",
    params(TenantPath, IfMatch, ("tool" = String, Path, description = "Id (`tool_…`)"), Wait), request_body = Approval,
    responses((status = 200, description = "Approved", body = ToolDetail), Problems),
    security(("token" = ["tools:write"])))]
pub async fn approve(
    caller: InTenant<ToolsWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<ToolId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
    Json(approval): Json<Approval>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let present = queries::lock(&mut tx, id).await?;
    if_match.check(&present)?;
    let present = present.tool;
    if present.state == ToolState::Retired {
        return Err(ApiError::Conflict("the upstream no longer offers this tool"));
    }
    if approval.digest.is_some_and(|reviewed| reviewed.to_string() != present.seen_digest) {
        return Err(ApiError::Conflict(
            "another definition was seen since the one with this digest; review that one",
        ));
    }
    let class = approval.class.unwrap_or(present.settings.class);
    queries::approve(&mut tx, id, class, core.clock.now().to_offset()).await?;
    let tool = queries::get(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("approve_tool", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::resource(&tool)?).await
}

/// Rejects a tool: it is neither listed nor callable, and nothing of it stays approved.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/tools/{tool}/reject", operation_id = "reject_tool", tag = "tools",
    params(TenantPath, IfMatch, ("tool" = String, Path, description = "Id (`tool_…`)"), Wait),
    responses((status = 200, description = "Rejected", body = ToolDetail), Problems),
    security(("token" = ["tools:write"])))]
pub async fn reject(
    caller: InTenant<ToolsWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<ToolId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let present = queries::lock(&mut tx, id).await?;
    if_match.check(&present)?;
    if present.tool.state == ToolState::Retired {
        return Err(ApiError::Conflict("the upstream no longer offers this tool"));
    }
    queries::reject(&mut tx, id, core.clock.now().to_offset()).await?;
    let tool = queries::get(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("reject_tool", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::resource(&tool)?).await
}
