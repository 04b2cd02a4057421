//! Audit records, in.

use super::row::AuditRow;
use crate::db::{AuditTx, StoreError};

/// Inserts a record of the transaction's tenant. A record that is there already stays as it is.
///
/// # Errors
/// [`StoreError`].
pub async fn insert(tx: &mut AuditTx, row: &AuditRow) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO audit_records (tenant_id, at, proxy_id, boot, seq, phase, decision, call_id, client_id, key_id,
           endpoint_id, upstream_id, tool_id, actor, method, target, code, body, leaf_hash, stored_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
         ON CONFLICT DO NOTHING",
        row.tenant_id,
        row.at.to_offset(),
        row.proxy_id,
        row.boot,
        row.seq,
        row.phase,
        row.decision,
        row.call_id,
        row.client_id,
        row.key_id,
        row.endpoint_id,
        row.upstream_id,
        row.tool_id,
        row.actor,
        row.method,
        row.target,
        row.code,
        &row.body[..],
        row.leaf_hash.as_slice(),
        row.stored_at.to_offset(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
