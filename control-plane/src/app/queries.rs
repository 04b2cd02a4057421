//! What exists from the start.

use ids::{PoolId, Uuid};
use time::OffsetDateTime;

use crate::db::{OperatorTx, StoreError};

pub(super) async fn ensure_pool(
    tx: &mut OperatorTx,
    id: PoolId,
    slug: &str,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO pools (id, slug, created_at) VALUES ($1, $2, $3) ON CONFLICT (slug) DO NOTHING",
        id.uuid(),
        slug,
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn ensure_operator_token(
    tx: &mut OperatorTx,
    id: Uuid,
    name: &str,
    lookup: &str,
    hash: &[u8; 32],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO operator_tokens (id, name, lookup, hash, created_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (lookup) DO NOTHING",
        id,
        name,
        lookup,
        hash.as_slice(),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
