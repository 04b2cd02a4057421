//! Admin tokens: automation's credentials for one tenant's part of the API.

mod queries;
pub mod routes;
pub mod types;

use time::OffsetDateTime;

use crate::{
    db::{StoreError, TenantTx},
    resources::invitations,
};

/// Ends what somebody has made who may not administer any more as they could: their tokens and invitations, and what was made with
/// these tokens in turn.
pub(crate) async fn end_of(tx: &mut TenantTx, maker: &str, now: OffsetDateTime) -> Result<(), StoreError> {
    let mut makers = vec![maker.to_owned()];
    while let Some(maker) = makers.pop() {
        invitations::withdraw_of(tx, &maker).await?;
        // Each is revoked once, so that this ends.
        makers.extend(queries::revoke_of(tx, &maker, now).await?.iter().map(ToString::to_string));
    }
    Ok(())
}
