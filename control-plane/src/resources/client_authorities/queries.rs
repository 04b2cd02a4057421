//! `client_authorities`, and which endpoints name them.

use ids::{ClientAuthorityId, ClientId, Id, Uuid};
use serde_json::Value;
use time::OffsetDateTime;

use super::types::{ClientAuthority, ClientAuthoritySettings};
use crate::db::{StoreError, TenantTx};

struct Row {
    id: Uuid,
    settings: Value,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl Row {
    fn authority(self) -> Result<ClientAuthority, StoreError> {
        // A field that this version does not know is not left out: without it the rest might mean more.
        let settings = serde_json::from_value(self.settings);
        Ok(ClientAuthority {
            id: Id::from_uuid(self.id),
            settings: settings.map_err(|_| StoreError::unreadable("client authority"))?,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

pub(super) async fn list(
    tx: &mut TenantTx,
    after: Uuid,
    fetch: i64,
) -> Result<Vec<ClientAuthority>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, settings, created_at, updated_at FROM client_authorities
         WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        tenant,
        after,
        fetch
    );
    rows.fetch_all(tx.conn()).await?.into_iter().map(Row::authority).collect()
}

/// All of them.
pub(crate) async fn all(tx: &mut TenantTx) -> Result<Vec<ClientAuthority>, StoreError> {
    list(tx, Uuid::nil(), i64::MAX).await
}

pub(super) async fn get(tx: &mut TenantTx, id: ClientAuthorityId) -> Result<ClientAuthority, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        Row,
        "SELECT id, settings, created_at, updated_at FROM client_authorities WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid()
    );
    row.fetch_one(tx.conn()).await?.authority()
}

/// Holds the row until the transaction ends, and reads it.
pub(super) async fn lock(tx: &mut TenantTx, id: ClientAuthorityId) -> Result<ClientAuthority, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        Row,
        "SELECT id, settings, created_at, updated_at FROM client_authorities
         WHERE tenant_id = $1 AND id = $2 FOR UPDATE",
        tenant,
        id.uuid()
    );
    row.fetch_one(tx.conn()).await?.authority()
}

pub(super) async fn count(tx: &mut TenantTx) -> Result<i64, StoreError> {
    let tenant = tx.tenant().uuid();
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM client_authorities WHERE tenant_id = $1"#,
        tenant
    );
    Ok(count.fetch_one(tx.conn()).await?)
}

fn stored(settings: &ClientAuthoritySettings) -> Result<Value, StoreError> {
    serde_json::to_value(settings).map_err(|error| StoreError::Bug(error.into()))
}

pub(super) async fn insert(
    tx: &mut TenantTx,
    id: ClientAuthorityId,
    settings: &ClientAuthoritySettings,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO client_authorities (tenant_id, id, settings, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)",
        tenant,
        id.uuid(),
        stored(settings)?,
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn update(
    tx: &mut TenantTx,
    id: ClientAuthorityId,
    settings: &ClientAuthoritySettings,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE client_authorities SET settings = $3, updated_at = $4 WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        stored(settings)?,
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Deletes it, and no endpoint names it any more.
pub(super) async fn delete(tx: &mut TenantTx, id: ClientAuthorityId) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE endpoints SET client_authorities = array_remove(client_authorities, $2)
         WHERE tenant_id = $1 AND $2 = ANY(client_authorities)",
        tenant,
        id.uuid()
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!("DELETE FROM client_authorities WHERE tenant_id = $1 AND id = $2", tenant, id.uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// The first of these that is none of the tenant's. Those that are there stay until the transaction ends.
pub(crate) async fn missing(
    tx: &mut TenantTx,
    authorities: &[ClientAuthorityId],
) -> Result<Option<usize>, StoreError> {
    let tenant = tx.tenant().uuid();
    let ids: Vec<_> = authorities.iter().map(|id| id.uuid()).collect();
    let found = sqlx::query_scalar!(
        "SELECT id FROM client_authorities WHERE tenant_id = $1 AND id = ANY($2) FOR SHARE",
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
