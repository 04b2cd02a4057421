//! `client_secrets`.

use ids::{ClientId, ClientSecretId, Id, Uuid};
use time::OffsetDateTime;

use super::types::ClientSecret;
use crate::{
    db::{StoreError, TenantTx},
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
    last_used_at: Option<OffsetDateTime>,
}

impl From<Row> for ClientSecret {
    fn from(row: Row) -> Self {
        Self {
            id: Id::from_uuid(row.id),
            client_id: Id::from_uuid(row.client_id),
            name: Name::stored(row.name),
            lookup: row.lookup,
            created_at: row.created_at,
            not_after: row.not_after,
            revoked_at: row.revoked_at,
            rotated_to: row.rotated_to.map(Id::from_uuid),
            last_used_at: row.last_used_at,
        }
    }
}

pub(super) async fn list(
    tx: &mut TenantTx,
    client: ClientId,
    after: Uuid,
    fetch: i64,
) -> Result<Vec<ClientSecret>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, client_id, name, lookup, created_at, not_after, revoked_at, rotated_to, last_used_at FROM client_secrets
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

pub(super) async fn get(
    tx: &mut TenantTx,
    client: ClientId,
    id: ClientSecretId,
) -> Result<ClientSecret, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        Row,
        "SELECT id, client_id, name, lookup, created_at, not_after, revoked_at, rotated_to, last_used_at FROM client_secrets
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
pub(super) async fn lock(
    tx: &mut TenantTx,
    client: ClientId,
    id: ClientSecretId,
) -> Result<ClientSecret, StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "SELECT id FROM client_secrets WHERE tenant_id = $1 AND client_id = $2 AND id = $3 FOR UPDATE",
        tenant,
        client.uuid(),
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    get(tx, client, id).await
}

pub(super) async fn insert(tx: &mut TenantTx, secret: &ClientSecret, hash: &str) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO client_secrets (tenant_id, id, client_id, name, lookup, hash, created_at, not_after)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        tenant,
        secret.id.uuid(),
        secret.client_id.uuid(),
        secret.name.as_str(),
        secret.lookup,
        hash,
        secret.created_at,
        secret.not_after
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The old secret ends at `deadline`, or when it would have ended anyway.
pub(super) async fn supersede(
    tx: &mut TenantTx,
    id: ClientSecretId,
    by: ClientSecretId,
    deadline: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE client_secrets SET rotated_to = $3, not_after = least(not_after, $4) WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        by.uuid(),
        deadline
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Revokes; a secret that is revoked already keeps its time.
pub(super) async fn revoke(
    tx: &mut TenantTx,
    id: ClientSecretId,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE client_secrets SET revoked_at = coalesce(revoked_at, $3) WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Secrets of the client that can be presented still.
pub(super) async fn live(
    tx: &mut TenantTx,
    client: ClientId,
    now: OffsetDateTime,
) -> Result<i64, StoreError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM client_secrets
           WHERE tenant_id = $1 AND client_id = $2 AND revoked_at IS NULL AND (not_after IS NULL OR not_after > $3)"#,
        tenant,
        client.uuid(),
        now
    )
    .fetch_one(tx.conn())
    .await?)
}
