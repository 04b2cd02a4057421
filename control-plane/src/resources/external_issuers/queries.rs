//! `external_issuers`, and which endpoints name them.

use ids::{ClientId, ExternalIssuerId, Id, RoleId, Uuid};
use serde_json::Value;
use time::OffsetDateTime;

use super::types::{ExternalIssuer, ExternalIssuerSettings};
use crate::db::{StoreError, TenantTx};

struct Row {
    id: Uuid,
    settings: Value,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl Row {
    fn issuer(self) -> Result<ExternalIssuer, StoreError> {
        // A field that this version does not know is not left out: without it the rest might mean more.
        let settings = serde_json::from_value(self.settings);
        Ok(ExternalIssuer {
            id: Id::from_uuid(self.id),
            settings: settings.map_err(|_| StoreError::unreadable("external issuer"))?,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

pub(super) async fn list(
    tx: &mut TenantTx,
    after: Uuid,
    fetch: i64,
) -> Result<Vec<ExternalIssuer>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, settings, created_at, updated_at FROM external_issuers
         WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        tenant,
        after,
        fetch
    );
    rows.fetch_all(tx.conn()).await?.into_iter().map(Row::issuer).collect()
}

/// All of them.
pub(crate) async fn all(tx: &mut TenantTx) -> Result<Vec<ExternalIssuer>, StoreError> {
    list(tx, Uuid::nil(), i64::MAX).await
}

pub(super) async fn get(tx: &mut TenantTx, id: ExternalIssuerId) -> Result<ExternalIssuer, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        Row,
        "SELECT id, settings, created_at, updated_at FROM external_issuers WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid()
    );
    row.fetch_one(tx.conn()).await?.issuer()
}

/// Holds the row until the transaction ends, and reads it.
pub(super) async fn lock(tx: &mut TenantTx, id: ExternalIssuerId) -> Result<ExternalIssuer, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        Row,
        "SELECT id, settings, created_at, updated_at FROM external_issuers
         WHERE tenant_id = $1 AND id = $2 FOR UPDATE",
        tenant,
        id.uuid()
    );
    row.fetch_one(tx.conn()).await?.issuer()
}

pub(super) async fn count(tx: &mut TenantTx) -> Result<i64, StoreError> {
    let tenant = tx.tenant().uuid();
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM external_issuers WHERE tenant_id = $1"#,
        tenant
    );
    Ok(count.fetch_one(tx.conn()).await?)
}

fn stored(settings: &ExternalIssuerSettings) -> Result<Value, StoreError> {
    serde_json::to_value(settings).map_err(|error| StoreError::Bug(error.into()))
}

pub(super) async fn insert(
    tx: &mut TenantTx,
    id: ExternalIssuerId,
    settings: &ExternalIssuerSettings,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO external_issuers (tenant_id, id, issuer, settings, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $5)",
        tenant,
        id.uuid(),
        settings.issuer,
        stored(settings)?,
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn update(
    tx: &mut TenantTx,
    id: ExternalIssuerId,
    settings: &ExternalIssuerSettings,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE external_issuers SET issuer = $3, settings = $4, updated_at = $5 WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        settings.issuer,
        stored(settings)?,
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Deletes it, and no endpoint names it any more.
pub(super) async fn delete(tx: &mut TenantTx, id: ExternalIssuerId) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE endpoints SET external_issuers = array_remove(external_issuers, $2)
         WHERE tenant_id = $1 AND $2 = ANY(external_issuers)",
        tenant,
        id.uuid()
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!("DELETE FROM external_issuers WHERE tenant_id = $1 AND id = $2", tenant, id.uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// The first of these that is none of the tenant's. Those that are there stay until the transaction ends.
pub(crate) async fn missing(
    tx: &mut TenantTx,
    issuers: &[ExternalIssuerId],
) -> Result<Option<usize>, StoreError> {
    let tenant = tx.tenant().uuid();
    let ids: Vec<_> = issuers.iter().map(|id| id.uuid()).collect();
    let found = sqlx::query_scalar!(
        "SELECT id FROM external_issuers WHERE tenant_id = $1 AND id = ANY($2) FOR SHARE",
        tenant,
        &ids
    );
    let found = found.fetch_all(tx.conn()).await?;
    Ok(ids.iter().position(|id| !found.contains(id)))
}

/// The first of these clients that is none of the tenant's.
pub(super) async fn missing_client(
    tx: &mut TenantTx,
    clients: &[ClientId],
) -> Result<Option<usize>, StoreError> {
    let tenant = tx.tenant().uuid();
    let ids: Vec<_> = clients.iter().map(|id| id.uuid()).collect();
    let found =
        sqlx::query_scalar!("SELECT id FROM clients WHERE tenant_id = $1 AND id = ANY($2)", tenant, &ids);
    let found = found.fetch_all(tx.conn()).await?;
    Ok(ids.iter().position(|id| !found.contains(id)))
}

/// Of these roles those that are the tenant's.
pub(super) async fn roles(tx: &mut TenantTx, roles: &[RoleId]) -> Result<Vec<RoleId>, StoreError> {
    let tenant = tx.tenant().uuid();
    let ids: Vec<_> = roles.iter().map(|id| id.uuid()).collect();
    let found =
        sqlx::query_scalar!("SELECT id FROM roles WHERE tenant_id = $1 AND id = ANY($2)", tenant, &ids);
    Ok(found.fetch_all(tx.conn()).await?.into_iter().map(Id::from_uuid).collect())
}
