//! Of clients that register themselves, and of those that nobody uses.

use ids::{ClientId, Id, InitialAccessTokenId, TenantId};
use seams::Timestamp;
use serde_json::Value;
use time::OffsetDateTime;

use crate::db::{OperatorTx, StoreError, TenantTx, Unreadable};

/// An initial access token that can be used now, if this is one's public part; its row is held.
pub(in crate::oauth::registration) async fn initial_access_token(
    tx: &mut TenantTx,
    lookup: &str,
    now: OffsetDateTime,
) -> Result<Option<(InitialAccessTokenId, [u8; 32])>, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        "SELECT id, hash FROM initial_access_tokens
         WHERE tenant_id = $1 AND lookup = $2 AND not_after > $3 AND uses < max_uses FOR UPDATE",
        tenant,
        lookup,
        now
    );
    let Some(row) = row.fetch_optional(tx.conn()).await? else { return Ok(None) };
    let hash = row.hash.try_into().map_err(|_| Unreadable("hash"))?;
    Ok(Some((Id::from_uuid(row.id), hash)))
}

pub(in crate::oauth::registration) async fn use_initial_access_token(
    tx: &mut TenantTx,
    id: InitialAccessTokenId,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE initial_access_tokens SET uses = uses + 1, last_used_at = $3 WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// What is stored of the token with which a client manages its registration.
pub(in crate::oauth::registration) struct Manager<'a> {
    pub(in crate::oauth::registration) lookup: &'a str,
    pub(in crate::oauth::registration) hash: &'a [u8; 32],
    pub(in crate::oauth::registration) vouched: Option<InitialAccessTokenId>,
}

pub(in crate::oauth::registration) async fn insert_dynamic(
    tx: &mut TenantTx,
    id: ClientId,
    manager: Manager<'_>,
    (value, digest): (&Value, &[u8; 32]),
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO client_registrations
           (tenant_id, client_id, kind, metadata, digest, lookup, hash, initial_access_token_id, created_at, updated_at)
         VALUES ($1, $2, 'dynamic', $3, $4, $5, $6, $7, $8, $8)",
        tenant,
        id.uuid(),
        value,
        digest.as_slice(),
        manager.lookup,
        manager.hash.as_slice(),
        manager.vouched.map(ids::Id::uuid),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// A client that has registered itself.
pub(in crate::oauth::registration) struct Managed {
    pub(in crate::oauth::registration) hash: [u8; 32],
    pub(in crate::oauth::registration) metadata: Value,
    pub(in crate::oauth::registration) enabled: bool,
    pub(in crate::oauth::registration) vouched: bool,
    pub(in crate::oauth::registration) created_at: Timestamp,
}

/// The client's registration, if this is the public part of the token that manages it.
pub(in crate::oauth::registration) async fn managed(
    tx: &mut TenantTx,
    id: ClientId,
    lookup: &str,
) -> Result<Option<Managed>, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        r#"SELECT r.hash AS "hash!", r.metadata, r.initial_access_token_id, r.created_at, c.enabled AND NOT t.suspended AS "enabled!"
           FROM client_registrations r JOIN clients c ON c.tenant_id = r.tenant_id AND c.id = r.client_id
             JOIN tenants t ON t.id = r.tenant_id
           WHERE r.tenant_id = $1 AND r.client_id = $2 AND r.lookup = $3 FOR UPDATE OF c"#,
        tenant,
        id.uuid(),
        lookup
    );
    let Some(row) = row.fetch_optional(tx.conn()).await? else { return Ok(None) };
    Ok(Some(Managed {
        hash: row.hash.try_into().map_err(|_| Unreadable("hash"))?,
        metadata: row.metadata,
        enabled: row.enabled,
        vouched: row.initial_access_token_id.is_some(),
        created_at: Timestamp::from_offset(row.created_at),
    }))
}

pub(in crate::oauth::registration) async fn delete_client(
    tx: &mut TenantTx,
    id: ClientId,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM clients WHERE tenant_id = $1 AND id = $2", tenant, id.uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Tenants with clients that came before then and were never given a token.
pub(in crate::oauth::registration) async fn with_unused(
    tx: &mut OperatorTx,
    before: OffsetDateTime,
    most: i64,
) -> Result<Vec<TenantId>, StoreError> {
    let rows = sqlx::query_scalar!(
        "SELECT tenant_id FROM client_registrations WHERE used_at IS NULL AND initial_access_token_id IS NULL
           AND created_at < $1 GROUP BY tenant_id ORDER BY random() LIMIT $2",
        before,
        most
    );
    Ok(rows.fetch_all(tx.conn()).await?.into_iter().map(TenantId::from_uuid).collect())
}

/// Deletes a tenant's clients that came before then, for whom nobody vouches, and that were never given a token.
pub(in crate::oauth::registration) async fn delete_unused(
    tx: &mut TenantTx,
    before: OffsetDateTime,
    most: i64,
) -> Result<Vec<ClientId>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_scalar!(
        "DELETE FROM clients WHERE tenant_id = $1 AND id IN (
           SELECT client_id FROM client_registrations WHERE tenant_id = $1 AND used_at IS NULL
             AND initial_access_token_id IS NULL AND created_at < $2 ORDER BY created_at LIMIT $3)
         RETURNING id",
        tenant,
        before,
        most
    );
    Ok(rows.fetch_all(tx.conn()).await?.into_iter().map(Id::from_uuid).collect())
}
