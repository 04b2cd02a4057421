//! `/v1/tenants/{tenant}/trusted-issuers`.

use http::StatusCode;
use ids::TrustedIssuerId;

use super::{
    admission, queries,
    types::{TrustedIssuer, TrustedIssuerSettings},
};
use crate::{
    db::TenantTx,
    http::{page::PageQuery, prelude::*},
    oauth::{keys, registration::egress},
    publish::commit::commit,
};

/// Trusted issuers of a tenant.
const MOST: i64 = 100;

/// All trusted issuers, in order of creation.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/trusted-issuers", operation_id = "list_trusted_issuers", tag = "trusted_issuers",
    params(TenantPath, PageQuery), responses((status = 200, description = "A page", body = Page<TrustedIssuer>), Problems),
    security(("token" = ["trusted_issuers:read"])))]
pub async fn list(
    caller: InTenant<TrustedIssuersRead>,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    let issuers = queries::list(&mut tx, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, issuers, |issuer| issuer.id)
}

/// Trusts an issuer: what it signs is taken as a grant at the tenant's token endpoint, for what it is trusted with.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/trusted-issuers", operation_id = "create_trusted_issuer", tag = "trusted_issuers",
    params(TenantPath, Wait), request_body = TrustedIssuerSettings,
    responses((status = 201, description = "Made", body = TrustedIssuer), Problems),
    security(("token" = ["trusted_issuers:write"])))]
pub async fn create(
    caller: InTenant<TrustedIssuersWrite>,
    State(core): State<Core>,
    Query(wait): Query<Wait>,
    Json(settings): Json<TrustedIssuerSettings>,
) -> Result<Response, ApiError> {
    let now = core.clock.now();
    let id = TrustedIssuerId::from_parts(now.millis(), core.entropy.bytes());
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    check(&mut tx, &settings).await?;
    if queries::count(&mut tx).await? >= MOST {
        return Err(ApiError::Conflict("the tenant trusts a hundred issuers; delete some"));
    }
    queries::insert(&mut tx, id, &settings, now.to_offset()).await?;
    // Whoever comes is given tokens: the issuer needs a key to sign them.
    keys::ensure(&mut tx, &core).await?;
    let made = queries::get(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("create_trusted_issuer", id)).await?;
    Written::new(caller.tenant, published)
        .answer(&core, &wait, Reply::with(StatusCode::CREATED, &made)?)
        .await
}

async fn check(tx: &mut TenantTx, settings: &TrustedIssuerSettings) -> Result<(), ApiError> {
    admission::check(settings, &egress(tx).await?)?;
    match queries::missing(tx, &settings.rules).await? {
        Some(place) => Err(ApiError::invalid(format!("/rules/{place}/client_id"), "no such client")),
        None => Ok(()),
    }
}

/// A trusted issuer.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/trusted-issuers/{trusted_issuer}", operation_id = "get_trusted_issuer",
    tag = "trusted_issuers", params(TenantPath, ("trusted_issuer" = String, Path, description = "Id (`tis_…`)")),
    responses((status = 200, description = "The issuer", body = TrustedIssuer), Problems),
    security(("token" = ["trusted_issuers:read"])))]
pub async fn get(
    caller: InTenant<TrustedIssuersRead>,
    State(core): State<Core>,
    OfPath(id): OfPath<TrustedIssuerId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    Reply::resource(&queries::get(&mut tx, id).await?)
}

/// Changes a trusted issuer. Tokens that were given for its assertions live on until they expire.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}/trusted-issuers/{trusted_issuer}", operation_id = "update_trusted_issuer",
    tag = "trusted_issuers", params(TenantPath, IfMatch, ("trusted_issuer" = String, Path, description = "Id (`tis_…`)"), Wait),
    request_body(content = TrustedIssuerSettings, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "Changed", body = TrustedIssuer), Problems),
    security(("token" = ["trusted_issuers:write"])))]
pub async fn update(
    caller: InTenant<TrustedIssuersWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<TrustedIssuerId>,
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
    let published = commit(tx, &core, &caller.act("update_trusted_issuer", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::resource(&made)?).await
}

/// Trusts an issuer no more. Tokens that were given for its assertions live on until they expire.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/trusted-issuers/{trusted_issuer}", operation_id = "delete_trusted_issuer",
    tag = "trusted_issuers", params(TenantPath, IfMatch, ("trusted_issuer" = String, Path, description = "Id (`tis_…`)"), Wait),
    responses((status = 204, description = "Deleted"), Problems), security(("token" = ["trusted_issuers:write"])))]
pub async fn delete(
    caller: InTenant<TrustedIssuersWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<TrustedIssuerId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    if_match.check(&queries::lock(&mut tx, id).await?)?;
    queries::delete(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("delete_trusted_issuer", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}
