//! `tools`, `tool_definitions` and `commands`.

use crypto::digest;
use ids::{CommandId, Id, ToolId, UpstreamId, Uuid};
use policy::Class;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::types::{Command, Tool, ToolDetail, ToolSettings, ToolTimeouts};
use crate::{
    db::{StoreError, TenantTx, Unreadable},
    publish::rows::ToolState,
};

struct Row {
    id: Uuid,
    upstream_id: Uuid,
    name: String,
    state: String,
    class: String,
    labels: Vec<String>,
    cost: i32,
    connect_timeout_ms: Option<i32>,
    first_byte_timeout_ms: Option<i32>,
    idle_timeout_ms: Option<i32>,
    total_timeout_ms: Option<i32>,
    pinned_digest: Option<Vec<u8>>,
    pinned_at: Option<OffsetDateTime>,
    seen_digest: Vec<u8>,
    first_seen_at: OffsetDateTime,
    last_seen_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl TryFrom<Row> for Tool {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: Id::from_uuid(row.id),
            upstream_id: Id::from_uuid(row.upstream_id),
            name: row.name,
            state: ToolState::from_name(&row.state).ok_or(Unreadable("tool state"))?,
            settings: ToolSettings {
                class: Class::from_name(&row.class).ok_or(Unreadable("tool class"))?,
                labels: row.labels,
                cost: row.cost.unsigned_abs(),
                timeouts: ToolTimeouts {
                    connect_timeout_ms: row.connect_timeout_ms.map(i32::unsigned_abs),
                    first_byte_timeout_ms: row.first_byte_timeout_ms.map(i32::unsigned_abs),
                    idle_timeout_ms: row.idle_timeout_ms.map(i32::unsigned_abs),
                    total_timeout_ms: row.total_timeout_ms.map(i32::unsigned_abs),
                },
            },
            pinned_digest: row.pinned_digest.as_deref().map(digest::hex),
            pinned_at: row.pinned_at,
            seen_digest: digest::hex(&row.seen_digest),
            first_seen_at: row.first_seen_at,
            last_seen_at: row.last_seen_at,
            updated_at: row.updated_at,
        })
    }
}

pub(super) async fn list(
    tx: &mut TenantTx,
    upstream: Option<UpstreamId>,
    state: Option<ToolState>,
    after: Uuid,
    fetch: i64,
) -> Result<Vec<Tool>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, upstream_id, name, state, class, labels, cost, connect_timeout_ms, first_byte_timeout_ms, idle_timeout_ms,
           total_timeout_ms, pinned_digest, pinned_at, seen_digest, first_seen_at, last_seen_at, updated_at
         FROM tools
         WHERE tenant_id = $1 AND id > $2 AND ($3::uuid IS NULL OR upstream_id = $3)
           AND ($4::text IS NULL OR state = $4)
         ORDER BY id LIMIT $5",
        tenant,
        after,
        upstream.map(UpstreamId::uuid),
        state.map(ToolState::name),
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(Tool::try_from).collect()
}

/// Holds the tool's row until the transaction ends, and reads it.
pub(super) async fn lock(tx: &mut TenantTx, id: ToolId) -> Result<ToolDetail, StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("SELECT id FROM tools WHERE tenant_id = $1 AND id = $2 FOR UPDATE", tenant, id.uuid())
        .fetch_one(tx.conn())
        .await?;
    get(tx, id).await
}

pub(super) async fn get(tx: &mut TenantTx, id: ToolId) -> Result<ToolDetail, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        Row,
        "SELECT id, upstream_id, name, state, class, labels, cost, connect_timeout_ms, first_byte_timeout_ms, idle_timeout_ms,
           total_timeout_ms, pinned_digest, pinned_at, seen_digest, first_seen_at, last_seen_at, updated_at
         FROM tools WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    let pinned_definition = match &row.pinned_digest {
        Some(digest) => Some(definition(tx, digest).await?),
        None => None,
    };
    let seen_definition = definition(tx, &row.seen_digest).await?;
    Ok(ToolDetail { tool: row.try_into()?, pinned_definition, seen_definition })
}

async fn definition(tx: &mut TenantTx, digest: &[u8]) -> Result<Box<RawValue>, StoreError> {
    let tenant = tx.tenant().uuid();
    let bytes = sqlx::query_scalar!(
        "SELECT definition FROM tool_definitions WHERE tenant_id = $1 AND digest = $2",
        tenant,
        digest
    )
    .fetch_one(tx.conn())
    .await?;
    let text = String::from_utf8(bytes).map_err(|_| Unreadable("tool definition"))?;
    Ok(RawValue::from_string(text).map_err(|_| Unreadable("tool definition"))?)
}

pub(super) async fn update(
    tx: &mut TenantTx,
    id: ToolId,
    settings: &ToolSettings,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE tools SET class = $3, labels = $4, cost = $5, connect_timeout_ms = $6, first_byte_timeout_ms = $7,
           idle_timeout_ms = $8, total_timeout_ms = $9, updated_at = $10 WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        settings.class.name(),
        &settings.labels,
        settings.cost.cast_signed(),
        settings.timeouts.connect_timeout_ms.map(u32::cast_signed),
        settings.timeouts.first_byte_timeout_ms.map(u32::cast_signed),
        settings.timeouts.idle_timeout_ms.map(u32::cast_signed),
        settings.timeouts.total_timeout_ms.map(u32::cast_signed),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Pins the definition that was seen last.
pub(super) async fn approve(
    tx: &mut TenantTx,
    id: ToolId,
    class: Class,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE tools SET state = 'approved', class = $3, pinned_digest = seen_digest, pinned_at = $4, updated_at = $4
         WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        class.name(),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Nothing of a rejected tool is approved any more.
pub(super) async fn reject(tx: &mut TenantTx, id: ToolId, now: OffsetDateTime) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE tools SET state = 'rejected', pinned_digest = NULL, pinned_at = NULL, updated_at = $3
         WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Whether the upstream may be called.
pub(super) async fn upstream_is_enabled(tx: &mut TenantTx, id: UpstreamId) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    let enabled = sqlx::query_scalar!(
        "SELECT enabled FROM upstreams WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(enabled)
}

pub(super) async fn command(tx: &mut TenantTx, id: CommandId) -> Result<Command, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        "SELECT upstream_id, created_at, claimed_at, finished_at, error_code FROM commands
         WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(Command {
        id,
        upstream_id: Id::from_uuid(row.upstream_id),
        created_at: row.created_at,
        claimed_at: row.claimed_at,
        finished_at: row.finished_at,
        error_code: row.error_code,
    })
}
