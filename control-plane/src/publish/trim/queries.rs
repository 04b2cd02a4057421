//! Old changes of tenants that do not change.

use ids::Uuid;
use time::OffsetDateTime;

use crate::db::{OperatorTx, StoreError};

/// Tenants with changes older than `before`, at most so many, each held until the transaction ends. Those that are being written
/// are left out: that trims them, and nobody waits for anybody.
pub(super) async fn take_tenants(
    tx: &mut OperatorTx,
    before: OffsetDateTime,
    most: i64,
) -> Result<Vec<Uuid>, StoreError> {
    Ok(sqlx::query_scalar!(
        "SELECT id FROM tenants WHERE id IN (SELECT tenant_id FROM deltas WHERE created_at < $1)
         LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED",
        before,
        most
    )
    .fetch_all(tx.conn())
    .await?)
}

/// Deletes their changes of before; gives how many that were.
pub(super) async fn forget(
    tx: &mut OperatorTx,
    tenants: &[Uuid],
    before: OffsetDateTime,
) -> Result<u64, StoreError> {
    let deleted =
        sqlx::query!("DELETE FROM deltas WHERE tenant_id = ANY ($1) AND created_at < $2", tenants, before)
            .execute(tx.conn())
            .await?;
    Ok(deleted.rows_affected())
}
