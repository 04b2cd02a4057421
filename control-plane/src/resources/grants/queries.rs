//! `grants`.

use ids::{GrantId, Id, RoleId, Uuid};
use policy::{Effect, GrantedAction};
use time::OffsetDateTime;

use super::types::{Grant, GrantSettings, GrantSubject};
use crate::db::{StoreError, TenantTx, Unreadable};

struct Row {
    id: Uuid,
    role_id: Option<Uuid>,
    client_id: Option<Uuid>,
    member_id: Option<Uuid>,
    effect: String,
    scope: Option<String>,
    actions: serde_json::Value,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl TryFrom<Row> for Grant {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let subject = match (row.role_id, row.client_id, row.member_id) {
            (Some(role), None, None) => GrantSubject::Role(Id::from_uuid(role)),
            (None, Some(client), None) => GrantSubject::Client(Id::from_uuid(client)),
            (None, None, Some(member)) => GrantSubject::Member(Id::from_uuid(member)),
            _ => return Err(Unreadable("grant subject").into()),
        };
        let effect = match row.effect.as_str() {
            "permit" => Effect::Permit,
            "forbid" => Effect::Forbid,
            _ => return Err(Unreadable("grant effect").into()),
        };
        let scope = row.scope.map(|scope| scope.parse().map_err(|_| Unreadable("scope"))).transpose()?;
        let actions = serde_json::from_value(row.actions).map_err(|_| Unreadable("grant actions"))?;
        Ok(Self {
            id: Id::from_uuid(row.id),
            subject,
            settings: GrantSettings { effect, scope, actions },
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

pub(super) async fn list(tx: &mut TenantTx, after: Uuid, fetch: i64) -> Result<Vec<Grant>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, role_id, client_id, member_id, effect, scope, actions, created_at, updated_at FROM grants
         WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        tenant,
        after,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(Grant::try_from).collect()
}

/// All grants of a role, in order of creation. Keeps the role from being deleted until the transaction ends.
/// [`StoreError::NotFound`] when there is no such role.
pub(super) async fn of_role(tx: &mut TenantTx, role: RoleId) -> Result<Vec<Grant>, StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("SELECT id FROM roles WHERE tenant_id = $1 AND id = $2 FOR KEY SHARE", tenant, role.uuid())
        .fetch_one(tx.conn())
        .await?;
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, role_id, client_id, member_id, effect, scope, actions, created_at, updated_at FROM grants
         WHERE tenant_id = $1 AND role_id = $2 ORDER BY id",
        tenant,
        role.uuid()
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(Grant::try_from).collect()
}

/// Holds the grant's row until the transaction ends, and reads it.
pub(super) async fn lock(tx: &mut TenantTx, id: GrantId) -> Result<Grant, StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("SELECT id FROM grants WHERE tenant_id = $1 AND id = $2 FOR UPDATE", tenant, id.uuid())
        .fetch_one(tx.conn())
        .await?;
    get(tx, id).await
}

pub(super) async fn get(tx: &mut TenantTx, id: GrantId) -> Result<Grant, StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        Row,
        "SELECT id, role_id, client_id, member_id, effect, scope, actions, created_at, updated_at FROM grants
         WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?
    .try_into()
}

pub(super) async fn insert(
    tx: &mut TenantTx,
    id: GrantId,
    subject: GrantSubject,
    settings: &GrantSettings,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    let (role, client, member) = match subject {
        GrantSubject::Role(id) => (Some(id.uuid()), None, None),
        GrantSubject::Client(id) => (None, Some(id.uuid()), None),
        GrantSubject::Member(id) => (None, None, Some(id.uuid())),
    };
    sqlx::query!(
        "INSERT INTO grants (tenant_id, id, role_id, client_id, member_id, effect, scope, actions, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)",
        tenant,
        id.uuid(),
        role,
        client,
        member,
        effect(settings.effect),
        settings.scope.as_ref().map(|scope| scope.as_str()),
        actions(&settings.actions)?,
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn update(
    tx: &mut TenantTx,
    id: GrantId,
    settings: &GrantSettings,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE grants SET effect = $3, scope = $4, actions = $5, updated_at = $6 WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        effect(settings.effect),
        settings.scope.as_ref().map(|scope| scope.as_str()),
        actions(&settings.actions)?,
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut TenantTx, id: GrantId) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM grants WHERE tenant_id = $1 AND id = $2", tenant, id.uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Whether the tenant has the role, client or member; keeps it from being deleted until the transaction ends.
pub(super) async fn subject_exists(tx: &mut TenantTx, subject: GrantSubject) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    let found = match subject {
        GrantSubject::Role(id) => {
            sqlx::query_scalar!(
                "SELECT id FROM roles WHERE tenant_id = $1 AND id = $2 FOR KEY SHARE",
                tenant,
                id.uuid()
            )
            .fetch_optional(tx.conn())
            .await?
        }
        GrantSubject::Client(id) => {
            sqlx::query_scalar!(
                "SELECT id FROM clients WHERE tenant_id = $1 AND id = $2 FOR KEY SHARE",
                tenant,
                id.uuid()
            )
            .fetch_optional(tx.conn())
            .await?
        }
        GrantSubject::Member(id) => {
            sqlx::query_scalar!(
                "SELECT id FROM members WHERE tenant_id = $1 AND id = $2 FOR KEY SHARE",
                tenant,
                id.uuid()
            )
            .fetch_optional(tx.conn())
            .await?
        }
    };
    Ok(found.is_some())
}

/// Those of `wanted` that are upstreams of the tenant.
pub(super) async fn known_upstreams(tx: &mut TenantTx, wanted: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!("SELECT id FROM upstreams WHERE tenant_id = $1 AND id = ANY($2)", tenant, wanted)
        .fetch_all(tx.conn())
        .await?)
}

const fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Permit => "permit",
        Effect::Forbid => "forbid",
    }
}

fn actions(actions: &[GrantedAction]) -> Result<serde_json::Value, StoreError> {
    serde_json::to_value(actions).map_err(|error| StoreError::Bug(Box::new(error)))
}
