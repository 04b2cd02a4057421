//! `/v1/tenants/{tenant}/external-issuers`.

use http::StatusCode;
use ids::{ClientId, ExternalIssuerId, RoleId};

use super::{
    admission, queries,
    types::{ExternalIssuer, ExternalIssuerSettings},
};
use crate::{
    db::TenantTx,
    http::{page::PageQuery, prelude::*},
    oauth::registration::egress,
    publish::commit::commit,
    resources::scopes::queries as scopes,
};

/// External issuers of a tenant.
const MOST: i64 = 32;

/// All external issuers, in order of creation.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/external-issuers", operation_id = "list_external_issuers", tag = "external_issuers",
    params(TenantPath, PageQuery), responses((status = 200, description = "A page", body = Page<ExternalIssuer>), Problems),
    security(("token" = ["external_issuers:read"])))]
pub async fn list(
    caller: InTenant<ExternalIssuersRead>,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    let issuers = queries::list(&mut tx, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, issuers, |issuer| issuer.id)
}

/// Makes an issuer of others known: its tokens are accepted by endpoints that name it, from callers whom its rules say.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/external-issuers", operation_id = "create_external_issuer", tag = "external_issuers",
    params(TenantPath, Wait), request_body = ExternalIssuerSettings,
    responses((status = 201, description = "Made", body = ExternalIssuer), Problems),
    security(("token" = ["external_issuers:write"])))]
pub async fn create(
    caller: InTenant<ExternalIssuersWrite>,
    State(core): State<Core>,
    Query(wait): Query<Wait>,
    Json(settings): Json<ExternalIssuerSettings>,
) -> Result<Response, ApiError> {
    let now = core.clock.now();
    let id = ExternalIssuerId::from_parts(now.millis(), core.entropy.bytes());
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    check(&mut tx, &settings).await?;
    if queries::count(&mut tx).await? >= MOST {
        return Err(ApiError::Conflict("the tenant has 32 external issuers; delete some"));
    }
    queries::insert(&mut tx, id, &settings, now.to_offset()).await?;
    let made = queries::get(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("create_external_issuer", id)).await?;
    Written::new(caller.tenant, published)
        .answer(&core, &wait, Reply::with(StatusCode::CREATED, &made)?)
        .await
}

async fn check(tx: &mut TenantTx, settings: &ExternalIssuerSettings) -> Result<(), ApiError> {
    admission::check(settings, &egress(tx).await?)?;
    let clients: Vec<ClientId> = settings.callers.iter().map(|rule| rule.client_id).collect();
    if let Some(place) = queries::missing_client(tx, &clients).await? {
        return Err(ApiError::invalid(format!("/callers/{place}/client_id"), "no such client"));
    }
    let asked: Vec<RoleId> =
        settings.entitlements.iter().flat_map(|rule| rule.roles.iter().copied()).collect();
    let (roles, scopes) = (queries::roles(tx, &asked).await?, scopes::all(tx).await?);
    for (place, rule) in settings.entitlements.iter().enumerate() {
        if let Some(at) = rule.roles.iter().position(|role| !roles.contains(role)) {
            return Err(ApiError::invalid(format!("/entitlements/{place}/roles/{at}"), "no such role"));
        }
        let known = |scope| scopes.iter().any(|(known, _)| known == scope);
        if let Some(at) = rule.scopes.iter().position(|scope| !known(scope)) {
            return Err(ApiError::invalid(format!("/entitlements/{place}/scopes/{at}"), "no such scope"));
        }
    }
    Ok(())
}

/// An external issuer.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/external-issuers/{external_issuer}", operation_id = "get_external_issuer",
    tag = "external_issuers", params(TenantPath, ("external_issuer" = String, Path, description = "Id (`exi_…`)")),
    responses((status = 200, description = "The issuer", body = ExternalIssuer), Problems),
    security(("token" = ["external_issuers:read"])))]
pub async fn get(
    caller: InTenant<ExternalIssuersRead>,
    State(core): State<Core>,
    OfPath(id): OfPath<ExternalIssuerId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    Reply::resource(&queries::get(&mut tx, id).await?)
}

/// Changes an external issuer. Its tokens are worth at once what the new rules say; running calls of those that are worth something else end.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}/external-issuers/{external_issuer}", operation_id = "update_external_issuer",
    tag = "external_issuers", params(TenantPath, IfMatch, ("external_issuer" = String, Path, description = "Id (`exi_…`)"), Wait),
    request_body(content = ExternalIssuerSettings, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "Changed", body = ExternalIssuer), Problems),
    security(("token" = ["external_issuers:write"])))]
pub async fn update(
    caller: InTenant<ExternalIssuersWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<ExternalIssuerId>,
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
    let published = commit(tx, &core, &caller.act("update_external_issuer", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::resource(&made)?).await
}

/// Forgets an external issuer. Its tokens are refused, and endpoints name it no more.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/external-issuers/{external_issuer}", operation_id = "delete_external_issuer",
    tag = "external_issuers", params(TenantPath, IfMatch, ("external_issuer" = String, Path, description = "Id (`exi_…`)"), Wait),
    responses((status = 204, description = "Deleted"), Problems), security(("token" = ["external_issuers:write"])))]
pub async fn delete(
    caller: InTenant<ExternalIssuersWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<ExternalIssuerId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    if_match.check(&queries::lock(&mut tx, id).await?)?;
    queries::delete(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("delete_external_issuer", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}
