//! Members of a tenant: people, what they may administer, and which roles their agents have.

mod may;
pub mod password;
mod queries;
pub mod roles;
pub mod routes;
pub mod types;

use ids::{AccountId, InvitationId, MemberId, RoleId};
use time::OffsetDateTime;

use self::types::{AdminRole, MemberSettings};
use crate::{
    db::{StoreError, TenantTx},
    people::{admin, email::Email},
    resources::invitations,
};

/// Takes an invitation that is good, and says what it makes of whom it was for.
pub(crate) async fn take_invitation(
    tx: &mut TenantTx,
    id: InvitationId,
    now: OffsetDateTime,
) -> Result<Option<AdminRole>, StoreError> {
    queries::take_invitation(tx, id, now).await
}

/// Makes the member what a provider says, unless that would leave the tenant without an owner. Whether that was another.
pub(crate) async fn become_admin(
    tx: &mut TenantTx,
    id: MemberId,
    admin_role: AdminRole,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let present = queries::lock(tx, id).await?;
    let last = present.settings.is_live_owner() && !queries::has_another_owner(tx, id).await?;
    if present.settings.admin_role == admin_role || last {
        return Ok(false);
    }
    let settings = MemberSettings { admin_role, ..present.settings };
    queries::update(tx, id, &settings, now).await?;
    admin::end_of_member(tx, id).await?;
    invitations::withdraw_of(tx, &id.to_string()).await?;
    Ok(true)
}

/// Gives the member a role, if there is one, or takes it. Whether that changed anything.
pub(crate) async fn have_role(
    tx: &mut TenantTx,
    id: MemberId,
    role: RoleId,
    wanted: bool,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    if !wanted {
        return queries::unassign(tx, id, role).await;
    }
    if queries::has_role(tx, id, role).await? {
        return Ok(false);
    }
    match queries::assign(tx, id, role, now).await {
        Ok(()) => Ok(true),
        // It is gone.
        Err(StoreError::NotFound) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes a link by which a member is to choose another password: who, and of which account. Holds the member.
pub(crate) async fn take_reset(
    tx: &mut TenantTx,
    id: InvitationId,
    now: OffsetDateTime,
) -> Result<Option<(MemberId, AccountId)>, StoreError> {
    queries::take_reset(tx, id, now).await
}

/// The member is another account's from now on.
pub(crate) async fn change_account(
    tx: &mut TenantTx,
    id: MemberId,
    account: AccountId,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    queries::change_account(tx, id, account, now).await
}

/// A new member. [`StoreError::Conflict`] when they are one.
pub(crate) async fn join(
    tx: &mut TenantTx,
    id: MemberId,
    account: AccountId,
    (email, admin_role): (&Email, AdminRole),
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    queries::insert(tx, id, account, (email, admin_role), now).await
}
