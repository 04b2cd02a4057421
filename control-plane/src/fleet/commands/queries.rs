//! SQL of commands.

use std::time::Duration;

use ids::{Id, ProxyId, TenantId, UpstreamId, Uuid};
use seams::Timestamp;
use time::OffsetDateTime;

use super::Claimed;
use crate::db::{OperatorTx, StoreError, TenantTx};

/// Adds a command, or gives the one that waits already for the proxies that serve the tenant now.
pub(super) async fn insert(
    tx: &mut TenantTx,
    id: Uuid,
    upstream: UpstreamId,
    now: Timestamp,
    life: Duration,
) -> Result<Uuid, StoreError> {
    let tenant = tx.tenant().uuid();
    let waiting = sqlx::query_scalar!(
        "SELECT id FROM commands
         WHERE tenant_id = $1 AND upstream_id = $2 AND finished_at IS NULL AND claimed_at IS NULL AND created_at > $3
           AND pool_id = (SELECT pool_id FROM tenants WHERE id = $1)
         LIMIT 1",
        tenant,
        upstream.uuid(),
        before(now, life)
    )
    .fetch_optional(tx.conn())
    .await?;
    if let Some(waiting) = waiting {
        return Ok(waiting);
    }
    let inserted = sqlx::query!(
        "INSERT INTO commands (tenant_id, id, pool_id, upstream_id, created_at)
         SELECT id, $2, pool_id, $3, $4 FROM tenants WHERE id = $1",
        tenant,
        id,
        upstream.uuid(),
        now.to_offset()
    )
    .execute(tx.conn())
    .await?;
    if inserted.rows_affected() == 0 { Err(StoreError::NotFound) } else { Ok(id) }
}

fn before(now: Timestamp, by: Duration) -> OffsetDateTime {
    Timestamp::from_micros(now.micros().saturating_sub(by.as_micros() as u64)).to_offset()
}

/// Commands that wait, or whose claim ran out, locked against other replicas.
pub(super) async fn open(
    tx: &mut OperatorTx,
    pools: &[Uuid],
    now: Timestamp,
    claim: Duration,
    life: Duration,
    batch: i64,
) -> Result<Vec<Claimed>, StoreError> {
    let rows = sqlx::query!(
        "SELECT tenant_id, id, upstream_id, pool_id FROM commands
         WHERE pool_id = ANY ($1) AND finished_at IS NULL AND created_at > $2 AND (claimed_at IS NULL OR claimed_at < $3)
         ORDER BY created_at LIMIT $4 FOR UPDATE SKIP LOCKED",
        pools,
        before(now, life),
        before(now, claim),
        batch
    )
    .fetch_all(tx.conn())
    .await?;
    let claimed = rows.into_iter().map(|row| Claimed {
        id: row.id,
        tenant: Id::from_uuid(row.tenant_id),
        upstream: Id::from_uuid(row.upstream_id),
        pool: Id::from_uuid(row.pool_id),
    });
    Ok(claimed.collect())
}

/// Claims for a proxy. `false`, and nothing is claimed, when it was revoked.
pub(super) async fn claim(
    tx: &mut OperatorTx,
    tenant: TenantId,
    id: Uuid,
    proxy: ProxyId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "UPDATE commands SET claimed_by = $3, claimed_at = $4 FROM proxies
         WHERE tenant_id = $1 AND commands.id = $2 AND proxies.id = $3 AND proxies.revoked_at IS NULL",
        tenant.uuid(),
        id,
        proxy.uuid(),
        now.to_offset()
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn finish(
    tx: &mut OperatorTx,
    tenant: TenantId,
    id: Uuid,
    error_code: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE commands SET finished_at = $3, error_code = $4
         WHERE tenant_id = $1 AND id = $2 AND finished_at IS NULL",
        tenant.uuid(),
        id,
        now.to_offset(),
        error_code
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Deletes what is older; gives how many that were.
pub(super) async fn forget(tx: &mut OperatorTx, now: Timestamp, keep: Duration) -> Result<u64, StoreError> {
    let done = sqlx::query!("DELETE FROM commands WHERE created_at < $1", before(now, keep))
        .execute(tx.conn())
        .await?;
    Ok(done.rows_affected())
}
