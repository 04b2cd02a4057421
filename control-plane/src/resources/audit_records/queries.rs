//! Audit records, out.

use ids::{CallId, ClientId, EndpointId, KeyId, TenantId, ToolId, UpstreamId, Uuid};
use time::OffsetDateTime;

use super::{
    types::{AuditQuery, RecordDecision, RecordPhase},
    watch::Place,
};
use crate::db::{AuditReadTx, StoreError};

/// A stored record: the columns one can filter by, and its canonical bytes.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) at: OffsetDateTime,
    pub(super) proxy_id: Uuid,
    pub(super) boot: Vec<u8>,
    pub(super) seq: i64,
    pub(super) phase: i16,
    pub(super) decision: i16,
    pub(super) call_id: Option<Uuid>,
    pub(super) client_id: Option<Uuid>,
    pub(super) key_id: Option<Uuid>,
    pub(super) endpoint_id: Option<Uuid>,
    pub(super) upstream_id: Option<Uuid>,
    pub(super) tool_id: Option<Uuid>,
    pub(super) body: Vec<u8>,
    pub(super) leaf_hash: Vec<u8>,
    pub(super) stored_at: OffsetDateTime,
}

/// Where a page ended: the key of its last record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) at: OffsetDateTime,
    pub(super) proxy_id: Uuid,
    pub(super) boot: Vec<u8>,
    pub(super) seq: i64,
}

/// Newest first, as the primary key read backwards: records of one instant are in falling order of proxy, run and place.
pub(super) async fn list(
    tx: &mut AuditReadTx,
    tenant: TenantId,
    filter: &AuditQuery,
    after: Option<&Position>,
    fetch: i64,
) -> Result<Vec<Row>, StoreError> {
    // The filters that are absent must be gone before an index is chosen.
    sqlx::query!("SELECT set_config('plan_cache_mode', 'force_custom_plan', true) AS mode")
        .fetch_one(tx.conn())
        .await?;
    let rows = sqlx::query_as!(
        Row,
        "SELECT at, proxy_id, boot, seq, phase, decision, call_id, client_id, key_id, endpoint_id, upstream_id, tool_id,
           body, leaf_hash, stored_at
         FROM audit_records
         WHERE tenant_id = $1
           AND ($2::timestamptz IS NULL OR at >= $2)
           AND ($3::timestamptz IS NULL OR at < $3)
           AND ($4::uuid IS NULL OR client_id = $4)
           AND ($5::uuid IS NULL OR key_id = $5)
           AND ($6::uuid IS NULL OR endpoint_id = $6)
           AND ($7::uuid IS NULL OR upstream_id = $7)
           AND ($8::uuid IS NULL OR tool_id = $8)
           AND ($9::uuid IS NULL OR call_id = $9)
           AND ($10::smallint IS NULL OR phase = $10)
           AND ($11::smallint IS NULL OR decision = $11)
           AND ($12::text IS NULL OR code = $12)
           AND ($13::text IS NULL OR method = $13)
           AND ($14::text IS NULL OR actor = $14)
           AND ($15::timestamptz IS NULL OR (at, proxy_id, boot, seq) < ($15, $16::uuid, $17::bytea, $18::bigint))
         ORDER BY at DESC, proxy_id DESC, boot DESC, seq DESC LIMIT $19",
        tenant.uuid(),
        filter.from,
        filter.to,
        filter.client_id.map(ClientId::uuid),
        filter.key_id.map(KeyId::uuid),
        filter.endpoint_id.map(EndpointId::uuid),
        filter.upstream_id.map(UpstreamId::uuid),
        filter.tool_id.map(ToolId::uuid),
        filter.call_id.map(CallId::uuid),
        filter.phase.map(RecordPhase::number),
        filter.decision.map(RecordDecision::number),
        filter.code,
        filter.method,
        filter.actor,
        after.map(|position| position.at),
        after.map(|position| position.proxy_id),
        after.map(|position| position.boot.as_slice()),
        after.map(|position| position.seq),
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows)
}

/// A record and the transaction that stored it.
pub(super) struct Stored {
    pub(super) xact: i64,
    pub(super) row: Row,
}

/// The oldest transaction that still runs: what older ones have stored can be seen, and there will be no more of it.
pub(super) async fn settled(tx: &mut AuditReadTx) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(r#"SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS "xmin!""#)
        .fetch_one(tx.conn())
        .await?)
}

/// What was stored after `after`, in the order of storing, as far as nothing can come in between any more.
pub(super) async fn stored_after(
    tx: &mut AuditReadTx,
    tenant: TenantId,
    after: &Place,
    fetch: i64,
) -> Result<Vec<Stored>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT xact AS "xact!", at, proxy_id, boot, seq, phase, decision, call_id, client_id, key_id, endpoint_id,
           upstream_id, tool_id, body, leaf_hash, stored_at
         FROM audit_records
         WHERE tenant_id = $1 AND xact >= $2 AND xact < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
           AND (xact, at, proxy_id, boot, seq) > ($2, $3::timestamptz, $4::uuid, $5::bytea, $6::bigint)
         ORDER BY xact, at, proxy_id, boot, seq LIMIT $7"#,
        tenant.uuid(),
        after.xact,
        after.at,
        after.proxy_id,
        after.boot,
        after.seq,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    let stored = rows.into_iter().map(|row| Stored {
        xact: row.xact,
        row: Row {
            at: row.at,
            proxy_id: row.proxy_id,
            boot: row.boot,
            seq: row.seq,
            phase: row.phase,
            decision: row.decision,
            call_id: row.call_id,
            client_id: row.client_id,
            key_id: row.key_id,
            endpoint_id: row.endpoint_id,
            upstream_id: row.upstream_id,
            tool_id: row.tool_id,
            body: row.body,
            leaf_hash: row.leaf_hash,
            stored_at: row.stored_at,
        },
    });
    Ok(stored.collect())
}
