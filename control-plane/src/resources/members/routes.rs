//! `/v1/tenants/{tenant}/members`. People become members by invitation.

use ids::MemberId;

use super::{
    queries,
    types::{AdminRole, Member, MemberSettings},
};
use crate::{
    db::TenantTx,
    http::{page::PageQuery, prelude::*},
    oauth::families,
    people::{self, admin},
    publish::commit::commit_revoking,
    resources::admin_tokens,
};

/// All members, in order of joining.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/members", operation_id = "list_members", tag = "members",
    params(TenantPath, PageQuery), responses((status = 200, description = "A page", body = Page<Member>), Problems),
    security(("token" = ["members:read"])))]
pub async fn list(
    caller: InTenant<MembersRead>,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    let members = queries::list(&mut tx, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, members, |member| member.id)
}

/// A member.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/members/{member}", operation_id = "get_member", tag = "members",
    params(TenantPath, ("member" = String, Path, description = "Id (`mem_…`)")),
    responses((status = 200, description = "The member", body = Member), Problems),
    security(("token" = ["members:read"])))]
pub async fn get(
    caller: InTenant<MembersRead>,
    State(core): State<Core>,
    OfPath(id): OfPath<MemberId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    Reply::resource(&queries::get(&mut tx, id).await?)
}

/// Changes what a member may administer, or switches them off. Nobody makes a member what they may not do themselves, or
/// changes one who is; a tenant's last owner stays one.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}/members/{member}", operation_id = "update_member", tag = "members",
    params(TenantPath, IfMatch, ("member" = String, Path, description = "Id (`mem_…`)"), Wait),
    request_body(content = MemberSettings, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "Changed", body = Member), Problems),
    security(("token" = ["members:write"])))]
pub async fn update(
    caller: InTenant<MembersWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<MemberId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
    patch: MergePatch,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let present = queries::lock(&mut tx, id).await?;
    if_match.check(&present)?;
    let settings = patch.apply(&present.settings)?;
    let (before, after) = (present.settings.admin_role, settings.admin_role);
    may_touch(&caller, before)?;
    if after != before || settings.enabled && !present.settings.enabled {
        may_make(&caller, after)?;
    }
    if (before != after || present.settings.enabled != settings.enabled)
        && (before.administers() || after.administers())
    {
        caller.caller.just_signed_in(&core)?;
    }
    if !settings.is_live_owner() {
        stays_owned(&mut tx, &present).await?;
    }
    let now = core.clock.now();
    queries::update(&mut tx, id, &settings, now.to_offset()).await?;
    if after != before || !settings.enabled {
        admin::end_of_member(&mut tx, id).await?;
        admin_tokens::end_of(&mut tx, &id.to_string(), now.to_offset()).await?;
    }
    // Also for when they are switched on again: what was given for them before stays dead.
    let dead = match present.settings.enabled && !settings.enabled {
        true => Some(families::end_of_member(&mut tx, id, now).await?),
        false => None,
    };
    let member = queries::get(&mut tx, id).await?;
    let published = commit_revoking(tx, &core, &caller.act("update_member", id), dead).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::resource(&member)?).await
}

/// Removes a member. They sign in to nothing of the tenant any more, and what was given to clients for them has ended. Their account
/// goes too, unless it is a member of other tenants: then it is theirs.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/members/{member}", operation_id = "delete_member", tag = "members",
    params(TenantPath, IfMatch, ("member" = String, Path, description = "Id (`mem_…`)"), Wait),
    responses((status = 204, description = "Removed"), Problems), security(("token" = ["members:write"])))]
pub async fn delete(
    caller: InTenant<MembersWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<MemberId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let present = queries::lock(&mut tx, id).await?;
    if_match.check(&present)?;
    may_touch(&caller, present.settings.admin_role)?;
    caller.caller.just_signed_in(&core)?;
    stays_owned(&mut tx, &present).await?;
    let now = core.clock.now();
    admin_tokens::end_of(&mut tx, &id.to_string(), now.to_offset()).await?;
    let dead = families::end_of_member(&mut tx, id, now).await?;
    let account = queries::delete(&mut tx, id).await?;
    let mut outside = tx.leave().await?;
    people::left(&mut outside, account, caller.tenant).await?;
    let tx = outside.enter(caller.tenant).await?;
    let published = commit_revoking(tx, &core, &caller.act("delete_member", id), Some(dead)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}

/// Nobody gives more than they have, nor takes it from who has more.
///
/// # Errors
/// [`ApiError::Forbidden`].
pub(in crate::resources) fn may_touch<S>(caller: &InTenant<S>, role: AdminRole) -> Result<(), ApiError> {
    match role.scopes().iter().find(|scope| !caller.may_give(scope)) {
        Some(scope) => Err(ApiError::Forbidden { scope }),
        None => Ok(()),
    }
}

/// Nobody makes a member of what they may not do themselves, or only for a while.
///
/// # Errors
/// [`ApiError::Forbidden`], and what is wrong with the role.
pub(in crate::resources) fn may_make<S>(caller: &InTenant<S>, role: AdminRole) -> Result<(), ApiError> {
    may_touch(caller, role)?;
    if role.administers() && !caller.may_give_until(None) {
        return Err(ApiError::invalid("/admin_role", "has no end, and your own token has one"));
    }
    Ok(())
}

/// Refuses what would leave the tenant without an owner.
async fn stays_owned(tx: &mut TenantTx, member: &Member) -> Result<(), ApiError> {
    let last = member.settings.is_live_owner() && !queries::has_another_owner(tx, member.id).await?;
    if last { Err(ApiError::LastOwner) } else { Ok(()) }
}
