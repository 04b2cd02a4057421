//! Members of a tenant: people, what they may administer, and which roles their agents have.

mod may;
mod queries;
pub mod roles;
pub mod routes;
pub mod types;

use ids::{AccountId, InvitationId, MemberId};
use time::OffsetDateTime;

use self::types::AdminRole;
use crate::{
    db::{StoreError, TenantTx},
    people::email::Email,
};

/// Takes an invitation that is good, and says what it makes of whom it was for.
pub(crate) async fn take_invitation(
    tx: &mut TenantTx,
    id: InvitationId,
    now: OffsetDateTime,
) -> Result<Option<AdminRole>, StoreError> {
    queries::take_invitation(tx, id, now).await
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
