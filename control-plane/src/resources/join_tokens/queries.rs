//! `join_tokens`.

use ids::{Id, JoinTokenId, Uuid};
use time::OffsetDateTime;

use super::types::JoinToken;
use crate::db::{OperatorTx, StoreError};

struct Row {
    id: Uuid,
    pool: String,
    created_at: OffsetDateTime,
    not_after: OffsetDateTime,
    used_at: Option<OffsetDateTime>,
    used_by: Option<Uuid>,
}

impl From<Row> for JoinToken {
    fn from(row: Row) -> Self {
        Self {
            id: Id::from_uuid(row.id),
            pool: row.pool,
            created_at: row.created_at,
            not_after: row.not_after,
            used_at: row.used_at,
            used_by: row.used_by.map(Id::from_uuid),
        }
    }
}

pub(super) async fn list(tx: &mut OperatorTx, after: Uuid, fetch: i64) -> Result<Vec<JoinToken>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT token.id, pool.slug AS pool, token.created_at, token.not_after, token.used_at, token.used_by
         FROM join_tokens token JOIN pools pool ON pool.id = token.pool_id
         WHERE token.id > $1 ORDER BY token.id LIMIT $2",
        after,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Holds the token's row until the transaction ends, and reads it.
pub(super) async fn lock(tx: &mut OperatorTx, id: JoinTokenId) -> Result<JoinToken, StoreError> {
    let row = sqlx::query_as!(
        Row,
        "SELECT token.id, pool.slug AS pool, token.created_at, token.not_after, token.used_at, token.used_by
         FROM join_tokens token JOIN pools pool ON pool.id = token.pool_id
         WHERE token.id = $1 FOR UPDATE OF token",
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(row.into())
}

pub(super) async fn pool_by_slug(tx: &mut OperatorTx, slug: &str) -> Result<Option<Uuid>, StoreError> {
    Ok(sqlx::query_scalar!("SELECT id FROM pools WHERE slug = $1", slug).fetch_optional(tx.conn()).await?)
}

pub(super) async fn insert(
    tx: &mut OperatorTx,
    token: &JoinToken,
    pool: Uuid,
    lookup: &str,
    hash: &[u8; 32],
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO join_tokens (id, pool_id, lookup, hash, created_at, not_after) VALUES ($1, $2, $3, $4, $5, $6)",
        token.id.uuid(),
        pool,
        lookup,
        hash.as_slice(),
        token.created_at,
        token.not_after
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut OperatorTx, id: JoinTokenId) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM join_tokens WHERE id = $1", id.uuid()).execute(tx.conn()).await?;
    Ok(())
}
