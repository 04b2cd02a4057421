//! Whose a credential is, and which tenant a path names.

use ids::{TenantId, Uuid};
use time::OffsetDateTime;

use super::known::{Entry, Whose};
use crate::db::{AuditReadTx, AuthTx, OperatorTx, StoreError, TenantTx, Unreadable};

pub(super) struct FoundOperatorToken {
    pub(super) id: Uuid,
    pub(super) hash: Vec<u8>,
}

pub(super) struct FoundAdminToken {
    pub(super) tenant_id: Uuid,
    pub(super) id: Uuid,
    pub(super) hash: Vec<u8>,
}

pub(super) struct LiveAdminToken {
    pub(super) scopes: Vec<String>,
    pub(super) slug: String,
    pub(super) not_after: Option<OffsetDateTime>,
}

pub(super) async fn operator_token(
    tx: &mut AuthTx,
    lookup: &str,
) -> Result<Option<FoundOperatorToken>, StoreError> {
    Ok(sqlx::query_as!(FoundOperatorToken, "SELECT id, hash FROM operator_tokens WHERE lookup = $1", lookup)
        .fetch_optional(tx.conn())
        .await?)
}

/// Every token that is stored, also what has ended.
pub(super) async fn tokens(tx: &mut AuthTx) -> Result<Vec<(Box<str>, Entry)>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT lookup AS "lookup!", hash AS "hash!", id AS "id!", tenant_id AS "tenant_id?", joins AS "joins!" FROM (
             SELECT lookup, hash, id, tenant_id, false AS joins FROM admin_tokens
             UNION ALL SELECT lookup, hash, id, NULL, false FROM operator_tokens
             UNION ALL SELECT lookup, hash, id, NULL, true FROM join_tokens
           ) AS tokens"#
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter()
        .map(|row| {
            let whose = match row.tenant_id {
                Some(tenant) => Whose::Admin(TenantId::from_uuid(tenant), row.id),
                None if row.joins => Whose::Joining,
                None => Whose::Operator(row.id),
            };
            let hash = row.hash.try_into().map_err(|_| Unreadable("token hash"))?;
            Ok((row.lookup.into(), Entry { hash, whose }))
        })
        .collect()
}

pub(super) async fn admin_token(
    tx: &mut AuthTx,
    lookup: &str,
) -> Result<Option<FoundAdminToken>, StoreError> {
    Ok(sqlx::query_as!(
        FoundAdminToken,
        "SELECT tenant_id, id, hash FROM admin_tokens WHERE lookup = $1",
        lookup
    )
    .fetch_optional(tx.conn())
    .await?)
}

pub(super) async fn operator_token_is_live(
    tx: &mut OperatorTx,
    id: Uuid,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM operator_tokens WHERE id = $1 AND revoked_at IS NULL
           AND (not_after IS NULL OR not_after > $2)) AS "live!""#,
        id,
        now
    )
    .fetch_one(tx.conn())
    .await?)
}

pub(super) async fn live_admin_token(
    tx: &mut TenantTx,
    id: Uuid,
    now: OffsetDateTime,
) -> Result<Option<LiveAdminToken>, StoreError> {
    Ok(sqlx::query_as!(
        LiveAdminToken,
        "SELECT token.scopes, tenant.slug, token.not_after FROM admin_tokens token JOIN tenants tenant ON tenant.id = token.tenant_id
         WHERE token.tenant_id = $1 AND token.id = $2 AND token.revoked_at IS NULL
           AND (token.not_after IS NULL OR token.not_after > $3)",
        tx.tenant().uuid(),
        id,
        now
    )
    .fetch_optional(tx.conn())
    .await?)
}

pub(super) async fn tenant_by_name(
    tx: &mut OperatorTx,
    id: Option<TenantId>,
    slug: &str,
) -> Result<Option<TenantId>, StoreError> {
    let found = sqlx::query_scalar!(
        "SELECT id FROM tenants WHERE id = $1 OR ($1::uuid IS NULL AND slug = $2)",
        id.map(TenantId::uuid),
        slug
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(found.map(TenantId::from_uuid))
}

/// Whether the audit log has anything of the transaction's tenant.
pub(super) async fn has_records(tx: &mut AuditReadTx, tenant: TenantId) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM audit_records WHERE tenant_id = $1) AS "has!""#,
        tenant.uuid()
    )
    .fetch_one(tx.conn())
    .await?)
}
