//! `/v1/tenants/{tenant}/clients/{client}/endpoints`: which endpoints a client may use.

use ids::{ClientId, EndpointId};

use super::{queries, types::ClientEndpoint};
use crate::{
    http::{page::PageQuery, prelude::*},
    publish::commit::commit,
};

/// The endpoints that the client may use.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/clients/{client}/endpoints", operation_id = "list_client_endpoints",
    tag = "clients", params(TenantPath, ("client" = String, Path, description = "Id (`cl_…`)"), PageQuery),
    responses((status = 200, description = "A page", body = Page<ClientEndpoint>), Problems),
    security(("token" = ["clients:read"])))]
pub async fn list(
    caller: InTenant<ClientsRead>,
    State(core): State<Core>,
    OfPath(client): OfPath<ClientId>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    queries::get(&mut tx, client).await?;
    let endpoints = queries::endpoints(&mut tx, client, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, endpoints, |relation| relation.endpoint_id)
}

/// Lets the client use the endpoint. What it may do there is decided by grants.
#[utoipa::path(put, path = "/v1/tenants/{tenant}/clients/{client}/endpoints/{endpoint}",
    operation_id = "allow_client_endpoint", tag = "clients",
    params(TenantPath, ("client" = String, Path, description = "Id (`cl_…`)"),
        ("endpoint" = String, Path, description = "Id (`ep_…`)"), Wait),
    responses((status = 204, description = "Allowed"), Problems), security(("token" = ["clients:write"])))]
pub async fn allow(
    caller: InTenant<ClientsWrite>,
    State(core): State<Core>,
    OfPath(client): OfPath<ClientId>,
    OfPath(endpoint): OfPath<EndpointId>,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    queries::lock(&mut tx, client).await?;
    if !queries::endpoint_exists(&mut tx, endpoint).await? {
        return Err(ApiError::NotFound);
    }
    queries::allow(&mut tx, client, endpoint, core.clock.now().to_offset()).await?;
    let act = caller.act("allow_client_endpoint", format_args!("{client} {endpoint}"));
    let published = commit(tx, &core, &act).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}

/// Ends the client's use of the endpoint.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/clients/{client}/endpoints/{endpoint}",
    operation_id = "disallow_client_endpoint", tag = "clients",
    params(TenantPath, ("client" = String, Path, description = "Id (`cl_…`)"),
        ("endpoint" = String, Path, description = "Id (`ep_…`)"), Wait),
    responses((status = 204, description = "Ended"), Problems), security(("token" = ["clients:write"])))]
pub async fn disallow(
    caller: InTenant<ClientsWrite>,
    State(core): State<Core>,
    OfPath(client): OfPath<ClientId>,
    OfPath(endpoint): OfPath<EndpointId>,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    queries::disallow(&mut tx, client, endpoint).await?;
    let act = caller.act("disallow_client_endpoint", format_args!("{client} {endpoint}"));
    let published = commit(tx, &core, &act).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}
