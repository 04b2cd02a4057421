//! `/v1/tenants/{tenant}/invitations`.

use std::time::Duration;

use ids::InvitationId;

use super::{
    queries,
    types::{Invitation, InvitationMade, InvitationNew},
};
use crate::{
    http::{page::PageQuery, prelude::*},
    people::invitation::Secret,
    publish::commit::commit_unpublished,
    resources::members::routes::{may_make, may_touch},
};

/// How long an invitation is good.
const GOOD_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Members and invitations of a tenant.
const MOST: i64 = 10_000;

/// Invitations that nobody has accepted, expired ones too, in order of creation.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/invitations", operation_id = "list_invitations", tag = "members",
    params(TenantPath, PageQuery), responses((status = 200, description = "A page", body = Page<Invitation>), Problems),
    security(("token" = ["members:read"])))]
pub async fn list(
    caller: InTenant<MembersRead>,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    let invitations = queries::list(&mut tx, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, invitations, |invitation| invitation.id)
}

/// Invites a person. The link by which they join is in this answer and nowhere else; it is good once, for seven days, and to be
/// brought to them by whoever invites. It ends sooner when who has made it may invite no more.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/invitations", operation_id = "create_invitation", tag = "members",
    params(TenantPath), request_body = InvitationNew,
    responses((status = 201, description = "Made", body = InvitationMade), Problems),
    security(("token" = ["members:write"])))]
pub async fn create(
    caller: InTenant<MembersWrite>,
    State(core): State<Core>,
    Json(InvitationNew { email, admin_role }): Json<InvitationNew>,
) -> Result<Reply, ApiError> {
    may_make(&caller, admin_role)?;
    if admin_role.administers() {
        caller.caller.just_signed_in(&core)?;
    }
    let now = core.clock.now();
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    if queries::is_member(&mut tx, &email).await? {
        return Err(ApiError::Conflict("the person is a member"));
    }
    if queries::count(&mut tx, now.to_offset()).await? >= MOST {
        return Err(ApiError::Conflict("the tenant has ten thousand members and invitations; remove some"));
    }
    let secret = Secret::new(&core);
    let made = Invitation {
        id: InvitationId::from_parts(now.millis(), core.entropy.bytes()),
        email,
        admin_role,
        created_at: now.to_offset(),
        expires_at: now.plus(GOOD_FOR).to_offset(),
    };
    let act = caller.act("create_invitation", format!("{} {} {}", made.id, made.email, admin_role.name()));
    queries::insert(&mut tx, &made, &secret.digest(), &act.actor.to_string()).await?;
    commit_unpublished(tx, &core, &act).await?;
    Reply::secret(&InvitationMade { made, link: secret.link(&core) }, "link")
}

/// An invitation.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/invitations/{invitation}", operation_id = "get_invitation", tag = "members",
    params(TenantPath, ("invitation" = String, Path, description = "Id (`inv_…`)")),
    responses((status = 200, description = "The invitation", body = Invitation), Problems),
    security(("token" = ["members:read"])))]
pub async fn get(
    caller: InTenant<MembersRead>,
    State(core): State<Core>,
    OfPath(id): OfPath<InvitationId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    Reply::resource(&queries::get(&mut tx, id).await?)
}

/// Withdraws an invitation: its link is good no more.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/invitations/{invitation}", operation_id = "delete_invitation",
    tag = "members", params(TenantPath, IfMatch, ("invitation" = String, Path, description = "Id (`inv_…`)")),
    responses((status = 204, description = "Withdrawn"), Problems), security(("token" = ["members:write"])))]
pub async fn delete(
    caller: InTenant<MembersWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<InvitationId>,
    if_match: IfMatch,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let invitation = queries::get(&mut tx, id).await?;
    if_match.check(&invitation)?;
    may_touch(&caller, invitation.admin_role)?;
    queries::delete(&mut tx, id).await?;
    commit_unpublished(tx, &core, &caller.act("delete_invitation", id)).await?;
    Ok(Reply::nothing())
}
