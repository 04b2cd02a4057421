//! `proxies`, and what is known of each.

use ids::{Id, PoolId, ProxyId, Uuid};
use time::OffsetDateTime;

use super::types::{AuditGap, Proxy, ProxyTenant, Standing};
use crate::db::{OperatorTx, StoreError};

struct Row {
    id: Uuid,
    pool: String,
    build: String,
    live: bool,
    tenants: i64,
    tenants_behind: i64,
    tenants_rejected: i64,
    behind_since: Option<OffsetDateTime>,
    clock_skew_ms: Option<i64>,
    spool_bytes: Option<i64>,
    spool_at: Option<OffsetDateTime>,
    missing: i64,
    set_aside: i64,
    enrolled_at: OffsetDateTime,
    certificate_not_after: OffsetDateTime,
    lease_until: Option<OffsetDateTime>,
    revoked_at: Option<OffsetDateTime>,
    global_rev: i64,
    global_rejected_rev: i64,
    global_rejected_code: Option<String>,
}

impl From<Row> for Proxy {
    fn from(row: Row) -> Self {
        Self {
            id: Id::from_uuid(row.id),
            pool: row.pool,
            build: row.build,
            live: row.live,
            tenants: row.tenants.unsigned_abs(),
            tenants_behind: row.tenants_behind.unsigned_abs(),
            tenants_rejected: row.tenants_rejected.unsigned_abs(),
            behind_since: row.behind_since,
            clock_skew_ms: row.clock_skew_ms,
            spool_bytes: row.spool_bytes.map(i64::unsigned_abs),
            spool_at: row.spool_at,
            audit_records_missing: row.missing.unsigned_abs(),
            audit_records_set_aside: row.set_aside.unsigned_abs(),
            enrolled_at: row.enrolled_at,
            certificate_not_after: row.certificate_not_after,
            lease_until: row.lease_until,
            revoked_at: row.revoked_at,
            global_rev: row.global_rev.unsigned_abs(),
            global_rejected_rev: row.global_rejected_rev.unsigned_abs(),
            global_rejected_code: row.global_rejected_code,
        }
    }
}

/// Proxies after `after`, or `only` one.
async fn rows(
    tx: &mut OperatorTx,
    now: OffsetDateTime,
    only: Option<Uuid>,
    after: Uuid,
    fetch: i64,
) -> Result<Vec<Proxy>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT proxy.id, pool.slug AS pool, proxy.build,
             coalesce(proxy.revoked_at IS NULL AND proxy.lease_until > $1, false) AS "live!",
             standing.tenants AS "tenants!", standing.behind AS "tenants_behind!",
             standing.rejected AS "tenants_rejected!", standing.since AS behind_since,
             proxy.clock_skew_ms, proxy.spool_bytes, proxy.spool_at,
             (SELECT coalesce(sum(gap.to_seq - gap.from_seq + 1), 0)::bigint FROM audit_gaps gap
                WHERE gap.proxy_id = proxy.id) AS "missing!",
             (SELECT count(*) FROM audit_quarantine aside WHERE aside.proxy_id = proxy.id) AS "set_aside!",
             proxy.enrolled_at, proxy.certificate_not_after, proxy.lease_until, proxy.revoked_at,
             proxy.global_rev, proxy.global_rejected_rev, proxy.global_rejected_code
           FROM proxies proxy JOIN pools pool ON pool.id = proxy.pool_id
           CROSS JOIN LATERAL (
             SELECT count(*) AS tenants,
               count(*) FILTER (WHERE tenant.rev > coalesce(state.applied_rev, 0)) AS behind,
               count(*) FILTER (WHERE tenant.rev > state.applied_rev AND state.rejected_rev > state.applied_rev)
                 AS rejected,
               min((SELECT made.created_at FROM outbox made
                      WHERE made.tenant_id = tenant.id AND made.rev > coalesce(state.applied_rev, 0)
                      ORDER BY made.rev LIMIT 1))
                 FILTER (WHERE tenant.rev > coalesce(state.applied_rev, 0)) AS since
             FROM tenants tenant
             LEFT JOIN proxy_revisions state ON state.tenant_id = tenant.id AND state.proxy_id = proxy.id
             WHERE tenant.pool_id = proxy.pool_id
           ) AS standing
           WHERE proxy.id > $2 AND ($3::uuid IS NULL OR proxy.id = $3) ORDER BY proxy.id LIMIT $4"#,
        now,
        after,
        only,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

