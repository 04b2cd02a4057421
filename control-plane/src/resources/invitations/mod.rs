//! Invitations: how people become members.

mod queries;
pub mod routes;
pub mod types;

use ids::InvitationId;
use time::OffsetDateTime;

use crate::{
    db::{StoreError, TenantTx},
    resources::members::types::Member,
};

/// The link by which the member chooses another password: there is one at a time.
pub(crate) async fn again(
    tx: &mut TenantTx,
    id: InvitationId,
    member: &Member,
    (digest, made_by): (&[u8; 32], &str),
    times: (OffsetDateTime, OffsetDateTime),
) -> Result<(), StoreError> {
    queries::again(tx, id, member, (digest, made_by), times).await
}

/// Withdraws what the actor has made: nobody is invited by who may not invite any more.
pub(crate) async fn withdraw_of(tx: &mut TenantTx, actor: &str) -> Result<(), StoreError> {
    queries::withdraw_of(tx, actor).await
}
