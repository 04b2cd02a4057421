//! `proxies`.

use ids::{Id, ProxyId, Uuid};
use time::OffsetDateTime;

use super::types::Proxy;
use crate::db::{OperatorTx, StoreError};

struct Row {
    id: Uuid,
    pool: String,
    build: String,
    live: bool,
    tenants_behind: i64,
    enrolled_at: OffsetDateTime,
    certificate_not_after: OffsetDateTime,
    lease_until: Option<OffsetDateTime>,
    revoked_at: Option<OffsetDateTime>,
}

impl From<Row> for Proxy {
    fn from(row: Row) -> Self {
        Self {
            id: Id::from_uuid(row.id),
            pool: row.pool,
            build: row.build,
            live: row.live,
            tenants_behind: row.tenants_behind.unsigned_abs(),
            enrolled_at: row.enrolled_at,
            certificate_not_after: row.certificate_not_after,
            lease_until: row.lease_until,
            revoked_at: row.revoked_at,
        }
    }
}

pub(super) async fn list(
    tx: &mut OperatorTx,
    now: OffsetDateTime,
    after: Uuid,
    fetch: i64,
) -> Result<Vec<Proxy>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT proxy.id, pool.slug AS pool, proxy.build,
             coalesce(proxy.revoked_at IS NULL AND proxy.lease_until > $1, false) AS "live!",
             (SELECT count(*) FROM tenants tenant
                LEFT JOIN proxy_revisions state ON state.tenant_id = tenant.id AND state.proxy_id = proxy.id
                WHERE tenant.pool_id = proxy.pool_id AND tenant.rev > coalesce(state.applied_rev, 0))
               AS "tenants_behind!",
             proxy.enrolled_at, proxy.certificate_not_after, proxy.lease_until, proxy.revoked_at
           FROM proxies proxy JOIN pools pool ON pool.id = proxy.pool_id
           WHERE proxy.id > $2 ORDER BY proxy.id LIMIT $3"#,
        now,
        after,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

pub(super) async fn get(tx: &mut OperatorTx, now: OffsetDateTime, id: ProxyId) -> Result<Proxy, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT proxy.id, pool.slug AS pool, proxy.build,
             coalesce(proxy.revoked_at IS NULL AND proxy.lease_until > $1, false) AS "live!",
             (SELECT count(*) FROM tenants tenant
                LEFT JOIN proxy_revisions state ON state.tenant_id = tenant.id AND state.proxy_id = proxy.id
                WHERE tenant.pool_id = proxy.pool_id AND tenant.rev > coalesce(state.applied_rev, 0))
               AS "tenants_behind!",
             proxy.enrolled_at, proxy.certificate_not_after, proxy.lease_until, proxy.revoked_at
           FROM proxies proxy JOIN pools pool ON pool.id = proxy.pool_id
           WHERE proxy.id = $2"#,
        now,
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(row.into())
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
