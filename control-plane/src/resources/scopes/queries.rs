//! `scopes`.

use ids::{Id, Scope, ScopeId, Uuid};
use time::OffsetDateTime;

use super::types::{self, ScopeName, ScopeNew, ScopeSettings};
use crate::{
    db::{StoreError, TenantTx, Unreadable},
    resources::fields::Name,
};

struct Row {
    id: Uuid,
    name: String,
    description: String,
    baseline: bool,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl TryFrom<Row> for types::Scope {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: Id::from_uuid(row.id),
            name: ScopeName::stored(scope(&row.name)?),
            settings: ScopeSettings { description: Name::stored(row.description), baseline: row.baseline },
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

fn scope(name: &str) -> Result<Scope, StoreError> {
    Ok(name.parse().map_err(|_| Unreadable("scope"))?)
}

pub(super) async fn list(
    tx: &mut TenantTx,
    after: Uuid,
    fetch: i64,
) -> Result<Vec<types::Scope>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, name, description, baseline, created_at, updated_at FROM scopes
         WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        tenant,
        after,
        fetch
    );
    rows.fetch_all(tx.conn()).await?.into_iter().map(types::Scope::try_from).collect()
}

/// Holds the scope's row until the transaction ends, and reads it.
pub(super) async fn lock(tx: &mut TenantTx, id: ScopeId) -> Result<types::Scope, StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("SELECT id FROM scopes WHERE tenant_id = $1 AND id = $2 FOR UPDATE", tenant, id.uuid())
        .fetch_one(tx.conn())
        .await?;
    get(tx, id).await
}

pub(super) async fn get(tx: &mut TenantTx, id: ScopeId) -> Result<types::Scope, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        Row,
        "SELECT id, name, description, baseline, created_at, updated_at FROM scopes
         WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid()
    );
    row.fetch_one(tx.conn()).await?.try_into()
}

/// How many the tenant has. The tenant's row is held by whoever writes, so it does not change meanwhile.
pub(super) async fn count(tx: &mut TenantTx) -> Result<i64, StoreError> {
    let tenant = tx.tenant().uuid();
    let count =
        sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM scopes WHERE tenant_id = $1"#, tenant);
    Ok(count.fetch_one(tx.conn()).await?)
}

pub(super) async fn insert(
    tx: &mut TenantTx,
    id: ScopeId,
    new: &ScopeNew,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO scopes (tenant_id, id, name, description, baseline, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $6)",
        tenant,
        id.uuid(),
        new.name.as_str(),
        new.description.as_str(),
        new.baseline,
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn update(
    tx: &mut TenantTx,
    id: ScopeId,
    settings: &ScopeSettings,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE scopes SET description = $3, baseline = $4, updated_at = $5 WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        settings.description.as_str(),
        settings.baseline,
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut TenantTx, id: ScopeId) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM scopes WHERE tenant_id = $1 AND id = $2", tenant, id.uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Whether a grant names it.
pub(super) async fn is_named(tx: &mut TenantTx, name: &str) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    let named = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM grants WHERE tenant_id = $1 AND scope = $2) AS "named!""#,
        tenant,
        name
    );
    Ok(named.fetch_one(tx.conn()).await?)
}

/// Whether the tenant has it; keeps it from being deleted until the transaction ends.
pub(crate) async fn exists(tx: &mut TenantTx, name: &Scope) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    let found = sqlx::query_scalar!(
        "SELECT id FROM scopes WHERE tenant_id = $1 AND name = $2 FOR KEY SHARE",
        tenant,
        name.as_str()
    );
    Ok(found.fetch_optional(tx.conn()).await?.is_some())
}

/// The names of all, in order, each with whether it is one of the baseline.
pub(crate) async fn all(tx: &mut TenantTx) -> Result<Vec<(Scope, bool)>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        r#"SELECT name, baseline FROM scopes WHERE tenant_id = $1 ORDER BY name COLLATE "C""#,
        tenant
    );
    let rows = rows.fetch_all(tx.conn()).await?;
    rows.into_iter().map(|row| Ok((scope(&row.name)?, row.baseline))).collect()
}
