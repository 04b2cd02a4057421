//! `clients` and `client_endpoints`.

use ids::{ClientId, EndpointId, Id, Uuid};
use time::OffsetDateTime;

use super::types::{Client, ClientEndpoint, ClientSettings};
use crate::{
    db::{StoreError, TenantTx},
    oauth::redirect::RedirectUri,
    resources::fields::Name,
};

struct Row {
    id: Uuid,
    name: String,
    enabled: bool,
    token_lifetime_seconds: i32,
    redirect_uris: Vec<String>,
    public: bool,
    dpop_bound_access_tokens: bool,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl From<Row> for Client {
    fn from(row: Row) -> Self {
        Self {
            id: Id::from_uuid(row.id),
            settings: ClientSettings {
                name: Name::stored(row.name),
                enabled: row.enabled,
                // Postgres keeps it between 900 and 3600.
                token_lifetime_seconds: row.token_lifetime_seconds.unsigned_abs(),
                redirect_uris: row.redirect_uris.into_iter().map(RedirectUri::stored).collect(),
                public: row.public,
                dpop_bound_access_tokens: row.dpop_bound_access_tokens,
            },
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

pub(super) async fn list(tx: &mut TenantTx, after: Uuid, fetch: i64) -> Result<Vec<Client>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, name, enabled, token_lifetime_seconds, redirect_uris, public, dpop_bound_access_tokens, created_at, updated_at FROM clients
         WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        tenant,
        after,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

fn lifetime(settings: &ClientSettings) -> i32 {
    i32::try_from(settings.token_lifetime_seconds).unwrap_or(i32::MAX)
}

fn redirect_uris(settings: &ClientSettings) -> Vec<String> {
    settings.redirect_uris.iter().map(ToString::to_string).collect()
}

/// A client of the transaction's tenant.
pub(in crate::resources) async fn get(tx: &mut TenantTx, id: ClientId) -> Result<Client, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        Row,
        "SELECT id, name, enabled, token_lifetime_seconds, redirect_uris, public, dpop_bound_access_tokens, created_at, updated_at FROM clients
         WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(row.into())
}

/// Locks the row, so that nobody changes it between reading and writing.
pub(super) async fn lock(tx: &mut TenantTx, id: ClientId) -> Result<Client, StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("SELECT id FROM clients WHERE tenant_id = $1 AND id = $2 FOR UPDATE", tenant, id.uuid())
        .fetch_one(tx.conn())
        .await?;
    get(tx, id).await
}

pub(super) async fn insert(
    tx: &mut TenantTx,
    id: ClientId,
    settings: &ClientSettings,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO clients (tenant_id, id, name, enabled, token_lifetime_seconds, redirect_uris, public,
           dpop_bound_access_tokens, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)",
        tenant,
        id.uuid(),
        settings.name.as_str(),
        settings.enabled,
        lifetime(settings),
        &redirect_uris(settings),
        settings.public,
        settings.dpop_bound_access_tokens,
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn update(
    tx: &mut TenantTx,
    id: ClientId,
    settings: &ClientSettings,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE clients SET name = $3, enabled = $4, token_lifetime_seconds = $5, redirect_uris = $6, public = $7,
           dpop_bound_access_tokens = $8, updated_at = $9
         WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        settings.name.as_str(),
        settings.enabled,
        lifetime(settings),
        &redirect_uris(settings),
        settings.public,
        settings.dpop_bound_access_tokens,
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut TenantTx, id: ClientId) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM clients WHERE tenant_id = $1 AND id = $2", tenant, id.uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Whether the client has secrets that are good, or keys to authenticate by.
pub(super) async fn proves_itself(
    tx: &mut TenantTx,
    id: ClientId,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM client_secrets WHERE tenant_id = $1 AND client_id = $2 AND revoked_at IS NULL
               AND (not_after IS NULL OR not_after > $3))
             OR EXISTS (SELECT FROM client_public_keys WHERE tenant_id = $1 AND client_id = $2
               AND (not_after IS NULL OR not_after > $3)) AS "proves!""#,
        tenant,
        id.uuid(),
        now
    )
    .fetch_one(tx.conn())
    .await?)
}

pub(super) async fn endpoints(
    tx: &mut TenantTx,
    client: ClientId,
    after: Uuid,
    fetch: i64,
) -> Result<Vec<ClientEndpoint>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        "SELECT endpoint_id, created_at FROM client_endpoints
         WHERE tenant_id = $1 AND client_id = $2 AND endpoint_id > $3 ORDER BY endpoint_id LIMIT $4",
        tenant,
        client.uuid(),
        after,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    let relation = rows.into_iter().map(|row| ClientEndpoint {
        endpoint_id: Id::from_uuid(row.endpoint_id),
        created_at: row.created_at,
    });
    Ok(relation.collect())
}

/// Whether the endpoint exists in this tenant.
pub(super) async fn endpoint_exists(tx: &mut TenantTx, id: EndpointId) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM endpoints WHERE tenant_id = $1 AND id = $2) AS "exists!""#,
        tenant,
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?)
}

pub(super) async fn allow(
    tx: &mut TenantTx,
    client: ClientId,
    endpoint: EndpointId,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO client_endpoints (tenant_id, client_id, endpoint_id, created_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (tenant_id, client_id, endpoint_id) DO NOTHING",
        tenant,
        client.uuid(),
        endpoint.uuid(),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Ends the relation; `NotFound` when there is none.
pub(super) async fn disallow(
    tx: &mut TenantTx,
    client: ClientId,
    endpoint: EndpointId,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "DELETE FROM client_endpoints WHERE tenant_id = $1 AND client_id = $2 AND endpoint_id = $3
         RETURNING endpoint_id",
        tenant,
        client.uuid(),
        endpoint.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(())
}
