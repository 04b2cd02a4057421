//! `stored_answers`.

use ids::TenantId;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::answer::Slot;
use crate::db::{AuditTx, OperatorTx, StoreError};

/// Claims the key, unless its answer is kept or somebody else's claim has not run out. Whether it did.
pub(super) async fn claim(
    tx: &mut OperatorTx,
    slot: &Slot,
    sealed: &[u8],
    now: OffsetDateTime,
    until: OffsetDateTime,
    expires_at: OffsetDateTime,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "INSERT INTO stored_answers AS held (lookup, tenant_id, ticket, claimed_until, answered, sealed, expires_at)
         VALUES ($1, $2, $3, $4, false, $5, $6)
         ON CONFLICT (lookup) DO UPDATE SET tenant_id = excluded.tenant_id, ticket = excluded.ticket,
           claimed_until = excluded.claimed_until, answered = false, sealed = excluded.sealed,
           expires_at = excluded.expires_at
         WHERE held.expires_at <= $7 OR (NOT held.answered AND held.claimed_until <= $7)",
        slot.lookup.as_slice(),
        slot.tenant.map(TenantId::uuid),
        slot.ticket.as_slice(),
        until,
        sealed,
        expires_at,
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn find(tx: &mut OperatorTx, lookup: &[u8; 32]) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(sqlx::query_scalar!("SELECT sealed FROM stored_answers WHERE lookup = $1", lookup.as_slice())
        .fetch_optional(tx.conn())
        .await?)
}

/// Stores the answer in the write's own transaction. Whether the claim still holds.
pub(super) async fn answer_with(tx: &mut AuditTx, slot: &Slot, sealed: &[u8]) -> Result<bool, StoreError> {
    store(tx.conn(), slot, sealed).await
}

/// Stores the answer to what changed nothing.
pub(super) async fn answer(tx: &mut OperatorTx, slot: &Slot, sealed: &[u8]) -> Result<bool, StoreError> {
    store(tx.conn(), slot, sealed).await
}

async fn store(conn: &mut PgConnection, slot: &Slot, sealed: &[u8]) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "UPDATE stored_answers SET answered = true, sealed = $3 WHERE lookup = $1 AND ticket = $2 AND NOT answered",
        slot.lookup.as_slice(),
        slot.ticket.as_slice(),
        sealed
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives the claim up.
pub(super) async fn release(tx: &mut OperatorTx, slot: &Slot) -> Result<(), StoreError> {
    sqlx::query!(
        "DELETE FROM stored_answers WHERE lookup = $1 AND ticket = $2 AND NOT answered",
        slot.lookup.as_slice(),
        slot.ticket.as_slice()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Deletes some of those that are kept no longer.
pub(super) async fn forget(
    tx: &mut OperatorTx,
    now: OffsetDateTime,
    at_once: i64,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "DELETE FROM stored_answers WHERE lookup IN (
           SELECT lookup FROM stored_answers WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)
         AND expires_at <= $1",
        now,
        at_once
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected())
}

/// Deletes some of a tenant's answers, or the operators', beyond the newest `most` and the newest of `bytes` together. What is
/// under way stays.
pub(super) async fn trim(
    tx: &mut OperatorTx,
    tenant: Option<TenantId>,
    (most, bytes): (i64, i64),
    at_once: i64,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "DELETE FROM stored_answers WHERE answered AND lookup IN (
           SELECT lookup FROM (
             SELECT lookup, expires_at, answered, row_number() OVER newest AS place, sum(octet_length(sealed)) OVER newest AS bytes
             FROM stored_answers
             WHERE coalesce(tenant_id, '00000000-0000-0000-0000-000000000000')
               = coalesce($1::uuid, '00000000-0000-0000-0000-000000000000')
             WINDOW newest AS (ORDER BY expires_at DESC, lookup)
           ) AS held WHERE answered AND (place > $2 OR bytes > $3) ORDER BY expires_at LIMIT $4)",
        tenant.map(TenantId::uuid),
        most,
        bytes,
        at_once
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected())
}