pub(super) async fn list(
    tx: &mut OperatorTx,
    now: OffsetDateTime,
    after: Uuid,
    fetch: i64,
) -> Result<Vec<Proxy>, StoreError> {
    rows(tx, now, None, after, fetch).await
}

pub(super) async fn get(tx: &mut OperatorTx, now: OffsetDateTime, id: ProxyId) -> Result<Proxy, StoreError> {
    rows(tx, now, Some(id.uuid()), Uuid::nil(), 1).await?.pop().ok_or(StoreError::NotFound)
}

/// The pool a proxy enrolled for.
pub(super) async fn pool(tx: &mut OperatorTx, id: ProxyId) -> Result<PoolId, StoreError> {
    let pool = sqlx::query_scalar!("SELECT pool_id FROM proxies WHERE id = $1", id.uuid())
        .fetch_one(tx.conn())
        .await?;
    Ok(Id::from_uuid(pool))
}

/// Tenants of the pool after `after`, and how the proxy stands with each.
pub(super) async fn tenants(
    tx: &mut OperatorTx,
    proxy: ProxyId,
    pool: PoolId,
    differing: bool,
    after: Uuid,
    fetch: i64,
) -> Result<Vec<ProxyTenant>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT tenant.id, tenant.slug, tenant.rev, made.digest, coalesce(state.applied_rev, 0) AS "applied_rev!",
             state.applied_digest AS "applied_digest?", coalesce(state.rejected_rev, 0) AS "rejected_rev!",
             state.rejected_code AS "rejected_code?", state.rejected_detail AS "rejected_detail?",
             state.updated_at AS "updated_at?"
           FROM tenants tenant JOIN outbox made ON made.tenant_id = tenant.id AND made.rev = tenant.rev
           LEFT JOIN proxy_revisions state ON state.tenant_id = tenant.id AND state.proxy_id = $1
           WHERE tenant.pool_id = $2 AND tenant.id > $3
             AND (NOT $4 OR tenant.rev > coalesce(state.applied_rev, 0)
               OR state.applied_digest IS DISTINCT FROM made.digest)
           ORDER BY tenant.id LIMIT $5"#,
        proxy.uuid(),
        pool.uuid(),
        after,
        differing,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    let tenants = rows.into_iter().map(|row| {
        let mut tenant = ProxyTenant {
            tenant_id: Id::from_uuid(row.id),
            slug: row.slug,
            standing: Standing::Behind,
            rev: row.rev.unsigned_abs(),
            digest: crypto::digest::hex(&row.digest),
            applied_rev: row.applied_rev.unsigned_abs(),
            applied_digest: row.applied_digest.map(|digest| crypto::digest::hex(&digest)),
            rejected_rev: row.rejected_rev.unsigned_abs(),
            rejected_code: row.rejected_code,
            rejected_detail: row.rejected_detail,
            updated_at: row.updated_at,
        };
        tenant.standing = tenant.standing();
        tenant
    });
    Ok(tenants.collect())
}

/// Where a page of gaps ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GapPosition {
    pub(super) boot: Vec<u8>,
    pub(super) from_seq: i64,
}

/// Gaps in what a proxy recorded, in order of run and number.
pub(super) async fn gaps(
    tx: &mut OperatorTx,
    proxy: ProxyId,
    after: &GapPosition,
    fetch: i64,
) -> Result<Vec<AuditGap>, StoreError> {
    let rows = sqlx::query!(
        "SELECT boot, from_seq, to_seq, noticed_at FROM audit_gaps
         WHERE proxy_id = $1 AND (boot, from_seq) > ($2, $3) ORDER BY boot, from_seq LIMIT $4",
        proxy.uuid(),
        after.boot,
        after.from_seq,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    let gaps = rows.into_iter().map(|row| AuditGap {
        boot: crypto::digest::hex(&row.boot),
        from_seq: row.from_seq.unsigned_abs(),
        to_seq: row.to_seq.unsigned_abs(),
        noticed_at: row.noticed_at,
    });
    Ok(gaps.collect())
}

/// Revokes; a proxy that is revoked already keeps its time.
pub(super) async fn revoke(tx: &mut OperatorTx, id: ProxyId, now: OffsetDateTime) -> Result<(), StoreError> {
    sqlx::query!("UPDATE proxies SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1", id.uuid(), now)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Holds the proxy's row until the transaction ends.
pub(super) async fn lock(tx: &mut OperatorTx, id: ProxyId) -> Result<(), StoreError> {
    sqlx::query!("SELECT id FROM proxies WHERE id = $1 FOR UPDATE", id.uuid()).fetch_one(tx.conn()).await?;
    Ok(())
}
