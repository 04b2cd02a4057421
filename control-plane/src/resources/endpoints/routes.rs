//! `/v1/tenants/{tenant}/endpoints`.

use http::StatusCode;
use ids::EndpointId;

use super::{
    queries,
    types::{Endpoint, EndpointNew, EndpointSettings},
};
use crate::{
    db::TenantTx,
    http::{page::PageQuery, prelude::*},
    publish::{commit::commit, rows::CredentialKind},
    resources::{
        client_authorities::queries as client_authorities, external_issuers::queries as external_issuers,
    },
};

/// All endpoints, in order of creation.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/endpoints", operation_id = "list_endpoints", tag = "endpoints",
    params(TenantPath, PageQuery), responses((status = 200, description = "A page", body = Page<Endpoint>), Problems),
    security(("token" = ["endpoints:read"])))]
pub async fn list(
    caller: InTenant<EndpointsRead>,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    let gateway = &core.config.urls.gateway;
    let endpoints = queries::list(&mut tx, gateway, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, endpoints, |endpoint| endpoint.id)
}

/// Publishes an endpoint.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/endpoints", operation_id = "create_endpoint", tag = "endpoints",
    params(TenantPath, Wait), request_body = EndpointNew,
    responses((status = 201, description = "Made", body = Endpoint), Problems),
    security(("token" = ["endpoints:write"])))]
pub async fn create(
    caller: InTenant<EndpointsWrite>,
    State(core): State<Core>,
    Query(wait): Query<Wait>,
    Json(new): Json<EndpointNew>,
) -> Result<Response, ApiError> {
    let (slug, settings) = new.split();
    check(&settings)?;
    let now = core.clock.now();
    let id = EndpointId::from_parts(now.millis(), core.entropy.bytes());
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    check_named(&mut tx, &settings).await?;
    queries::insert(&mut tx, id, slug.as_str(), &settings, now.to_offset()).await?;
    let endpoint = queries::get(&mut tx, &core.config.urls.gateway, id).await?;
    let published = commit(tx, &core, &caller.act("create_endpoint", id)).await?;
    warn_of_weak(&caller, &endpoint);
    Written::new(caller.tenant, published)
        .answer(&core, &wait, Reply::with(StatusCode::CREATED, &endpoint)?)
        .await
}

/// An endpoint.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/endpoints/{endpoint}", operation_id = "get_endpoint", tag = "endpoints",
    params(TenantPath, ("endpoint" = String, Path, description = "Id (`ep_…`)")),
    responses((status = 200, description = "The endpoint", body = Endpoint), Problems),
    security(("token" = ["endpoints:read"])))]
pub async fn get(
    caller: InTenant<EndpointsRead>,
    State(core): State<Core>,
    OfPath(id): OfPath<EndpointId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    Reply::resource(&queries::get(&mut tx, &core.config.urls.gateway, id).await?)
}

/// Changes an endpoint.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}/endpoints/{endpoint}", operation_id = "update_endpoint",
    tag = "endpoints", params(TenantPath, IfMatch, ("endpoint" = String, Path, description = "Id (`ep_…`)"), Wait),
    request_body(content = EndpointSettings, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "Changed", body = Endpoint), Problems),
    security(("token" = ["endpoints:write"])))]
pub async fn update(
    caller: InTenant<EndpointsWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<EndpointId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
    patch: MergePatch,
) -> Result<Response, ApiError> {
    let gateway = &core.config.urls.gateway;
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let present = queries::lock(&mut tx, gateway, id).await?;
    if_match.check(&present)?;
    let settings = patch.apply(&present.settings)?;
    check(&settings)?;
    check_named(&mut tx, &settings).await?;
    queries::update(&mut tx, id, &settings, core.clock.now().to_offset()).await?;
    let endpoint = queries::get(&mut tx, gateway, id).await?;
    let published = commit(tx, &core, &caller.act("update_endpoint", id)).await?;
    if endpoint.weak != present.weak {
        warn_of_weak(&caller, &endpoint);
    }
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::resource(&endpoint)?).await
}

/// Deletes an endpoint. Its upstreams and clients stay.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/endpoints/{endpoint}", operation_id = "delete_endpoint",
    tag = "endpoints", params(TenantPath, IfMatch, ("endpoint" = String, Path, description = "Id (`ep_…`)"), Wait),
    responses((status = 204, description = "Deleted"), Problems), security(("token" = ["endpoints:write"])))]
pub async fn delete(
    caller: InTenant<EndpointsWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<EndpointId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    if_match.check(&queries::lock(&mut tx, &core.config.urls.gateway, id).await?)?;
    queries::delete(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("delete_endpoint", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}

async fn check_named(tx: &mut TenantTx, settings: &EndpointSettings) -> Result<(), ApiError> {
    if let Some(place) = external_issuers::missing(tx, &settings.external_issuers).await? {
        return Err(ApiError::invalid(format!("/external_issuers/{place}"), "no such external issuer"));
    }
    if let Some(place) = client_authorities::missing(tx, &settings.client_authorities).await? {
        return Err(ApiError::invalid(format!("/client_authorities/{place}"), "no such client authority"));
    }
    Ok(())
}

/// What is weak is said where operators look, too.
fn warn_of_weak(caller: &InTenant<EndpointsWrite>, endpoint: &Endpoint) {
    for kind in &endpoint.weak {
        let (kind, endpoint) = (kind.name(), endpoint.id);
        tracing::warn!(tenant.id = %caller.tenant, endpoint.id = %endpoint, credential.kind = kind, "endpoint accepts weak credentials");
    }
}

/// The compiler checks the rest; these would not fit the database.
fn check(settings: &EndpointSettings) -> Result<(), ApiError> {
    let mut errors = Vec::new();
    let bytes = [
        ("/max_request_bytes", settings.max_request_bytes),
        ("/max_response_bytes", settings.max_response_bytes),
    ];
    for (pointer, value) in bytes {
        if !(1024..=64 * 1024 * 1024).contains(&value) {
            let message = "must be 1024 to 67108864".to_owned();
            errors.push(FieldError { pointer: pointer.to_owned(), message });
        }
    }
    if settings.accepts.is_empty() {
        let message = "nobody could call it; to switch it off, set `enabled` to false".to_owned();
        errors.push(FieldError { pointer: "/accepts".to_owned(), message });
    }
    let named = &settings.external_issuers;
    let twice = named.iter().enumerate().any(|(place, one)| named[..place].contains(one));
    if named.len() > 16 || twice {
        let message = "must be at most 16, each once".to_owned();
        errors.push(FieldError { pointer: "/external_issuers".to_owned(), message });
    }
    if settings.accepts.contains(&CredentialKind::ExternalToken) && named.is_empty() {
        let message = "whose tokens? Name one at least where `external_token` is accepted".to_owned();
        errors.push(FieldError { pointer: "/external_issuers".to_owned(), message });
    }
    let named = &settings.client_authorities;
    let twice = named.iter().enumerate().any(|(place, one)| named[..place].contains(one));
    if named.len() > 16 || twice {
        let message = "must be at most 16, each once".to_owned();
        errors.push(FieldError { pointer: "/client_authorities".to_owned(), message });
    }
    if settings.accepts.contains(&CredentialKind::ClientCertificate) && named.is_empty() {
        let message =
            "whose certificates? Name one at least where `client_certificate` is accepted".to_owned();
        errors.push(FieldError { pointer: "/client_authorities".to_owned(), message });
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::Invalid(errors)) }
}
