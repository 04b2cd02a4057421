//! SQL of what is served to proxies.

use bytes::Bytes;
use ids::{DataKeyId, Id, PoolId, TenantId};
use prost::Message as _;
use wire::{
    snapshot::delta::{self, MAX_DELTA_BYTES},
    stream::Version,
    v1,
};

use super::super::queries::{digest, rev, stored_rev};
use crate::db::{OperatorTx, StoreError, Unreadable};

/// A tenant's current snapshot and its wrapped data keys.
#[derive(Debug)]
pub(super) struct StoredSnapshot {
    pub(super) version: Version,
    pub(super) body: Bytes,
    pub(super) keys: Vec<WrappedKey>,
}

#[derive(Debug)]
pub(super) struct WrappedKey {
    pub(super) id: DataKeyId,
    pub(super) wrapped: Vec<u8>,
    pub(super) current: bool,
}

/// `None` when the pool has no such tenant, or the tenant has no compiled revision.
pub(super) async fn snapshot(
    tx: &mut OperatorTx,
    tenant: TenantId,
    pool: PoolId,
) -> Result<Option<StoredSnapshot>, StoreError> {
    let row = sqlx::query!(
        "SELECT snapshots.rev, snapshots.digest, snapshots.body FROM tenants
         JOIN snapshots ON snapshots.tenant_id = tenants.id AND snapshots.rev = tenants.rev
         WHERE tenants.id = $1 AND tenants.pool_id = $2",
        tenant.uuid(),
        pool.uuid()
    )
    .fetch_optional(tx.conn())
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(StoredSnapshot {
        version: Version { rev: rev(row.rev)?, digest: digest(&row.digest)? },
        body: row.body.into(),
        keys: keys(tx, tenant).await?,
    }))
}

async fn keys(tx: &mut OperatorTx, tenant: TenantId) -> Result<Vec<WrappedKey>, StoreError> {
    let keys = sqlx::query!(
        "SELECT id, wrapped, current FROM tenant_data_keys WHERE tenant_id = $1 ORDER BY id",
        tenant.uuid()
    )
    .fetch_all(tx.conn())
    .await?;
    let keys = keys.into_iter().map(|key| WrappedKey {
        id: Id::from_uuid(key.id),
        wrapped: key.wrapped,
        current: key.current,
    });
    Ok(keys.collect())
}

/// What changed since a revision, and the tenant's wrapped data keys.
#[derive(Debug)]
pub(super) struct StoredChanges {
    /// What it leads to: the current revision.
    pub(super) version: Version,
    /// Of all revisions since, put together.
    pub(super) changes: v1::Changes,
    pub(super) keys: Vec<WrappedKey>,
}

/// What leads from `from` to the current revision. `None` when `from` is not a revision from which every step is stored, when
/// it is the current one, or when all steps together are not less than the whole.
pub(super) async fn changes(
    tx: &mut OperatorTx,
    tenant: TenantId,
    pool: PoolId,
    from: Version,
) -> Result<Option<StoredChanges>, StoreError> {
    let rows = sqlx::query!(
        "SELECT step.rev, step.from_digest, step.digest, step.body, tenants.rev AS current
         FROM tenants JOIN deltas step ON step.tenant_id = tenants.id AND step.rev > $3 AND step.rev <= tenants.rev
         WHERE tenants.id = $1 AND tenants.pool_id = $2
           AND (SELECT sum(octet_length(body)) FROM deltas WHERE tenant_id = $1 AND rev > $3) < LEAST($4,
             (SELECT octet_length(body) FROM snapshots WHERE tenant_id = $1 AND snapshots.rev = tenants.rev))
         ORDER BY step.rev",
        tenant.uuid(),
        pool.uuid(),
        stored_rev(from.rev),
        MAX_DELTA_BYTES as i64
    )
    .fetch_all(tx.conn())
    .await?;
    let mut at = from;
    let Some(current) = rows.first().map(|row| row.current) else { return Ok(None) };
    let mut steps = Vec::with_capacity(rows.len());
    for row in rows {
        if rev(row.rev)? != at.rev + 1 || digest(&row.from_digest)? != at.digest {
            return Ok(None);
        }
        at = Version { rev: at.rev + 1, digest: digest(&row.digest)? };
        steps.push(v1::Changes::decode(Bytes::from(row.body)).map_err(|_| Unreadable("changes"))?);
    }
    if at.rev != rev(current)? {
        return Ok(None);
    }
    let changes = delta::join(steps).map_err(|_| Unreadable("changes"))?;
    Ok(Some(StoredChanges { version: at, changes, keys: keys(tx, tenant).await? }))
}
