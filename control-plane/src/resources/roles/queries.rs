//! `roles` and `client_roles`.

use ids::{ClientId, Id, RoleId, Uuid};
use time::OffsetDateTime;

use super::types::{Role, RoleSettings};
use crate::{
    db::{StoreError, TenantTx},
    resources::fields::Name,
};

/// A role as stored.
pub(in crate::resources) struct Row {
    pub(in crate::resources) id: Uuid,
    pub(in crate::resources) name: String,
    pub(in crate::resources) created_at: OffsetDateTime,
    pub(in crate::resources) updated_at: OffsetDateTime,
}

impl From<Row> for Role {
    fn from(row: Row) -> Self {
        Self {
            id: Id::from_uuid(row.id),
            settings: RoleSettings { name: Name::stored(row.name) },
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

pub(super) async fn list(tx: &mut TenantTx, after: Uuid, fetch: i64) -> Result<Vec<Role>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, name, created_at, updated_at FROM roles WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        tenant,
        after,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(Role::from).collect())
}

/// Holds the role's row until the transaction ends, and reads it.
pub(super) async fn lock(tx: &mut TenantTx, id: RoleId) -> Result<Role, StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("SELECT id FROM roles WHERE tenant_id = $1 AND id = $2 FOR UPDATE", tenant, id.uuid())
        .fetch_one(tx.conn())
        .await?;
    get(tx, id).await
}

pub(super) async fn get(tx: &mut TenantTx, id: RoleId) -> Result<Role, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        Row,
        "SELECT id, name, created_at, updated_at FROM roles WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(row.into())
}

pub(super) async fn insert(
    tx: &mut TenantTx,
    id: RoleId,
    settings: &RoleSettings,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO roles (tenant_id, id, name, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)",
        tenant,
        id.uuid(),
        settings.name.as_str(),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn update(
    tx: &mut TenantTx,
    id: RoleId,
    settings: &RoleSettings,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE roles SET name = $3, updated_at = $4 WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        settings.name.as_str(),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut TenantTx, id: RoleId) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM roles WHERE tenant_id = $1 AND id = $2", tenant, id.uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}

pub(super) async fn of_client(
    tx: &mut TenantTx,
    client: ClientId,
    after: Uuid,
    fetch: i64,
) -> Result<Vec<Role>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        Row,
        "SELECT role.id, role.name, role.created_at, role.updated_at
         FROM client_roles held JOIN roles role ON role.tenant_id = held.tenant_id AND role.id = held.role_id
         WHERE held.tenant_id = $1 AND held.client_id = $2 AND role.id > $3 ORDER BY role.id LIMIT $4",
        tenant,
        client.uuid(),
        after,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(Role::from).collect())
}

/// Holds the client's row, so that it is not deleted meanwhile. [`StoreError::NotFound`] when there is none.
pub(super) async fn lock_client(tx: &mut TenantTx, client: ClientId) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("SELECT id FROM clients WHERE tenant_id = $1 AND id = $2 FOR UPDATE", tenant, client.uuid())
        .fetch_one(tx.conn())
        .await?;
    Ok(())
}

pub(super) async fn assign(
    tx: &mut TenantTx,
    client: ClientId,
    role: RoleId,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO client_roles (tenant_id, client_id, role_id, created_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (tenant_id, client_id, role_id) DO NOTHING",
        tenant,
        client.uuid(),
        role.uuid(),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Whether there was something to take away.
pub(super) async fn unassign(tx: &mut TenantTx, client: ClientId, role: RoleId) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    let done = sqlx::query!(
        "DELETE FROM client_roles WHERE tenant_id = $1 AND client_id = $2 AND role_id = $3",
        tenant,
        client.uuid(),
        role.uuid()
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() > 0)
}
