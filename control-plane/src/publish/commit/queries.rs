//! What changed from revision to revision.

use time::OffsetDateTime;

use crate::db::{StoreError, TenantTx, Unreadable};

/// The bytes and digest of a revision that is still stored.
pub(super) async fn snapshot_at(
    tx: &mut TenantTx,
    rev: u64,
) -> Result<Option<(Vec<u8>, [u8; 32])>, StoreError> {
    let (tenant, rev) = (tx.tenant().uuid(), i64::try_from(rev).map_err(|_| Unreadable("revision"))?);
    let row =
        sqlx::query!("SELECT body, digest FROM snapshots WHERE tenant_id = $1 AND rev = $2", tenant, rev)
            .fetch_optional(tx.conn())
            .await?;
    row.map(|row| Ok((row.body, row.digest.try_into().map_err(|_| Unreadable("digest"))?))).transpose()
}

/// Stores what led to revision `rev` from the one before, whose digest is `from`.
pub(super) async fn store_delta(
    tx: &mut TenantTx,
    rev: u64,
    from: &[u8; 32],
    digest: &[u8; 32],
    body: &[u8],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let (tenant, rev) = (tx.tenant().uuid(), i64::try_from(rev).map_err(|_| Unreadable("revision"))?);
    sqlx::query!(
        "INSERT INTO deltas (tenant_id, rev, from_digest, digest, body, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
        tenant,
        rev,
        from.as_slice(),
        digest.as_slice(),
        body,
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Forgets what led to revisions up to `oldest`, and what is older than `since`.
pub(super) async fn trim_deltas(
    tx: &mut TenantTx,
    oldest: i64,
    since: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "DELETE FROM deltas WHERE tenant_id = $1 AND (rev <= $2 OR created_at < $3)",
        tenant,
        oldest,
        since
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
