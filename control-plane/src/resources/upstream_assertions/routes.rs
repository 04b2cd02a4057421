//! `/v1/tenants/{tenant}/upstreams/{upstream}/assertion`.

use ids::UpstreamId;
use wire::snapshot::MAX_URL;

use super::{
    queries,
    types::{UpstreamAssertion, UpstreamAssertionSettings},
};
use crate::{
    assertions::{self, keys},
    db::TenantTx,
    http::prelude::*,
    publish::commit::commit,
    resources::upstreams,
};

/// What is asserted to the upstream; 404 where nothing is.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/upstreams/{upstream}/assertion", operation_id = "get_upstream_assertion",
    tag = "upstreams", params(TenantPath, ("upstream" = String, Path, description = "Id (`ups_…`)")),
    responses((status = 200, description = "What", body = UpstreamAssertion), Problems),
    security(("token" = ["upstreams:read"])))]
pub async fn get(
    caller: InTenant<UpstreamsRead>,
    State(core): State<Core>,
    OfPath(upstream): OfPath<UpstreamId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    Reply::resource(&shown(&mut tx, &core, upstream).await?)
}

/// Has every request to the upstream vouched for. The tenant's first key is made for it.
#[utoipa::path(put, path = "/v1/tenants/{tenant}/upstreams/{upstream}/assertion", operation_id = "replace_upstream_assertion",
    tag = "upstreams", params(TenantPath, ("upstream" = String, Path, description = "Id (`ups_…`)"), Wait),
    request_body = UpstreamAssertionSettings, responses((status = 200, description = "So it is", body = UpstreamAssertion), Problems),
    security(("token" = ["upstreams:write"])))]
pub async fn replace(
    caller: InTenant<UpstreamsWrite>,
    State(core): State<Core>,
    OfPath(upstream): OfPath<UpstreamId>,
    Query(wait): Query<Wait>,
    Json(settings): Json<UpstreamAssertionSettings>,
) -> Result<Response, ApiError> {
    if let Some(audience) = &settings.audience
        && !((1..=MAX_URL).contains(&audience.len()) && audience.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        return Err(ApiError::invalid("/audience", "must be 1 to 2048 visible ASCII characters"));
    }
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    upstreams::lock(&mut tx, upstream).await?;
    keys::ensure(&mut tx, &core).await?;
    queries::replace(&mut tx, upstream, &settings, core.clock.now().to_offset()).await?;
    let shown = shown(&mut tx, &core, upstream).await?;
    let published = commit(tx, &core, &caller.act("replace_upstream_assertion", upstream)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::resource(&shown)?).await
}

/// Ends that. A server that demands assertions refuses the gateway from then on.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/upstreams/{upstream}/assertion", operation_id = "delete_upstream_assertion",
    tag = "upstreams", params(TenantPath, IfMatch, ("upstream" = String, Path, description = "Id (`ups_…`)"), Wait),
    responses((status = 204, description = "Deleted"), Problems), security(("token" = ["upstreams:write"])))]
pub async fn delete(
    caller: InTenant<UpstreamsWrite>,
    State(core): State<Core>,
    OfPath(upstream): OfPath<UpstreamId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    upstreams::lock(&mut tx, upstream).await?;
    if_match.check(&shown(&mut tx, &core, upstream).await?)?;
    queries::delete(&mut tx, upstream).await?;
    let published = commit(tx, &core, &caller.act("delete_upstream_assertion", upstream)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}

async fn shown(tx: &mut TenantTx, core: &Core, upstream: UpstreamId) -> Result<UpstreamAssertion, ApiError> {
    let (settings, updated_at) = queries::get(tx, upstream).await?;
    let (auth, slug) = (&core.config.urls.auth, queries::slug(tx).await?);
    let (issuer, jwks_uri) = (assertions::issuer(auth, &slug), assertions::key_set(auth, &slug));
    Ok(UpstreamAssertion { settings, issuer, jwks_uri, updated_at })
}
