//! `api_keys`.

use ids::{ClientId, DataKeyId, Id, KeyId, Uuid};
use sqlx::types::Json;
use time::OffsetDateTime;

use super::{
    hours::Hours,
    types::{Key, KeySettings},
};
use crate::{
    db::{StoreError, TenantTx},
    publish::rows::HoursRow,
    resources::fields::Name,
};

struct Row {
    id: Uuid,
    client_id: Uuid,
    name: String,
    lookup: String,
    created_at: OffsetDateTime,
    not_after: Option<OffsetDateTime>,
    revoked_at: Option<OffsetDateTime>,
    rotated_to: Option<Uuid>,
    allow: Vec<String>,
    hours: Json<Vec<HoursRow>>,
}

impl From<Row> for Key {
    fn from(row: Row) -> Self {
        Self {
            id: Id::from_uuid(row.id),
            client_id: Id::from_uuid(row.client_id),
            settings: KeySettings {
                name: Name::stored(row.name),
                not_after: row.not_after,
                allow: row.allow,
                hours: row.hours.0.into_iter().map(Hours::from).collect(),
            },
            lookup: row.lookup,
            created_at: row.created_at,
            revoked_at: row.revoked_at,
            rotated_to: row.rotated_to.map(Id::from_uuid),
        }
    }
}

pub(super) async fn list(
    tx: &mut TenantTx,
    client: ClientId,
    after: Uuid,
    fetch: i64,
) -> Result<Vec<Key>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, client_id, name, lookup, created_at, not_after, revoked_at, rotated_to, allow,
            hours AS \"hours: Json<Vec<HoursRow>>\" FROM api_keys
         WHERE tenant_id = $1 AND client_id = $2 AND id > $3 ORDER BY id LIMIT $4",
        tenant,
        client.uuid(),
        after,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

pub(super) async fn get(tx: &mut TenantTx, client: ClientId, id: KeyId) -> Result<Key, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        Row,
        "SELECT id, client_id, name, lookup, created_at, not_after, revoked_at, rotated_to, allow,
            hours AS \"hours: Json<Vec<HoursRow>>\" FROM api_keys
         WHERE tenant_id = $1 AND client_id = $2 AND id = $3",
        tenant,
        client.uuid(),
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(row.into())
}

/// Locks the row, so that nobody changes it between reading and writing.
pub(super) async fn lock(tx: &mut TenantTx, client: ClientId, id: KeyId) -> Result<Key, StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "SELECT id FROM api_keys WHERE tenant_id = $1 AND client_id = $2 AND id = $3 FOR UPDATE",
        tenant,
        client.uuid(),
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    get(tx, client, id).await
}

pub(super) async fn insert(
    tx: &mut TenantTx,
    key: &Key,
    hash: &[u8; 32],
    data_key: DataKeyId,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO api_keys (tenant_id, id, client_id, name, lookup, hash, data_key_id, created_at, not_after,
            allow, hours)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        tenant,
        key.id.uuid(),
        key.client_id.uuid(),
        key.settings.name.as_str(),
        key.lookup,
        hash.as_slice(),
        data_key.uuid(),
        key.created_at,
        key.settings.not_after,
        &key.settings.allow,
        hours(&key.settings) as _
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn update(tx: &mut TenantTx, id: KeyId, settings: &KeySettings) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE api_keys SET name = $3, not_after = $4, allow = $5, hours = $6 WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        settings.name.as_str(),
        settings.not_after,
        &settings.allow,
        hours(settings) as _
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

fn hours(settings: &KeySettings) -> Json<Vec<HoursRow>> {
    Json(settings.hours.iter().map(HoursRow::from).collect())
}

/// The old key ends at `deadline`, or when it would have ended anyway.
pub(super) async fn supersede(
    tx: &mut TenantTx,
    id: KeyId,
    by: KeyId,
    deadline: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE api_keys SET rotated_to = $3, not_after = least(not_after, $4) WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        by.uuid(),
        deadline
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Revokes; a key that is revoked already keeps its time.
pub(super) async fn revoke(tx: &mut TenantTx, id: KeyId, now: OffsetDateTime) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE api_keys SET revoked_at = coalesce(revoked_at, $3) WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
