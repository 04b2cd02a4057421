//! `/v1/proxies`.

use ids::ProxyId;

use super::{queries, types::Proxy};
use crate::{
    http::{page::PageQuery, prelude::*},
    publish::commit::commit_operator,
};

/// All proxies that enrolled, revoked ones too, in the order in which they did.
#[utoipa::path(get, path = "/v1/proxies", operation_id = "list_proxies", tag = "proxies", params(PageQuery),
    responses((status = 200, description = "A page", body = Page<Proxy>), Problems),
    security(("token" = ["operator"])))]
pub async fn list(
    _: Operator,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let now = core.clock.now().to_offset();
    let mut tx = core.store.operator().await?;
    let proxies = queries::list(&mut tx, now, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, proxies, |proxy| proxy.id)
}

/// A proxy.
#[utoipa::path(get, path = "/v1/proxies/{proxy}", operation_id = "get_proxy", tag = "proxies",
    params(("proxy" = String, Path, description = "Id (`px_…`)")),
    responses((status = 200, description = "The proxy", body = Proxy), Problems), security(("token" = ["operator"])))]
pub async fn get(
    _: Operator,
    State(core): State<Core>,
    OfPath(id): OfPath<ProxyId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.operator().await?;
    Reply::resource(&queries::get(&mut tx, core.clock.now().to_offset(), id).await?)
}

/// Revokes a proxy: its streams end, its certificate is not renewed, and it no longer counts. To come back it has to enrol
/// with a new join token.
#[utoipa::path(delete, path = "/v1/proxies/{proxy}", operation_id = "revoke_proxy", tag = "proxies",
    params(IfMatch, ("proxy" = String, Path, description = "Id (`px_…`)")),
    responses((status = 204, description = "Revoked"), Problems), security(("token" = ["operator"])))]
pub async fn revoke(
    operator: Operator,
    State(core): State<Core>,
    OfPath(id): OfPath<ProxyId>,
    if_match: IfMatch,
) -> Result<Reply, ApiError> {
    let now = core.clock.now().to_offset();
    let mut tx = core.store.operator().await?;
    queries::lock(&mut tx, id).await?;
    if_match.check(&queries::get(&mut tx, now, id).await?)?;
    queries::revoke(&mut tx, id, now).await?;
    commit_operator(tx, &core, &operator.act("revoke_proxy", id), None).await?;
    Ok(Reply::nothing())
}
