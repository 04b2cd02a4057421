//! Live proxies and what they have acknowledged.

use ids::{Id, TenantId};
use time::OffsetDateTime;

use super::ProxyState;
use crate::db::{OperatorTx, StoreError};

pub(super) async fn live_proxies(
    tx: &mut OperatorTx,
    tenant: TenantId,
    now: OffsetDateTime,
) -> Result<Vec<ProxyState>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT proxy.id, coalesce(state.applied_rev, 0) AS "applied!", coalesce(state.rejected_rev, 0) AS "rejected!"
           FROM tenants tenant JOIN proxies proxy ON proxy.pool_id = tenant.pool_id
           LEFT JOIN proxy_revisions state ON state.tenant_id = tenant.id AND state.proxy_id = proxy.id
           WHERE tenant.id = $1 AND proxy.revoked_at IS NULL AND proxy.lease_until > $2
           ORDER BY proxy.id"#,
        tenant.uuid(),
        now
    )
    .fetch_all(tx.conn())
    .await?;
    let state = rows.into_iter().map(|row| ProxyState {
        proxy: Id::from_uuid(row.id),
        applied_rev: row.applied.unsigned_abs(),
        rejected_rev: row.rejected.unsigned_abs(),
    });
    Ok(state.collect())
}
