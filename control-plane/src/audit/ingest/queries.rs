//! SQL of what arrives, and of what has arrived from whom.

use std::collections::HashSet;

use ids::{PoolId, ProxyId, Uuid};
use seams::Timestamp;

use super::batch::Batch;
use crate::{
    audit::AuditRow,
    db::{AuditTx, OperatorTx, StoreError},
};

/// Inserts records of the transaction's tenant and of one run of one proxy in one statement. Those that are there already
/// stay as they are.
pub(super) async fn insert_many(tx: &mut AuditTx, rows: &[&AuditRow]) -> Result<(), StoreError> {
    fn column<'a, T>(rows: &[&'a AuditRow], field: impl Fn(&'a AuditRow) -> T) -> Vec<T> {
        rows.iter().map(|row| field(row)).collect()
    }
    let tenant = tx.tenant().uuid();
    let Some(first) = rows.first() else { return Ok(()) };
    sqlx::query!(
        "INSERT INTO audit_records (tenant_id, proxy_id, boot, stored_at, at, seq, phase, decision, call_id, client_id,
           key_id, endpoint_id, upstream_id, tool_id, actor, method, target, code, body, leaf_hash)
         SELECT $1, $2, $3, $4, records.* FROM UNNEST($5::timestamptz[], $6::bigint[], $7::smallint[], $8::smallint[],
           $9::uuid[], $10::uuid[], $11::uuid[], $12::uuid[], $13::uuid[], $14::uuid[], $15::text[], $16::text[],
           $17::text[], $18::text[], $19::bytea[], $20::bytea[]) AS records
         ON CONFLICT DO NOTHING",
        tenant,
        first.proxy_id,
        first.boot,
        first.stored_at.to_offset(),
        &column(rows, |row| row.at.to_offset()),
        &column(rows, |row| row.seq),
        &column(rows, |row| row.phase),
        &column(rows, |row| row.decision),
        &column(rows, |row| row.call_id) as &[Option<Uuid>],
        &column(rows, |row| row.client_id) as &[Option<Uuid>],
        &column(rows, |row| row.key_id) as &[Option<Uuid>],
        &column(rows, |row| row.endpoint_id) as &[Option<Uuid>],
        &column(rows, |row| row.upstream_id) as &[Option<Uuid>],
        &column(rows, |row| row.tool_id) as &[Option<Uuid>],
        &column(rows, |row| row.actor.as_str()) as &[&str],
        &column(rows, |row| row.method.as_str()) as &[&str],
        &column(rows, |row| row.target.as_str()) as &[&str],
        &column(rows, |row| row.code.as_str()) as &[&str],
        &column(rows, |row| &row.body[..]) as &[&[u8]],
        &column(rows, |row| &row.leaf_hash[..]) as &[&[u8]]
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Those of `tenants` that are another pool's and were served by none of `recorders`.
pub(super) async fn not_served(
    tx: &mut OperatorTx,
    tenants: &[Uuid],
    recorders: &[Uuid],
    pool: PoolId,
) -> Result<HashSet<Uuid>, StoreError> {
    let foreign = sqlx::query_scalar!(
        "SELECT id FROM tenants WHERE id = ANY ($1) AND pool_id <> $3
           AND NOT EXISTS (SELECT FROM proxy_revisions WHERE tenant_id = tenants.id AND proxy_id = ANY ($2))",
        tenants,
        recorders,
        pool.uuid()
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(foreign.into_iter().collect())
}

/// Whether a proxy of the pool still lives, or has yet to begin; `None` when the pool has no such proxy.
pub(super) async fn predecessor(
    tx: &mut OperatorTx,
    proxy: ProxyId,
    pool: PoolId,
    now: Timestamp,
) -> Result<Option<bool>, StoreError> {
    let lives = sqlx::query_scalar!(
        "SELECT NOT coalesce(revoked_at IS NOT NULL OR lease_until <= $3, false) AS \"lives!\"
         FROM proxies WHERE id = $1 AND pool_id = $2",
        proxy.uuid(),
        pool.uuid(),
        now.to_offset()
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(lives)
}

/// Up to which number a run's records have arrived, 0 when none; the row is held until the transaction ends.
pub(super) async fn arrived(
    tx: &mut OperatorTx,
    proxy: ProxyId,
    boot: &[u8],
    uploader: ProxyId,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let seq = sqlx::query_scalar!(
        "INSERT INTO audit_sources (proxy_id, boot, seq, first_at, last_at, uploaded_by)
         VALUES ($1, $2, 0, $4, $4, nullif($3::uuid, $1::uuid))
         ON CONFLICT (proxy_id, boot) DO UPDATE SET last_at = EXCLUDED.last_at,
           uploaded_by = coalesce(EXCLUDED.uploaded_by, audit_sources.uploaded_by)
         RETURNING seq",
        proxy.uuid(),
        boot,
        uploader.uuid(),
        now.to_offset()
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(seq)
}

pub(super) async fn advance(
    tx: &mut OperatorTx,
    proxy: ProxyId,
    boot: &[u8],
    seq: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE audit_sources SET seq = GREATEST(seq, $3), last_at = $4 WHERE proxy_id = $1 AND boot = $2",
        proxy.uuid(),
        boot,
        seq,
        now.to_offset()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn insert_gaps(
    tx: &mut OperatorTx,
    proxy: ProxyId,
    boot: &[u8],
    gaps: &[(i64, i64)],
    now: Timestamp,
) -> Result<(), StoreError> {
    let (from, to): (Vec<_>, Vec<_>) = gaps.iter().copied().unzip();
    sqlx::query!(
        "INSERT INTO audit_gaps (proxy_id, boot, from_seq, to_seq, noticed_at)
         SELECT $1, $2, gap.from_seq, gap.to_seq, $5 FROM UNNEST($3::bigint[], $4::bigint[]) AS gap (from_seq, to_seq)
         ON CONFLICT DO NOTHING",
        proxy.uuid(),
        boot,
        &from,
        &to,
        now.to_offset()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// How many records of this proxy are set aside.
pub(super) async fn set_aside_by(tx: &mut OperatorTx, proxy: ProxyId) -> Result<i64, StoreError> {
    let count = sqlx::query_scalar!(
        "SELECT count(*) AS \"count!\" FROM audit_quarantine WHERE proxy_id = $1",
        proxy.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(count)
}

/// Keeps what a batch has set aside; returns how much of it was not kept before.
pub(super) async fn set_aside(
    tx: &mut OperatorTx,
    proxy: ProxyId,
    batch: &Batch,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let reasons: Vec<&str> = batch.set_aside.iter().map(|(fault, _)| fault.reason()).collect();
    let bodies: Vec<&[u8]> = batch.set_aside.iter().map(|(_, bytes)| &bytes[..]).collect();
    let digests: Vec<Vec<u8>> = bodies.iter().map(|body| crypto::digest::sha256(body).to_vec()).collect();
    let done = sqlx::query!(
        "INSERT INTO audit_quarantine (proxy_id, boot, digest, reason, body, arrived_at)
         SELECT $1, $2, aside.digest, aside.reason, aside.body, $6
         FROM UNNEST($3::bytea[], $4::text[], $5::bytea[]) AS aside (digest, reason, body)
         ON CONFLICT DO NOTHING",
        proxy.uuid(),
        &batch.boot,
        &digests,
        &reasons as &[&str],
        &bodies as &[&[u8]],
        now.to_offset()
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected())
}

/// Notes how much a proxy has in its spool, as it says.
pub(super) async fn note_spool(
    tx: &mut OperatorTx,
    proxy: ProxyId,
    bytes: u64,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE proxies SET spool_bytes = $2, spool_at = $3 WHERE id = $1",
        proxy.uuid(),
        i64::try_from(bytes).unwrap_or(i64::MAX),
        now.to_offset()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
