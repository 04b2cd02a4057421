//! `initial_access_tokens`.

use ids::{Id, InitialAccessTokenId, Uuid};
use time::OffsetDateTime;

use super::types::InitialAccessToken;
use crate::{
    db::{StoreError, TenantTx},
    resources::fields::Name,
};

struct Row {
    id: Uuid,
    name: String,
    lookup: String,
    max_uses: i32,
    uses: i32,
    created_at: OffsetDateTime,
    not_after: OffsetDateTime,
    last_used_at: Option<OffsetDateTime>,
}

impl From<Row> for InitialAccessToken {
    fn from(row: Row) -> Self {
        Self {
            id: Id::from_uuid(row.id),
            name: Name::stored(row.name),
            lookup: row.lookup,
            max_uses: row.max_uses.unsigned_abs(),
            uses: row.uses.unsigned_abs(),
            created_at: row.created_at,
            not_after: row.not_after,
            last_used_at: row.last_used_at,
        }
    }
}

pub(super) async fn list(
    tx: &mut TenantTx,
    after: Uuid,
    fetch: i64,
) -> Result<Vec<InitialAccessToken>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, name, lookup, max_uses, uses, created_at, not_after, last_used_at FROM initial_access_tokens
         WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        tenant,
        after,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Holds the token's row until the transaction ends, and reads it.
pub(super) async fn lock(
    tx: &mut TenantTx,
    id: InitialAccessTokenId,
) -> Result<InitialAccessToken, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        Row,
        "SELECT id, name, lookup, max_uses, uses, created_at, not_after, last_used_at FROM initial_access_tokens
         WHERE tenant_id = $1 AND id = $2 FOR UPDATE",
        tenant,
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(row.into())
}

/// How many can still be used.
pub(super) async fn live(tx: &mut TenantTx, now: OffsetDateTime) -> Result<i64, StoreError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM initial_access_tokens
           WHERE tenant_id = $1 AND not_after > $2 AND uses < max_uses"#,
        tenant,
        now
    )
    .fetch_one(tx.conn())
    .await?)
}

pub(super) async fn insert(
    tx: &mut TenantTx,
    token: &InitialAccessToken,
    hash: &[u8; 32],
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO initial_access_tokens (tenant_id, id, name, lookup, hash, max_uses, created_at, not_after)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        tenant,
        token.id.uuid(),
        token.name.as_str(),
        token.lookup,
        hash.as_slice(),
        i32::try_from(token.max_uses).unwrap_or(i32::MAX),
        token.created_at,
        token.not_after
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut TenantTx, id: InitialAccessTokenId) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM initial_access_tokens WHERE tenant_id = $1 AND id = $2", tenant, id.uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}
