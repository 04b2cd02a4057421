//! Invitations: how people become members.

mod queries;
pub mod routes;
pub mod types;

use crate::db::{StoreError, TenantTx};

/// Withdraws what the actor has made: nobody is invited by who may not invite any more.
pub(crate) async fn withdraw_of(tx: &mut TenantTx, actor: &str) -> Result<(), StoreError> {
    queries::withdraw_of(tx, actor).await
}
