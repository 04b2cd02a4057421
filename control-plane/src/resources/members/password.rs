//! `/v1/tenants/{tenant}/members/{member}/password-reset`: how a member gets a password again who has lost theirs.

use std::time::Duration;

use ids::{InvitationId, MemberId};

use super::{queries, routes::may_touch, types::PasswordReset};
use crate::{
    http::prelude::*, people::invitation::Secret, publish::commit::commit_unpublished, resources::invitations,
};

/// How long a link is good.
const GOOD_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// Makes a link by which the member chooses another password, good once and for a day; it ends the one before, and is to be brought to
/// them by whoever makes it. Nothing changes until it is used. Then all that they had signed in to for this tenant ends, and what was
/// given to clients for them. If their account is a member of other tenants as well, they get one of their own here: no tenant
/// changes a password that is good elsewhere. Only an owner, and who may all that an owner may, makes one.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/members/{member}/password-reset", operation_id = "create_password_reset",
    tag = "members", params(TenantPath, ("member" = String, Path, description = "Id (`mem_…`)")),
    responses((status = 201, description = "Made", body = PasswordReset), Problems), security(("token" = ["members:write"])))]
pub async fn create(
    caller: InTenant<MembersWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<MemberId>,
) -> Result<Reply, ApiError> {
    if !caller.may_give("*") {
        return Err(ApiError::Forbidden { scope: "*" });
    }
    caller.caller.just_signed_in(&core)?;
    let now = core.clock.now();
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let member = queries::lock(&mut tx, id).await?;
    may_touch(&caller, member.settings.admin_role)?;
    let secret = Secret::new(&core);
    let expires_at = now.plus(GOOD_FOR).to_offset();
    let link = InvitationId::from_parts(now.millis(), core.entropy.bytes());
    let act = caller.act("create_password_reset", id);
    let times = (now.to_offset(), expires_at);
    invitations::again(&mut tx, link, &member, (&secret.digest(), &act.actor.to_string()), times).await?;
    commit_unpublished(tx, &core, &act).await?;
    Reply::secret(&PasswordReset { link: secret.link(&core), expires_at }, "link")
}
