//! `pools`.

use ids::{Id, PoolId, Uuid};
use time::OffsetDateTime;

use super::types::Pool;
use crate::db::{OperatorTx, StoreError};

pub(super) async fn list(tx: &mut OperatorTx, after: Uuid, fetch: i64) -> Result<Vec<Pool>, StoreError> {
    let rows = sqlx::query!(
        "SELECT id, slug, created_at FROM pools WHERE id > $1 ORDER BY id LIMIT $2",
        after,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    let pools = rows.into_iter().map(|row| Pool {
        id: Id::from_uuid(row.id),
        slug: row.slug,
        created_at: row.created_at,
    });
    Ok(pools.collect())
}

pub(super) async fn get(tx: &mut OperatorTx, id: PoolId) -> Result<Pool, StoreError> {
    let row = sqlx::query!("SELECT slug, created_at FROM pools WHERE id = $1", id.uuid())
        .fetch_one(tx.conn())
        .await?;
    Ok(Pool { id, slug: row.slug, created_at: row.created_at })
}

pub(super) async fn insert(
    tx: &mut OperatorTx,
    id: PoolId,
    slug: &str,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!("INSERT INTO pools (id, slug, created_at) VALUES ($1, $2, $3)", id.uuid(), slug, now)
        .execute(tx.conn())
        .await?;
    Ok(())
}
