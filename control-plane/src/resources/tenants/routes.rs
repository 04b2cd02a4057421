//! `/v1/tenants`.

use http::StatusCode;
use ids::TenantId;

use super::{
    queries,
    types::{Tenant, TenantNew, TenantSettings},
};
use crate::{
    data_keys,
    db::OperatorTx,
    http::{page::PageQuery, prelude::*},
    people,
    publish::commit::{commit, commit_operator},
};

/// All tenants, in order of creation.
#[utoipa::path(get, path = "/v1/tenants", operation_id = "list_tenants", tag = "tenants", params(PageQuery),
    responses((status = 200, description = "A page", body = Page<Tenant>), Problems),
    security(("token" = ["operator"])))]
pub async fn list(
    _operator: Operator,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.operator().await?;
    let tenants = queries::list(&mut tx, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, tenants, |tenant| tenant.id)
}

/// Makes a tenant.
#[utoipa::path(post, path = "/v1/tenants", operation_id = "create_tenant", tag = "tenants", params(Wait),
    request_body = TenantNew, responses((status = 201, description = "Made", body = Tenant), Problems),
    security(("token" = ["operator"])))]
pub async fn create(
    operator: Operator,
    State(core): State<Core>,
    Query(wait): Query<Wait>,
    Json(new): Json<TenantNew>,
) -> Result<Response, ApiError> {
    let (slug, settings) = new.split();
    let rules = settings.rules()?;
    let now = core.clock.now();
    let id = TenantId::from_parts(now.millis(), core.entropy.bytes());
    let mut tx = core.store.operator().await?;
    let pool = pool(&mut tx, &settings).await?;
    queries::insert(&mut tx, id, slug.as_str(), &settings, pool, now.to_offset()).await?;
    queries::set_egress(&mut tx, id, &rules).await?;
    data_keys::create(&mut tx, &core, id).await?;
    let tenant = queries::get(&mut tx, id).await?;
    let published = commit(tx.enter(id).await?, &core, &operator.act("create_tenant", id)).await?;
    Written::new(id, published).answer(&core, &wait, Reply::with(StatusCode::CREATED, &tenant)?).await
}

/// A tenant.
#[utoipa::path(get, path = "/v1/tenants/{tenant}", operation_id = "get_tenant", tag = "tenants", params(TenantPath),
    responses((status = 200, description = "The tenant", body = Tenant), Problems),
    security(("token" = ["tenant:read"])))]
pub async fn get(caller: InTenant<TenantRead>, State(core): State<Core>) -> Result<Reply, ApiError> {
    let mut tx = core.store.operator().await?;
    Reply::resource(&queries::get(&mut tx, caller.tenant).await?)
}

/// Changes a tenant. A tenant's own tokens change `max_stale_seconds` and nothing else.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}", operation_id = "update_tenant", tag = "tenants",
    params(TenantPath, IfMatch, Wait), request_body(content = TenantSettings, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "Changed", body = Tenant), Problems),
    security(("token" = ["tenant:write"])))]
pub async fn update(
    caller: InTenant<TenantWrite>,
    State(core): State<Core>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
    patch: MergePatch,
) -> Result<Response, ApiError> {
    let id = caller.tenant;
    let mut tx = core.store.operator().await?;
    let present = queries::lock(&mut tx, id).await?;
    if_match.check(&present)?;
    let settings: TenantSettings = patch.apply(&present.settings)?;
    if !caller.is_operator() && !settings.is_tenants_change_of(&present.settings) {
        return Err(ApiError::Forbidden { scope: OperatorOnly::NAME });
    }
    let rules = settings.rules()?;
    let pool = pool(&mut tx, &settings).await?;
    queries::update(&mut tx, id, &settings, pool, core.clock.now().to_offset()).await?;
    queries::set_egress(&mut tx, id, &rules).await?;
    let tenant = queries::get(&mut tx, id).await?;
    let published = commit(tx.enter(id).await?, &core, &caller.act("update_tenant", id)).await?;
    Written::new(id, published).answer(&core, &wait, Reply::resource(&tenant)?).await
}

/// Deletes a tenant with everything it has, its audit log excepted. Accounts of people who are members of other tenants stay, at
/// home in the one that they joined first.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}", operation_id = "delete_tenant", tag = "tenants",
    params(TenantPath, IfMatch), responses((status = 204, description = "Deleted"), Problems),
    security(("token" = ["operator"])))]
pub async fn delete(
    caller: InTenant<OperatorOnly>,
    State(core): State<Core>,
    if_match: IfMatch,
) -> Result<Reply, ApiError> {
    let id = caller.tenant;
    let mut tx = core.store.operator().await?;
    if_match.check(&queries::lock(&mut tx, id).await?)?;
    let mut people = tx.meet_people().await?;
    people::homeless(&mut people, id).await?;
    let mut tx = people.become_operator().await?;
    queries::delete(&mut tx, id).await?;
    commit_operator(tx, &core, &caller.act("delete_tenant", id), Some(id)).await?;
    Ok(Reply::nothing())
}

async fn pool(tx: &mut OperatorTx, settings: &TenantSettings) -> Result<ids::Uuid, ApiError> {
    let pool = queries::pool_by_slug(tx, &settings.pool).await?;
    pool.ok_or_else(|| ApiError::invalid("/pool", "no such pool"))
}
