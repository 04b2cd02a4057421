//! `/v1/tenants/{tenant}/upstreams`.

use http::StatusCode;
use ids::UpstreamId;

use super::{
    admission, queries,
    types::{Upstream, UpstreamNew, UpstreamSettings},
};
use crate::{
    fleet::commands,
    http::{page::PageQuery, prelude::*},
    publish::commit::commit,
};

/// All upstreams, in order of creation.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/upstreams", operation_id = "list_upstreams", tag = "upstreams",
    params(TenantPath, PageQuery), responses((status = 200, description = "A page", body = Page<Upstream>), Problems),
    security(("token" = ["upstreams:read"])))]
pub async fn list(
    caller: InTenant<UpstreamsRead>,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    let upstreams = queries::list(&mut tx, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, upstreams, |upstream| upstream.id)
}

/// Registers an upstream.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/upstreams", operation_id = "create_upstream", tag = "upstreams",
    params(TenantPath, Wait), request_body = UpstreamNew,
    responses((status = 201, description = "Made", body = Upstream), Problems),
    security(("token" = ["upstreams:write"])))]
pub async fn create(
    caller: InTenant<UpstreamsWrite>,
    State(core): State<Core>,
    Query(wait): Query<Wait>,
    Json(new): Json<UpstreamNew>,
) -> Result<Response, ApiError> {
    let (slug, settings) = new.split();
    let now = core.clock.now();
    let id = UpstreamId::from_parts(now.millis(), core.entropy.bytes());
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    admission::check(&settings, &queries::egress_rules(&mut tx).await?)?;
    queries::insert(&mut tx, id, slug.as_str(), &settings, now.to_offset()).await?;
    commands::enqueue(&mut tx, id, &*core.clock, &*core.entropy).await?;
    let upstream = queries::get(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("create_upstream", id)).await?;
    Written::new(caller.tenant, published)
        .answer(&core, &wait, Reply::with(StatusCode::CREATED, &upstream)?)
        .await
}

/// An upstream.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/upstreams/{upstream}", operation_id = "get_upstream", tag = "upstreams",
    params(TenantPath, ("upstream" = String, Path, description = "Id (`ups_…`)")),
    responses((status = 200, description = "The upstream", body = Upstream), Problems),
    security(("token" = ["upstreams:read"])))]
pub async fn get(
    caller: InTenant<UpstreamsRead>,
    State(core): State<Core>,
    OfPath(id): OfPath<UpstreamId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    Reply::resource(&queries::get(&mut tx, id).await?)
}

/// Changes an upstream.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}/upstreams/{upstream}", operation_id = "update_upstream",
    tag = "upstreams", params(TenantPath, IfMatch, ("upstream" = String, Path, description = "Id (`ups_…`)"), Wait),
    request_body(content = UpstreamSettings, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "Changed", body = Upstream), Problems),
    security(("token" = ["upstreams:write"])))]
pub async fn update(
    caller: InTenant<UpstreamsWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<UpstreamId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
    patch: MergePatch,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let present = queries::lock(&mut tx, id).await?;
    if_match.check(&present)?;
    let settings = patch.apply(&present.settings)?;
    admission::check(&settings, &queries::egress_rules(&mut tx).await?)?;
    queries::update(&mut tx, id, &settings, core.clock.now().to_offset()).await?;
    // Another address may have other tools.
    if settings.url != present.settings.url {
        commands::enqueue(&mut tx, id, &*core.clock, &*core.entropy).await?;
    }
    let upstream = queries::get(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("update_upstream", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::resource(&upstream)?).await
}

/// Deletes an upstream with its tools and credentials. It must not be attached to an endpoint.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/upstreams/{upstream}", operation_id = "delete_upstream",
    tag = "upstreams", params(TenantPath, IfMatch, ("upstream" = String, Path, description = "Id (`ups_…`)"), Wait),
    responses((status = 204, description = "Deleted"), Problems), security(("token" = ["upstreams:write"])))]
pub async fn delete(
    caller: InTenant<UpstreamsWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<UpstreamId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    if_match.check(&queries::lock(&mut tx, id).await?)?;
    queries::delete(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("delete_upstream", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}
