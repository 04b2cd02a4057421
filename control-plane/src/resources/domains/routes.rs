//! `/v1/tenants/{tenant}/domains`.

use axum::response::IntoResponse as _;
use http::StatusCode;
use ids::DomainId;
use wire::snapshot::MAX_DOMAINS;

use super::{
    admission, queries,
    types::{Domain, DomainNew},
};
use crate::{
    db::StoreError,
    http::{page::PageQuery, prelude::*},
    publish::commit::{commit, commit_unpublished},
};

/// All domains, in order of creation.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/domains", operation_id = "list_domains", tag = "domains",
    params(TenantPath, PageQuery), responses((status = 200, description = "A page", body = Page<Domain>), Problems),
    security(("token" = ["domains:read"])))]
pub async fn list(
    caller: InTenant<DomainsRead>,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    let gateway = &core.config.urls.gateway;
    let domains = queries::list(&mut tx, gateway, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, domains, |domain| domain.id)
}

/// Claims a domain. It is served when `verify_domain` has found `record` in DNS, and not before.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/domains", operation_id = "create_domain", tag = "domains",
    params(TenantPath), request_body = DomainNew,
    responses((status = 201, description = "Made", body = Domain), Problems), security(("token" = ["domains:write"])))]
pub async fn create(
    caller: InTenant<DomainsWrite>,
    State(core): State<Core>,
    Json(new): Json<DomainNew>,
) -> Result<Reply, ApiError> {
    let name = admission::name(&new.name, &core.config.urls)?;
    let now = core.clock.now();
    let id = DomainId::from_parts(now.millis(), core.entropy.bytes());
    let token = admission::token(&*core.entropy);
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    if let Some(endpoint) = new.endpoint_id
        && !queries::endpoint_exists(&mut tx, endpoint).await?
    {
        return Err(ApiError::invalid("/endpoint_id", "no such endpoint"));
    }
    // Writes of one tenant take turns.
    if queries::count(&mut tx).await? >= MAX_DOMAINS as i64 {
        return Err(ApiError::invalid(
            "/name",
            "would be one more than the 1,000 domains that a tenant may have",
        ));
    }
    queries::insert(&mut tx, id, &name, new.endpoint_id, &token, now.to_offset()).await?;
    let domain = queries::get(&mut tx, &core.config.urls.gateway, id).await?;
    commit_unpublished(tx, &core, &caller.act("create_domain", id)).await?;
    Reply::with(StatusCode::CREATED, &domain)
}

/// A domain.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/domains/{domain}", operation_id = "get_domain", tag = "domains",
    params(TenantPath, ("domain" = String, Path, description = "Id (`dom_…`)")),
    responses((status = 200, description = "The domain", body = Domain), Problems),
    security(("token" = ["domains:read"])))]
pub async fn get(
    caller: InTenant<DomainsRead>,
    State(core): State<Core>,
    OfPath(id): OfPath<DomainId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    Reply::resource(&queries::get(&mut tx, &core.config.urls.gateway, id).await?)
}

/// Looks for `record` in DNS; if it is there, the domain is proven, and served from then on. The record may then go.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/domains/{domain}/verify", operation_id = "verify_domain",
    tag = "domains", params(TenantPath, ("domain" = String, Path, description = "Id (`dom_…`)"), Wait),
    responses((status = 200, description = "Proven", body = Domain), Problems),
    security(("token" = ["domains:write"])))]
pub async fn verify(
    caller: InTenant<DomainsWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<DomainId>,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let gateway = &core.config.urls.gateway;
    // No database connection is held while DNS is asked.
    let claimed = queries::get(&mut core.store.tenant(caller.tenant).await?, gateway, id).await?;
    // Once proven it needs no record, and nothing changes.
    if claimed.proven_at.is_some() {
        return Ok(Reply::resource(&claimed)?.into_response());
    }
    let texts = core.dns.texts(caller.tenant, &claimed.record.name, &*core.entropy).await?;
    if !admission::proves(&claimed, &texts) {
        return Err(ApiError::DomainUnproven);
    }
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    // Its name and its token never change; it may be gone.
    let present = queries::lock(&mut tx, gateway, id).await?;
    if present.proven_at.is_none() {
        let proven = queries::prove(&mut tx, id, core.clock.now().to_offset()).await;
        proven.map_err(|error| match error {
            StoreError::Conflict(_) => ApiError::DomainTaken,
            error => error.into(),
        })?;
    }
    let domain = queries::get(&mut tx, gateway, id).await?;
    let published = commit(tx, &core, &caller.act("verify_domain", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::resource(&domain)?).await
}

/// Deletes a domain: it is served no longer, and free for whoever proves it next.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/domains/{domain}", operation_id = "delete_domain",
    tag = "domains", params(TenantPath, IfMatch, ("domain" = String, Path, description = "Id (`dom_…`)"), Wait),
    responses((status = 204, description = "Deleted"), Problems), security(("token" = ["domains:write"])))]
pub async fn delete(
    caller: InTenant<DomainsWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<DomainId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    if_match.check(&queries::lock(&mut tx, &core.config.urls.gateway, id).await?)?;
    queries::delete(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("delete_domain", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}
