//! `/v1/tenants/{tenant}/grants`.

use http::StatusCode;
use ids::{GrantId, Uuid};

use super::{
    queries,
    types::{Grant, GrantNew, GrantSettings},
};
use crate::{
    db::TenantTx,
    http::{page::PageQuery, prelude::*},
    publish::commit::commit,
    resources::scopes::queries as scopes,
};

/// All grants, in order of creation.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/grants", operation_id = "list_grants", tag = "grants",
    params(TenantPath, PageQuery), responses((status = 200, description = "A page", body = Page<Grant>), Problems),
    security(("token" = ["grants:read"])))]
pub async fn list(
    caller: InTenant<GrantsRead>,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    let grants = queries::list(&mut tx, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, grants, |grant| grant.id)
}

/// Makes a grant.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/grants", operation_id = "create_grant", tag = "grants",
    params(TenantPath, Wait), request_body = GrantNew,
    responses((status = 201, description = "Made", body = Grant), Problems),
    security(("token" = ["grants:write"])))]
pub async fn create(
    caller: InTenant<GrantsWrite>,
    State(core): State<Core>,
    Query(wait): Query<Wait>,
    Json(new): Json<GrantNew>,
) -> Result<Response, ApiError> {
    let GrantNew { subject, effect, scope, actions } = new;
    let settings = GrantSettings { effect, scope, actions };
    let now = core.clock.now();
    let id = GrantId::from_parts(now.millis(), core.entropy.bytes());
    settings.check(id, subject)?;
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    if !queries::subject_exists(&mut tx, subject).await? {
        let (pointer, message) = subject.unknown();
        return Err(ApiError::invalid(pointer, message));
    }
    check_references(&mut tx, &settings).await?;
    queries::insert(&mut tx, id, subject, &settings, now.to_offset()).await?;
    let grant = queries::get(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("create_grant", id)).await?;
    Written::new(caller.tenant, published)
        .answer(&core, &wait, Reply::with(StatusCode::CREATED, &grant)?)
        .await
}

/// A grant.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/grants/{grant}", operation_id = "get_grant", tag = "grants",
    params(TenantPath, ("grant" = String, Path, description = "Id (`gr_…`)")),
    responses((status = 200, description = "The grant", body = Grant), Problems),
    security(("token" = ["grants:read"])))]
pub async fn get(
    caller: InTenant<GrantsRead>,
    State(core): State<Core>,
    OfPath(id): OfPath<GrantId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    Reply::resource(&queries::get(&mut tx, id).await?)
}

/// Changes a grant. Whom it is for never changes.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}/grants/{grant}", operation_id = "update_grant", tag = "grants",
    params(TenantPath, IfMatch, ("grant" = String, Path, description = "Id (`gr_…`)"), Wait),
    request_body(content = GrantSettings, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "Changed", body = Grant), Problems),
    security(("token" = ["grants:write"])))]
pub async fn update(
    caller: InTenant<GrantsWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<GrantId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
    patch: MergePatch,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let present = queries::lock(&mut tx, id).await?;
    if_match.check(&present)?;
    let settings = patch.apply(&present.settings)?;
    settings.check(id, present.subject)?;
    check_references(&mut tx, &settings).await?;
    queries::update(&mut tx, id, &settings, core.clock.now().to_offset()).await?;
    let grant = queries::get(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("update_grant", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::resource(&grant)?).await
}

/// Deletes a grant.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/grants/{grant}", operation_id = "delete_grant", tag = "grants",
    params(TenantPath, IfMatch, ("grant" = String, Path, description = "Id (`gr_…`)"), Wait),
    responses((status = 204, description = "Deleted"), Problems), security(("token" = ["grants:write"])))]
pub async fn delete(
    caller: InTenant<GrantsWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<GrantId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    if_match.check(&queries::lock(&mut tx, id).await?)?;
    queries::delete(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("delete_grant", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}

/// A name may vanish from an upstream later; the upstream itself has to be there when the grant is written, and so does the scope.
pub(super) async fn check_references(tx: &mut TenantTx, settings: &GrantSettings) -> Result<(), ApiError> {
    let wanted: Vec<Uuid> = settings.actions.iter().map(|action| action.upstream().uuid()).collect();
    let known = queries::known_upstreams(tx, &wanted).await?;
    let missing = wanted.iter().enumerate().filter(|(_, id)| !known.contains(id));
    let mut errors: Vec<_> = missing
        .map(|(place, _)| FieldError {
            pointer: format!("/actions/{place}/upstream"),
            message: "no such upstream".to_owned(),
        })
        .collect();
    if let Some(scope) = &settings.scope
        && !scopes::exists(tx, scope).await?
    {
        errors.push(FieldError { pointer: "/scope".to_owned(), message: "no such scope".to_owned() });
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::Invalid(errors)) }
}
