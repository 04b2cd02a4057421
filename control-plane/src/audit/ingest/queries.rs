//! SQL of what arrives, and of what has arrived from whom.

use ids::{PoolId, ProxyId, Uuid};
use seams::Timestamp;

use crate::{
    audit::AuditRow,
    db::{AuditTx, OperatorTx, StoreError},
};

/// Inserts records of the transaction's tenant in one statement. Those that are there already stay as they are.
pub(super) async fn insert_many(tx: &mut AuditTx, rows: &[&AuditRow]) -> Result<(), StoreError> {
    fn column<'a, T>(rows: &[&'a AuditRow], field: impl Fn(&'a AuditRow) -> T) -> Vec<T> {
        rows.iter().map(|row| field(row)).collect()
    }
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO audit_records (tenant_id, at, proxy_id, boot, seq, phase, decision, call_id, client_id, key_id,
           endpoint_id, upstream_id, tool_id, actor, method, target, code, body, leaf_hash, stored_at)
         SELECT $1, records.* FROM UNNEST($2::timestamptz[], $3::uuid[], $4::bytea[], $5::bigint[], $6::smallint[],
           $7::smallint[], $8::uuid[], $9::uuid[], $10::uuid[], $11::uuid[], $12::uuid[], $13::uuid[], $14::text[],
           $15::text[], $16::text[], $17::text[], $18::bytea[], $19::bytea[], $20::timestamptz[]) AS records
         ON CONFLICT DO NOTHING",
        tenant,
        &column(rows, |row| row.at.to_offset()),
        &column(rows, |row| row.proxy_id),
        &column(rows, |row| row.boot.clone()),
        &column(rows, |row| row.seq),
        &column(rows, |row| row.phase),
        &column(rows, |row| row.decision),
        &column(rows, |row| row.call_id) as &[Option<Uuid>],
        &column(rows, |row| row.client_id) as &[Option<Uuid>],
        &column(rows, |row| row.key_id) as &[Option<Uuid>],
        &column(rows, |row| row.endpoint_id) as &[Option<Uuid>],
        &column(rows, |row| row.upstream_id) as &[Option<Uuid>],
        &column(rows, |row| row.tool_id) as &[Option<Uuid>],
        &column(rows, |row| row.actor.clone()),
        &column(rows, |row| row.method.clone()),
        &column(rows, |row| row.target.clone()),
        &column(rows, |row| row.code.clone()),
        &column(rows, |row| row.body.to_vec()),
        &column(rows, |row| row.leaf_hash.to_vec()),
        &column(rows, |row| row.stored_at.to_offset())
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Whether the tenant is of the proxy's pool, was served by it, or is gone.
pub(super) async fn may_record(
    tx: &mut OperatorTx,
    tenant: Uuid,
    proxy: ProxyId,
    pool: PoolId,
) -> Result<bool, StoreError> {
    let may = sqlx::query_scalar!(
        "SELECT NOT EXISTS (SELECT FROM tenants WHERE id = $1 AND pool_id <> $3)
           OR EXISTS (SELECT FROM proxy_revisions WHERE tenant_id = $1 AND proxy_id = $2) AS \"may!\"",
        tenant,
        proxy.uuid(),
        pool.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(may)
}

/// Up to which number a run's records have arrived, 0 when none; the row is held until the transaction ends.
pub(super) async fn arrived(
    tx: &mut OperatorTx,
    proxy: ProxyId,
    boot: &[u8],
    now: Timestamp,
) -> Result<i64, StoreError> {
    sqlx::query!(
        "INSERT INTO audit_sources (proxy_id, boot, seq, first_at, last_at) VALUES ($1, $2, 0, $3, $3)
         ON CONFLICT DO NOTHING",
        proxy.uuid(),
        boot,
        now.to_offset()
    )
    .execute(tx.conn())
    .await?;
    let seq = sqlx::query_scalar!(
        "SELECT seq FROM audit_sources WHERE proxy_id = $1 AND boot = $2 FOR UPDATE",
        proxy.uuid(),
        boot
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
