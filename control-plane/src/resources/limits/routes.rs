//! `/v1/tenants/{tenant}/limits`.

use http::StatusCode;
use ids::LimitId;

use super::{
    queries,
    types::{Limit, LimitNew, LimitSettings},
};
use crate::{
    http::{page::PageQuery, prelude::*},
    publish::commit::commit,
};

/// All limits, in order of creation. A tenant without one for `every_client` gives each client 60 units a minute.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/limits", operation_id = "list_limits", tag = "limits",
    params(TenantPath, PageQuery), responses((status = 200, description = "A page", body = Page<Limit>), Problems),
    security(("token" = ["limits:read"])))]
pub async fn list(
    caller: InTenant<LimitsRead>,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    let limits = queries::list(&mut tx, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, limits, |limit| limit.id)
}

/// Makes a limit. There is at most one for each subject.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/limits", operation_id = "create_limit", tag = "limits",
    params(TenantPath, Wait), request_body = LimitNew,
    responses((status = 201, description = "Made", body = Limit), Problems),
    security(("token" = ["limits:write"])))]
pub async fn create(
    caller: InTenant<LimitsWrite>,
    State(core): State<Core>,
    Query(wait): Query<Wait>,
    Json(new): Json<LimitNew>,
) -> Result<Response, ApiError> {
    let (subject, settings) = new.split()?;
    settings.check()?;
    let now = core.clock.now();
    let id = LimitId::from_parts(now.millis(), core.entropy.bytes());
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    if !queries::subject_exists(&mut tx, subject).await? {
        let (pointer, message) = subject.unknown();
        return Err(ApiError::invalid(pointer, message));
    }
    queries::insert(&mut tx, id, subject, &settings, now.to_offset()).await?;
    let limit = queries::get(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("create_limit", id)).await?;
    Written::new(caller.tenant, published)
        .answer(&core, &wait, Reply::with(StatusCode::CREATED, &limit)?)
        .await
}

/// A limit.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/limits/{limit}", operation_id = "get_limit", tag = "limits",
    params(TenantPath, ("limit" = String, Path, description = "Id (`lim_…`)")),
    responses((status = 200, description = "The limit", body = Limit), Problems),
    security(("token" = ["limits:read"])))]
pub async fn get(
    caller: InTenant<LimitsRead>,
    State(core): State<Core>,
    OfPath(id): OfPath<LimitId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    Reply::resource(&queries::get(&mut tx, id).await?)
}

/// Changes a limit. What it counts never changes.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}/limits/{limit}", operation_id = "update_limit", tag = "limits",
    params(TenantPath, IfMatch, ("limit" = String, Path, description = "Id (`lim_…`)"), Wait),
    request_body(content = LimitSettings, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "Changed", body = Limit), Problems),
    security(("token" = ["limits:write"])))]
pub async fn update(
    caller: InTenant<LimitsWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<LimitId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
    patch: MergePatch,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let present = queries::lock(&mut tx, id).await?;
    if_match.check(&present)?;
    let settings = patch.apply(&present.settings)?;
    settings.check()?;
    queries::update(&mut tx, id, &settings, core.clock.now().to_offset()).await?;
    let limit = queries::get(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("update_limit", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::resource(&limit)?).await
}

/// Deletes a limit.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/limits/{limit}", operation_id = "delete_limit", tag = "limits",
    params(TenantPath, IfMatch, ("limit" = String, Path, description = "Id (`lim_…`)"), Wait),
    responses((status = 204, description = "Deleted"), Problems), security(("token" = ["limits:write"])))]
pub async fn delete(
    caller: InTenant<LimitsWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<LimitId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    if_match.check(&queries::lock(&mut tx, id).await?)?;
    queries::delete(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("delete_limit", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}
