//! `/v1/tenants/{tenant}/consents`. A member sees and withdraws their own at `{auth origin}/account`.

use ids::ConsentId;

use super::{queries, types::Consent};
use crate::{
    http::{page::PageQuery, prelude::*},
    oauth::families,
    publish::commit::commit_revoking,
};

/// What members let clients do, in the order in which they first agreed.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/consents", operation_id = "list_consents", tag = "members",
    params(TenantPath, PageQuery), responses((status = 200, description = "A page", body = Page<Consent>), Problems),
    security(("token" = ["members:read"])))]
pub async fn list(
    caller: InTenant<MembersRead>,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    let consents = queries::list(&mut tx, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, consents, |consent| consent.id)
}

/// Withdraws a consent: the client's refresh tokens for the member at that endpoint end, with all access tokens that it has for the
/// member, and it has to ask again.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/consents/{consent}", operation_id = "delete_consent", tag = "members",
    params(TenantPath, IfMatch, ("consent" = String, Path, description = "Id (`cns_…`)"), Wait),
    responses((status = 204, description = "Withdrawn"), Problems), security(("token" = ["members:write"])))]
pub async fn delete(
    caller: InTenant<MembersWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<ConsentId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    if_match.check(&queries::lock(&mut tx, id).await?)?;
    let dead = families::withdraw(&mut tx, id, None, core.clock.now()).await?.ok_or(ApiError::NotFound)?;
    let published = commit_revoking(tx, &core, &caller.act("delete_consent", id), Some(dead)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}
