//! `/v1/tenants/{tenant}/scopes`.

use http::StatusCode;
use ids::{ScopeId, Scopes};

use super::{
    queries,
    types::{Scope, ScopeNew, ScopeSettings},
};
use crate::{
    http::{page::PageQuery, prelude::*},
    publish::commit::commit,
};

/// All scopes, in order of creation.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/scopes", operation_id = "list_scopes", tag = "scopes",
    params(TenantPath, PageQuery), responses((status = 200, description = "A page", body = Page<Scope>), Problems),
    security(("token" = ["grants:read"])))]
pub async fn list(
    caller: InTenant<GrantsRead>,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    let scopes = queries::list(&mut tx, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, scopes, |scope| scope.id)
}

/// Makes a scope: from then on a grant may name it, and clients may ask for it. A tenant has 64 at most.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/scopes", operation_id = "create_scope", tag = "scopes",
    params(TenantPath, Wait), request_body = ScopeNew,
    responses((status = 201, description = "Made", body = Scope), Problems),
    security(("token" = ["grants:write"])))]
pub async fn create(
    caller: InTenant<GrantsWrite>,
    State(core): State<Core>,
    Query(wait): Query<Wait>,
    Json(new): Json<ScopeNew>,
) -> Result<Response, ApiError> {
    let now = core.clock.now();
    let id = ScopeId::from_parts(now.millis(), core.entropy.bytes());
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    if usize::try_from(queries::count(&mut tx).await?).unwrap_or(usize::MAX) >= Scopes::MOST {
        return Err(ApiError::Conflict("the tenant has 64 scopes; delete one that no grant names"));
    }
    queries::insert(&mut tx, id, &new, now.to_offset()).await?;
    let scope = queries::get(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("create_scope", id)).await?;
    Written::new(caller.tenant, published)
        .answer(&core, &wait, Reply::with(StatusCode::CREATED, &scope)?)
        .await
}

/// A scope.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/scopes/{scope}", operation_id = "get_scope", tag = "scopes",
    params(TenantPath, ("scope" = String, Path, description = "Id (`scp_…`)")),
    responses((status = 200, description = "The scope", body = Scope), Problems),
    security(("token" = ["grants:read"])))]
pub async fn get(
    caller: InTenant<GrantsRead>,
    State(core): State<Core>,
    OfPath(id): OfPath<ScopeId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    Reply::resource(&queries::get(&mut tx, id).await?)
}

/// Changes a scope. Its name never changes.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}/scopes/{scope}", operation_id = "update_scope", tag = "scopes",
    params(TenantPath, IfMatch, ("scope" = String, Path, description = "Id (`scp_…`)"), Wait),
    request_body(content = ScopeSettings, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "Changed", body = Scope), Problems),
    security(("token" = ["grants:write"])))]
pub async fn update(
    caller: InTenant<GrantsWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<ScopeId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
    patch: MergePatch,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let present = queries::lock(&mut tx, id).await?;
    if_match.check(&present)?;
    let settings = patch.apply(&present.settings)?;
    queries::update(&mut tx, id, &settings, core.clock.now().to_offset()).await?;
    let scope = queries::get(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("update_scope", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::resource(&scope)?).await
}

/// Deletes a scope that no grant names. Tokens that have it keep it, for nothing.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/scopes/{scope}", operation_id = "delete_scope", tag = "scopes",
    params(TenantPath, IfMatch, ("scope" = String, Path, description = "Id (`scp_…`)"), Wait),
    responses((status = 204, description = "Deleted"), Problems), security(("token" = ["grants:write"])))]
pub async fn delete(
    caller: InTenant<GrantsWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<ScopeId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let scope = queries::lock(&mut tx, id).await?;
    if_match.check(&scope)?;
    if queries::is_named(&mut tx, scope.name.as_str()).await? {
        return Err(ApiError::Conflict("a grant names this scope; change the grant first"));
    }
    queries::delete(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("delete_scope", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}
