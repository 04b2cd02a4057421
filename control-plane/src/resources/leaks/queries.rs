//! Credentials by their public part, in whichever tenant.

use ids::{AdminTokenId, ClientId, ClientSecretId, DataKeyId, Id, InitialAccessTokenId, KeyId, TenantId};
use time::OffsetDateTime;

use crate::db::{AuthTx, StoreError, TenantTx, Unreadable};

/// Whose credentials have the public part, by kind of table: (tenant, id).
pub(super) async fn api_keys(tx: &mut AuthTx, lookup: &str) -> Result<Vec<(TenantId, KeyId)>, StoreError> {
    let rows =
        sqlx::query!("SELECT tenant_id, id FROM api_keys WHERE lookup = $1", lookup).fetch_all(tx.conn());
    Ok(rows.await?.into_iter().map(|row| (Id::from_uuid(row.tenant_id), Id::from_uuid(row.id))).collect())
}

pub(super) async fn client_secrets(
    tx: &mut AuthTx,
    lookup: &str,
) -> Result<Vec<(TenantId, ClientSecretId)>, StoreError> {
    let rows = sqlx::query!("SELECT tenant_id, id FROM client_secrets WHERE lookup = $1", lookup)
        .fetch_all(tx.conn());
    Ok(rows.await?.into_iter().map(|row| (Id::from_uuid(row.tenant_id), Id::from_uuid(row.id))).collect())
}

pub(super) async fn initial_access_tokens(
    tx: &mut AuthTx,
    lookup: &str,
) -> Result<Vec<(TenantId, InitialAccessTokenId)>, StoreError> {
    let rows = sqlx::query!("SELECT tenant_id, id FROM initial_access_tokens WHERE lookup = $1", lookup)
        .fetch_all(tx.conn());
    Ok(rows.await?.into_iter().map(|row| (Id::from_uuid(row.tenant_id), Id::from_uuid(row.id))).collect())
}

pub(super) async fn admin_tokens(
    tx: &mut AuthTx,
    lookup: &str,
) -> Result<Vec<(TenantId, AdminTokenId, [u8; 32])>, StoreError> {
    let rows = sqlx::query!("SELECT tenant_id, id, hash FROM admin_tokens WHERE lookup = $1", lookup)
        .fetch_all(tx.conn())
        .await?;
    rows.into_iter()
        .map(|row| {
            let hash = row.hash.try_into().map_err(|_| Unreadable("token hash"))?;
            Ok((Id::from_uuid(row.tenant_id), Id::from_uuid(row.id), hash))
        })
        .collect()
}

pub(super) async fn operator_tokens(tx: &mut AuthTx, lookup: &str) -> Result<Vec<[u8; 32]>, StoreError> {
    let hashes = sqlx::query_scalar!("SELECT hash FROM operator_tokens WHERE lookup = $1", lookup)
        .fetch_all(tx.conn())
        .await?;
    hashes.into_iter().map(|hash| hash.try_into().map_err(|_| Unreadable("token hash").into())).collect()
}

/// What is stored of a key, if it is still there.
pub(super) struct StoredKey {
    pub(super) hash: [u8; 32],
    pub(super) data_key: DataKeyId,
    pub(super) revoked: bool,
}

pub(super) async fn api_key(tx: &mut TenantTx, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        "SELECT hash, data_key_id, revoked_at FROM api_keys WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid()
    )
    .fetch_optional(tx.conn())
    .await?;
    let Some(row) = row else { return Ok(None) };
    let hash = row.hash.try_into().map_err(|_| Unreadable("key hash"))?;
    let data_key = Id::from_uuid(row.data_key_id);
    Ok(Some(StoredKey { hash, data_key, revoked: row.revoked_at.is_some() }))
}

pub(super) async fn is_live_admin_token(tx: &mut TenantTx, id: AdminTokenId) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    let live = sqlx::query_scalar!(
        "SELECT id FROM admin_tokens WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL",
        tenant,
        id.uuid()
    );
    Ok(live.fetch_optional(tx.conn()).await?.is_some())
}

pub(super) async fn live_client_secret(
    tx: &mut TenantTx,
    id: ClientSecretId,
    now: OffsetDateTime,
) -> Result<Option<(ClientId, String)>, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        "SELECT client_id, hash FROM client_secrets WHERE tenant_id = $1 AND id = $2
           AND revoked_at IS NULL AND (not_after IS NULL OR not_after > $3)",
        tenant,
        id.uuid(),
        now
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| (Id::from_uuid(row.client_id), row.hash)))
}

pub(super) async fn initial_access_token(
    tx: &mut TenantTx,
    id: InitialAccessTokenId,
) -> Result<Option<[u8; 32]>, StoreError> {
    let tenant = tx.tenant().uuid();
    let hash = sqlx::query_scalar!(
        "SELECT hash FROM initial_access_tokens WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid()
    )
    .fetch_optional(tx.conn())
    .await?;
    hash.map(|hash| hash.try_into().map_err(|_| Unreadable("token hash").into())).transpose()
}

/// Ends a key now; false: it was revoked before.
pub(super) async fn end_api_key(
    tx: &mut TenantTx,
    id: KeyId,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    let ended = sqlx::query!(
        "UPDATE api_keys SET revoked_at = $3 WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL",
        tenant,
        id.uuid(),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(ended.rows_affected() > 0)
}

/// As [`end_api_key`].
pub(super) async fn end_client_secret(
    tx: &mut TenantTx,
    id: ClientSecretId,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    let ended = sqlx::query!(
        "UPDATE client_secrets SET revoked_at = $3 WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL",
        tenant,
        id.uuid(),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(ended.rows_affected() > 0)
}

/// As [`end_api_key`].
pub(super) async fn end_admin_token(
    tx: &mut TenantTx,
    id: AdminTokenId,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    let ended = sqlx::query!(
        "UPDATE admin_tokens SET revoked_at = $3 WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL",
        tenant,
        id.uuid(),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(ended.rows_affected() > 0)
}

/// As [`end_api_key`].
pub(super) async fn end_initial_access_token(
    tx: &mut TenantTx,
    id: InitialAccessTokenId,
) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    let ended =
        sqlx::query!("DELETE FROM initial_access_tokens WHERE tenant_id = $1 AND id = $2", tenant, id.uuid())
            .execute(tx.conn())
            .await?;
    Ok(ended.rows_affected() > 0)
}
