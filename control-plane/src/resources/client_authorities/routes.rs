//! `/v1/tenants/{tenant}/client-authorities`.

use http::StatusCode;
use ids::{ClientAuthorityId, ClientId};

use super::{
    admission, queries,
    types::{ClientAuthority, ClientAuthoritySettings},
};
use crate::{
    db::TenantTx,
    http::{page::PageQuery, prelude::*},
    publish::commit::commit,
};

/// External issuers of a tenant.
const MOST: i64 = 32;

/// All client authorities, in order of creation.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/client-authorities", operation_id = "list_client_authorities", tag = "client_authorities",
    params(TenantPath, PageQuery), responses((status = 200, description = "A page", body = Page<ClientAuthority>), Problems),
    security(("token" = ["client_authorities:read"])))]
pub async fn list(
    caller: InTenant<ClientAuthoritiesRead>,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    let authorities = queries::list(&mut tx, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, authorities, |authority| authority.id)
}

/// Makes an authority known: its certificates are accepted by endpoints that name it, from callers whom its rules say.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/client-authorities", operation_id = "create_client_authority", tag = "client_authorities",
    params(TenantPath, Wait), request_body = ClientAuthoritySettings,
    responses((status = 201, description = "Made", body = ClientAuthority), Problems),
    security(("token" = ["client_authorities:write"])))]
pub async fn create(
    caller: InTenant<ClientAuthoritiesWrite>,
    State(core): State<Core>,
    Query(wait): Query<Wait>,
    Json(settings): Json<ClientAuthoritySettings>,
) -> Result<Response, ApiError> {
    let now = core.clock.now();
    let id = ClientAuthorityId::from_parts(now.millis(), core.entropy.bytes());
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    check(&mut tx, &settings).await?;
    if queries::count(&mut tx).await? >= MOST {
        return Err(ApiError::Conflict("the tenant has 32 client authorities; delete some"));
    }
    queries::insert(&mut tx, id, &settings, now.to_offset()).await?;
    let made = queries::get(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("create_client_authority", id)).await?;
    Written::new(caller.tenant, published)
        .answer(&core, &wait, Reply::with(StatusCode::CREATED, &made)?)
        .await
}

async fn check(tx: &mut TenantTx, settings: &ClientAuthoritySettings) -> Result<(), ApiError> {
    admission::check(settings)?;
    let clients: Vec<ClientId> = settings.callers.iter().map(|rule| rule.client_id).collect();
    match queries::missing_client(tx, &clients).await? {
        Some(place) => Err(ApiError::invalid(format!("/callers/{place}/client_id"), "no such client")),
        None => Ok(()),
    }
}

/// A client authority.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/client-authorities/{client_authority}", operation_id = "get_client_authority",
    tag = "client_authorities", params(TenantPath, ("client_authority" = String, Path, description = "Id (`cca_…`)")),
    responses((status = 200, description = "The authority", body = ClientAuthority), Problems),
    security(("token" = ["client_authorities:read"])))]
pub async fn get(
    caller: InTenant<ClientAuthoritiesRead>,
    State(core): State<Core>,
    OfPath(id): OfPath<ClientAuthorityId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    Reply::resource(&queries::get(&mut tx, id).await?)
}

/// Changes a client authority, or brings a new list of revoked certificates. What is not good any more is refused at once, and what runs ends.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}/client-authorities/{client_authority}", operation_id = "update_client_authority",
    tag = "client_authorities", params(TenantPath, IfMatch, ("client_authority" = String, Path, description = "Id (`cca_…`)"), Wait),
    request_body(content = ClientAuthoritySettings, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "Changed", body = ClientAuthority), Problems),
    security(("token" = ["client_authorities:write"])))]
pub async fn update(
    caller: InTenant<ClientAuthoritiesWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<ClientAuthorityId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
    patch: MergePatch,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let present = queries::lock(&mut tx, id).await?;
    if_match.check(&present)?;
    let settings = patch.apply(&present.settings)?;
    check(&mut tx, &settings).await?;
    queries::update(&mut tx, id, &settings, core.clock.now().to_offset()).await?;
    let made = queries::get(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("update_client_authority", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::resource(&made)?).await
}

/// Forgets a client authority. Its certificates are refused, and endpoints name it no more.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/client-authorities/{client_authority}", operation_id = "delete_client_authority",
    tag = "client_authorities", params(TenantPath, IfMatch, ("client_authority" = String, Path, description = "Id (`cca_…`)"), Wait),
    responses((status = 204, description = "Deleted"), Problems), security(("token" = ["client_authorities:write"])))]
pub async fn delete(
    caller: InTenant<ClientAuthoritiesWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<ClientAuthorityId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    if_match.check(&queries::lock(&mut tx, id).await?)?;
    queries::delete(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("delete_client_authority", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}
