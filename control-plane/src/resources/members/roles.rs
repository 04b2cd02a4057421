//! `/v1/tenants/{tenant}/members/{member}/roles`: what a member's agents may call.

use ids::{MemberId, RoleId};

use super::{queries, routes::may_touch};
use crate::{
    http::{page::PageQuery, prelude::*},
    publish::commit::commit,
    resources::roles::types::Role,
};

/// The roles a member has.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/members/{member}/roles", operation_id = "list_member_roles",
    tag = "members", params(TenantPath, ("member" = String, Path, description = "Id (`mem_…`)"), PageQuery),
    responses((status = 200, description = "A page", body = Page<Role>), Problems),
    security(("token" = ["members:read"])))]
pub async fn list(
    caller: InTenant<MembersRead>,
    State(core): State<Core>,
    OfPath(member): OfPath<MemberId>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    queries::get(&mut tx, member).await?;
    let roles = queries::roles(&mut tx, member, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, roles, |role| role.id)
}

/// Gives a member a role. Giving it again changes nothing.
#[utoipa::path(put, path = "/v1/tenants/{tenant}/members/{member}/roles/{role}", operation_id = "assign_member_role",
    tag = "members", params(TenantPath, ("member" = String, Path, description = "Id (`mem_…`)"),
        ("role" = String, Path, description = "Id (`rol_…`)"), Wait),
    responses((status = 204, description = "The member has the role"), Problems),
    security(("token" = ["members:write"])))]
pub async fn assign(
    caller: InTenant<MembersWrite>,
    State(core): State<Core>,
    OfPath(member): OfPath<MemberId>,
    OfPath(role): OfPath<RoleId>,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    may_touch(&caller, queries::lock(&mut tx, member).await?.settings.admin_role)?;
    queries::assign(&mut tx, member, role, core.clock.now().to_offset()).await?;
    let published = commit(tx, &core, &caller.act("assign_member_role", format!("{member} {role}"))).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}

/// Takes a role from a member.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/members/{member}/roles/{role}",
    operation_id = "unassign_member_role", tag = "members",
    params(TenantPath, ("member" = String, Path, description = "Id (`mem_…`)"),
        ("role" = String, Path, description = "Id (`rol_…`)"), Wait),
    responses((status = 204, description = "The member no longer has the role"), Problems),
    security(("token" = ["members:write"])))]
pub async fn unassign(
    caller: InTenant<MembersWrite>,
    State(core): State<Core>,
    OfPath(member): OfPath<MemberId>,
    OfPath(role): OfPath<RoleId>,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    may_touch(&caller, queries::lock(&mut tx, member).await?.settings.admin_role)?;
    if !queries::unassign(&mut tx, member, role).await? {
        return Err(ApiError::NotFound);
    }
    let published =
        commit(tx, &core, &caller.act("unassign_member_role", format!("{member} {role}"))).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}
