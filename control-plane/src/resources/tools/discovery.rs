//! `/v1/tenants/{tenant}/upstreams/{upstream}/discover` and `/v1/tenants/{tenant}/commands`: only proxies dial upstreams,
//! so finding out what one offers is asked of them.

use http::StatusCode;
use ids::{CommandId, UpstreamId};

use super::{queries, types::Command};
use crate::{fleet::commands, http::prelude::*, publish::commit::commit_unpublished};

/// Asks a proxy to list the upstream's tools. What it finds appears among the tools; whether it has, at the command.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/upstreams/{upstream}/discover", operation_id = "discover_upstream",
    tag = "tools", params(TenantPath, ("upstream" = String, Path, description = "Id (`ups_…`)")),
    responses((status = 202, description = "Asked", body = Command), Problems),
    security(("token" = ["tools:write"])))]
pub async fn discover(
    caller: InTenant<ToolsWrite>,
    State(core): State<Core>,
    OfPath(upstream): OfPath<UpstreamId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    if !queries::upstream_is_enabled(&mut tx, upstream).await? {
        return Err(ApiError::Conflict("the upstream is disabled"));
    }
    let id = CommandId::from_uuid(commands::enqueue(&mut tx, upstream, &*core.clock, &*core.entropy).await?);
    let command = queries::command(&mut tx, id).await?;
    commit_unpublished(tx, &core, &caller.act("discover_upstream", upstream)).await?;
    Reply::with(StatusCode::ACCEPTED, &command)
}

/// How far a proxy is with what it was asked.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/commands/{command}", operation_id = "get_command", tag = "tools",
    params(TenantPath, ("command" = String, Path, description = "Id (`cmd_…`)")),
    responses((status = 200, description = "The command", body = Command), Problems),
    security(("token" = ["tools:read"])))]
pub async fn command(
    caller: InTenant<ToolsRead>,
    State(core): State<Core>,
    OfPath(id): OfPath<CommandId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    Reply::resource(&queries::command(&mut tx, id).await?)
}
