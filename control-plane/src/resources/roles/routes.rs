//! `/v1/tenants/{tenant}/roles` and `/v1/tenants/{tenant}/clients/{client}/roles`.

use http::StatusCode;
use ids::{ClientId, RoleId};

use super::{
    queries,
    types::{Role, RoleSettings},
};
use crate::{
    http::{page::PageQuery, prelude::*},
    publish::commit::commit,
};

/// All roles, in order of creation.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/roles", operation_id = "list_roles", tag = "roles",
    params(TenantPath, PageQuery), responses((status = 200, description = "A page", body = Page<Role>), Problems),
    security(("token" = ["roles:read"])))]
pub async fn list(
    caller: InTenant<RolesRead>,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    let roles = queries::list(&mut tx, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, roles, |role| role.id)
}

/// Makes a role.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/roles", operation_id = "create_role", tag = "roles",
    params(TenantPath, Wait), request_body = RoleSettings,
    responses((status = 201, description = "Made", body = Role), Problems),
    security(("token" = ["roles:write"])))]
pub async fn create(
    caller: InTenant<RolesWrite>,
    State(core): State<Core>,
    Query(wait): Query<Wait>,
    Json(new): Json<RoleSettings>,
) -> Result<Response, ApiError> {
    let now = core.clock.now();
    let id = RoleId::from_parts(now.millis(), core.entropy.bytes());
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    queries::insert(&mut tx, id, &new, now.to_offset()).await?;
    let role = queries::get(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("create_role", id)).await?;
    Written::new(caller.tenant, published)
        .answer(&core, &wait, Reply::with(StatusCode::CREATED, &role)?)
        .await
}

/// A role.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/roles/{role}", operation_id = "get_role", tag = "roles",
    params(TenantPath, ("role" = String, Path, description = "Id (`rol_…`)")),
    responses((status = 200, description = "The role", body = Role), Problems),
    security(("token" = ["roles:read"])))]
pub async fn get(
    caller: InTenant<RolesRead>,
    State(core): State<Core>,
    OfPath(id): OfPath<RoleId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    Reply::resource(&queries::get(&mut tx, id).await?)
}

/// Changes a role.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}/roles/{role}", operation_id = "update_role", tag = "roles",
    params(TenantPath, IfMatch, ("role" = String, Path, description = "Id (`rol_…`)"), Wait),
    request_body(content = RoleSettings, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "Changed", body = Role), Problems),
    security(("token" = ["roles:write"])))]
pub async fn update(
    caller: InTenant<RolesWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<RoleId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
    patch: MergePatch,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let present = queries::lock(&mut tx, id).await?;
    if_match.check(&present)?;
    let settings = patch.apply(&present.settings)?;
    queries::update(&mut tx, id, &settings, core.clock.now().to_offset()).await?;
    let role = queries::get(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("update_role", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::resource(&role)?).await
}

/// Deletes a role with its grants; the clients that had it lose them.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/roles/{role}", operation_id = "delete_role", tag = "roles",
    params(TenantPath, IfMatch, ("role" = String, Path, description = "Id (`rol_…`)"), Wait),
    responses((status = 204, description = "Deleted"), Problems), security(("token" = ["roles:write"])))]
pub async fn delete(
    caller: InTenant<RolesWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<RoleId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    if_match.check(&queries::lock(&mut tx, id).await?)?;
    queries::delete(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("delete_role", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}

/// The roles a client has.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/clients/{client}/roles", operation_id = "list_client_roles",
    tag = "clients", params(TenantPath, ("client" = String, Path, description = "Id (`cl_…`)"), PageQuery),
    responses((status = 200, description = "A page", body = Page<Role>), Problems),
    security(("token" = ["clients:read"])))]
pub async fn of_client(
    caller: InTenant<ClientsRead>,
    State(core): State<Core>,
    OfPath(client): OfPath<ClientId>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    queries::lock_client(&mut tx, client).await?;
    let roles = queries::of_client(&mut tx, client, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, roles, |role| role.id)
}

/// Gives a client a role. Giving it again changes nothing.
#[utoipa::path(put, path = "/v1/tenants/{tenant}/clients/{client}/roles/{role}", operation_id = "assign_client_role",
    tag = "clients", params(TenantPath, ("client" = String, Path, description = "Id (`cl_…`)"),
        ("role" = String, Path, description = "Id (`rol_…`)"), Wait),
    responses((status = 204, description = "The client has the role"), Problems),
    security(("token" = ["clients:write"])))]
pub async fn assign(
    caller: InTenant<ClientsWrite>,
    State(core): State<Core>,
    OfPath(client): OfPath<ClientId>,
    OfPath(role): OfPath<RoleId>,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    queries::lock_client(&mut tx, client).await?;
    queries::lock(&mut tx, role).await?;
    queries::assign(&mut tx, client, role, core.clock.now().to_offset()).await?;
    let published = commit(tx, &core, &caller.act("assign_client_role", format!("{client} {role}"))).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}

/// Takes a role from a client.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/clients/{client}/roles/{role}",
    operation_id = "unassign_client_role", tag = "clients",
    params(TenantPath, ("client" = String, Path, description = "Id (`cl_…`)"),
        ("role" = String, Path, description = "Id (`rol_…`)"), Wait),
    responses((status = 204, description = "The client no longer has the role"), Problems),
    security(("token" = ["clients:write"])))]
pub async fn unassign(
    caller: InTenant<ClientsWrite>,
    State(core): State<Core>,
    OfPath(client): OfPath<ClientId>,
    OfPath(role): OfPath<RoleId>,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    if !queries::unassign(&mut tx, client, role).await? {
        return Err(ApiError::NotFound);
    }
    let published =
        commit(tx, &core, &caller.act("unassign_client_role", format!("{client} {role}"))).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}
