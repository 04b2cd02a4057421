//! `upstream_assertions`.

use ids::UpstreamId;
use time::OffsetDateTime;

use super::types::{SentAs, UpstreamAssertionSettings};
use crate::db::{StoreError, TenantTx, Unreadable};

/// What is asserted, and since when; `NotFound` where nothing is.
pub(super) async fn get(
    tx: &mut TenantTx,
    upstream: UpstreamId,
) -> Result<(UpstreamAssertionSettings, OffsetDateTime), StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        "SELECT audience, sent_as, body_digest, updated_at FROM upstream_assertions WHERE tenant_id = $1 AND upstream_id = $2",
        tenant,
        upstream.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    let sent_as = SentAs::from_name(&row.sent_as).ok_or(Unreadable("sent_as"))?;
    let settings =
        UpstreamAssertionSettings { audience: row.audience, sent_as, body_digest: row.body_digest };
    Ok((settings, row.updated_at))
}

pub(super) async fn slug(tx: &mut TenantTx) -> Result<String, StoreError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!("SELECT slug FROM tenants WHERE id = $1", tenant).fetch_one(tx.conn()).await?)
}

pub(super) async fn replace(
    tx: &mut TenantTx,
    upstream: UpstreamId,
    settings: &UpstreamAssertionSettings,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO upstream_assertions (tenant_id, upstream_id, audience, sent_as, body_digest, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (tenant_id, upstream_id) DO UPDATE SET audience = $3, sent_as = $4, body_digest = $5, updated_at = $6",
        tenant,
        upstream.uuid(),
        settings.audience,
        settings.sent_as.name(),
        settings.body_digest,
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut TenantTx, upstream: UpstreamId) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "DELETE FROM upstream_assertions WHERE tenant_id = $1 AND upstream_id = $2",
        tenant,
        upstream.uuid()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
