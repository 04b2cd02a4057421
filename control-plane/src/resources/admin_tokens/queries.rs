//! `admin_tokens`.

use ids::{AdminTokenId, Id, Uuid};
use time::OffsetDateTime;

use super::types::AdminToken;
use crate::{
    db::{StoreError, TenantTx},
    resources::fields::Name,
};

struct Row {
    id: Uuid,
    name: String,
    scopes: Vec<String>,
    created_at: OffsetDateTime,
    not_after: Option<OffsetDateTime>,
    revoked_at: Option<OffsetDateTime>,
}

impl From<Row> for AdminToken {
    fn from(row: Row) -> Self {
        Self {
            id: Id::from_uuid(row.id),
            name: Name::stored(row.name),
            scopes: row.scopes,
            created_at: row.created_at,
            not_after: row.not_after,
            revoked_at: row.revoked_at,
        }
    }
}

pub(super) async fn list(tx: &mut TenantTx, after: Uuid, fetch: i64) -> Result<Vec<AdminToken>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, name, scopes, created_at, not_after, revoked_at FROM admin_tokens
         WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        tenant,
        after,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

pub(super) async fn get(tx: &mut TenantTx, id: AdminTokenId) -> Result<AdminToken, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        Row,
        "SELECT id, name, scopes, created_at, not_after, revoked_at FROM admin_tokens WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(row.into())
}

pub(super) async fn insert(
    tx: &mut TenantTx,
    token: &AdminToken,
    (lookup, hash): (&str, &[u8; 32]),
    made_by: &str,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO admin_tokens (tenant_id, id, name, lookup, hash, scopes, created_at, not_after, made_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        tenant,
        token.id.uuid(),
        token.name.as_str(),
        lookup,
        hash.as_slice(),
        &token.scopes,
        token.created_at,
        token.not_after,
        made_by
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Revokes; a token that is revoked already keeps its time.
pub(super) async fn revoke(
    tx: &mut TenantTx,
    id: AdminTokenId,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE admin_tokens SET revoked_at = coalesce(revoked_at, $3) WHERE tenant_id = $1 AND id = $2 RETURNING id",
        tenant,
        id.uuid(),
        now
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(())
}

/// Revokes those that somebody has made; which that were.
pub(super) async fn revoke_of(
    tx: &mut TenantTx,
    made_by: &str,
    now: OffsetDateTime,
) -> Result<Vec<AdminTokenId>, StoreError> {
    let tenant = tx.tenant().uuid();
    let revoked = sqlx::query_scalar!(
        "UPDATE admin_tokens SET revoked_at = $3 WHERE tenant_id = $1 AND made_by = $2 AND revoked_at IS NULL RETURNING id",
        tenant,
        made_by,
        now
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(revoked.into_iter().map(Id::from_uuid).collect())
}
