//! `client_exchanges`: which clients may exchange tokens.

use ids::ClientId;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::db::{StoreError, TenantTx, Unreadable};

/// Whose tokens a client may exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Subjects {
    /// Those that were given to itself.
    Own,
    /// Members' that were given to other clients of the tenant too.
    Members,
}

impl Subjects {
    const fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Members => "members",
        }
    }
}

/// Whose tokens it may exchange; `None`: nobody's.
pub(crate) async fn allowed(tx: &mut TenantTx, client: ClientId) -> Result<Option<Subjects>, StoreError> {
    let tenant = tx.tenant().uuid();
    let found = sqlx::query_scalar!(
        "SELECT subjects FROM client_exchanges WHERE tenant_id = $1 AND client_id = $2",
        tenant,
        client.uuid()
    );
    let Some(name) = found.fetch_optional(tx.conn()).await? else { return Ok(None) };
    let known = [Subjects::Own, Subjects::Members].into_iter().find(|own| own.name() == name);
    known.map(Some).ok_or(Unreadable("subjects of exchange").into())
}

pub(crate) async fn allow(
    tx: &mut TenantTx,
    client: ClientId,
    subjects: Subjects,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO client_exchanges (tenant_id, client_id, subjects, updated_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (tenant_id, client_id) DO UPDATE SET subjects = $3, updated_at = $4",
        tenant,
        client.uuid(),
        subjects.name(),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Ends it; `NotFound` when it was not allowed.
pub(crate) async fn disallow(tx: &mut TenantTx, client: ClientId) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "DELETE FROM client_exchanges WHERE tenant_id = $1 AND client_id = $2 RETURNING client_id",
        tenant,
        client.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(())
}
