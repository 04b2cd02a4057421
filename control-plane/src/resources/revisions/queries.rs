//! `snapshots` without their contents, and what proxies said about them.

use crypto::digest;
use ids::{Id, TenantId};
use time::OffsetDateTime;

use super::types::{ProxyReport, Revision};
use crate::db::{OperatorTx, StoreError, TenantTx};

/// Newest first, older than `before`.
pub(super) async fn list(tx: &mut TenantTx, before: i64, fetch: i64) -> Result<Vec<Revision>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        "SELECT rev, digest, created_at FROM snapshots WHERE tenant_id = $1 AND rev < $2 ORDER BY rev DESC LIMIT $3",
        tenant,
        before,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    let revisions = rows.into_iter().map(|row| Revision {
        rev: row.rev.unsigned_abs(),
        digest: digest::hex(&row.digest),
        created_at: row.created_at,
    });
    Ok(revisions.collect())
}

/// Those after `after`, oldest first.
pub(super) async fn after(tx: &mut TenantTx, after: i64, fetch: i64) -> Result<Vec<Revision>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        "SELECT rev, digest, created_at FROM snapshots WHERE tenant_id = $1 AND rev > $2 ORDER BY rev LIMIT $3",
        tenant,
        after,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    let revisions = rows.into_iter().map(|row| Revision {
        rev: row.rev.unsigned_abs(),
        digest: digest::hex(&row.digest),
        created_at: row.created_at,
    });
    Ok(revisions.collect())
}

pub(super) async fn get(tx: &mut TenantTx, rev: i64) -> Result<Revision, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        "SELECT digest, created_at FROM snapshots WHERE tenant_id = $1 AND rev = $2",
        tenant,
        rev
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(Revision { rev: rev.unsigned_abs(), digest: digest::hex(&row.digest), created_at: row.created_at })
}

/// Each live proxy of the tenant's pool.
pub(super) async fn proxies(
    tx: &mut OperatorTx,
    tenant: TenantId,
    now: OffsetDateTime,
) -> Result<Vec<ProxyReport>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT proxy.id, coalesce(state.applied_rev, 0) AS "applied_rev!",
             coalesce(state.rejected_rev, 0) AS "rejected_rev!", state.rejected_code AS "rejected_code?",
             state.rejected_detail AS "rejected_detail?"
           FROM tenants tenant JOIN proxies proxy ON proxy.pool_id = tenant.pool_id
           LEFT JOIN proxy_revisions state ON state.tenant_id = tenant.id AND state.proxy_id = proxy.id
           WHERE tenant.id = $1 AND proxy.revoked_at IS NULL AND proxy.lease_until > $2
           ORDER BY proxy.id"#,
        tenant.uuid(),
        now
    )
    .fetch_all(tx.conn())
    .await?;
    let reports = rows.into_iter().map(|row| ProxyReport {
        id: Id::from_uuid(row.id),
        applied_rev: row.applied_rev.unsigned_abs(),
        rejected_rev: row.rejected_rev.unsigned_abs(),
        rejected_code: row.rejected_code,
        rejected_detail: row.rejected_detail,
    });
    Ok(reports.collect())
}
