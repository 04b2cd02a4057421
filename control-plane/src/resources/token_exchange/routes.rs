//! `/v1/tenants/{tenant}/clients/{client}/token-exchange`.

use ids::ClientId;
use serde::{Deserialize, Serialize};

use crate::{
    http::prelude::*,
    oauth::exchange::{self, Subjects},
    publish::commit::commit_unpublished,
    resources::clients,
};

/// Whose tokens a client may exchange (RFC 8693) for tokens at the endpoints that it may use.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenExchange {
    /// Whose.
    pub subjects: Subjects,
}

/// Whose tokens the client may exchange; 404 where it may not exchange any.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/clients/{client}/token-exchange", operation_id = "get_token_exchange", tag = "clients",
    params(TenantPath, ("client" = String, Path, description = "Id (`cl_…`)")),
    responses((status = 200, description = "Whose", body = TokenExchange), Problems), security(("token" = ["clients:read"])))]
pub async fn get(
    caller: InTenant<ClientsRead>,
    State(core): State<Core>,
    OfPath(client): OfPath<ClientId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    let subjects = exchange::allowed(&mut tx, client).await?.ok_or(ApiError::NotFound)?;
    Reply::resource(&TokenExchange { subjects })
}

/// Lets the client exchange tokens. Each new token is for an endpoint that it may use, has no scope that the old one lacks, and ends no
/// later.
#[utoipa::path(put, path = "/v1/tenants/{tenant}/clients/{client}/token-exchange", operation_id = "allow_token_exchange", tag = "clients",
    params(TenantPath, ("client" = String, Path, description = "Id (`cl_…`)")), request_body = TokenExchange,
    responses((status = 200, description = "Allowed", body = TokenExchange), Problems), security(("token" = ["clients:write"])))]
pub async fn allow(
    caller: InTenant<ClientsWrite>,
    State(core): State<Core>,
    OfPath(client): OfPath<ClientId>,
    Json(allowed): Json<TokenExchange>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    if clients::client(&mut tx, client).await?.settings.public {
        return Err(ApiError::Conflict("the client is public: it cannot prove who exchanges"));
    }
    exchange::allow(&mut tx, client, allowed.subjects, core.clock.now().to_offset()).await?;
    commit_unpublished(tx, &core, &caller.act("allow_token_exchange", client)).await?;
    Reply::resource(&allowed)
}

/// Ends the client's exchanging of tokens. Those that it was given live on until they expire.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/clients/{client}/token-exchange", operation_id = "disallow_token_exchange",
    tag = "clients", params(TenantPath, ("client" = String, Path, description = "Id (`cl_…`)")),
    responses((status = 204, description = "Ended"), Problems), security(("token" = ["clients:write"])))]
pub async fn disallow(
    caller: InTenant<ClientsWrite>,
    State(core): State<Core>,
    OfPath(client): OfPath<ClientId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    exchange::disallow(&mut tx, client).await?;
    commit_unpublished(tx, &core, &caller.act("disallow_token_exchange", client)).await?;
    Ok(Reply::nothing())
}
