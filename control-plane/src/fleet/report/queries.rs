//! SQL of the catalogue.

use ids::{Id, ProxyId, ToolId, UpstreamId, Uuid};
use seams::Timestamp;

use super::ServerStatus;
use crate::{
    db::{StoreError, TenantTx, Unreadable},
    fleet::catalogue::{Known, Seen, State, Update},
};

pub(super) async fn upstream_exists(tx: &mut TenantTx, upstream: UpstreamId) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    let found = sqlx::query_scalar!(
        "SELECT id FROM upstreams WHERE tenant_id = $1 AND id = $2",
        tenant,
        upstream.uuid()
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(found.is_some())
}

pub(super) async fn upsert_status(
    tx: &mut TenantTx,
    upstream: UpstreamId,
    proxy: ProxyId,
    status: &ServerStatus<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO upstream_status (tenant_id, upstream_id, proxy_id, reported_at, protocol_version, server_name,
           server_version, error_code)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (tenant_id, upstream_id) DO UPDATE SET proxy_id = EXCLUDED.proxy_id,
           reported_at = EXCLUDED.reported_at, protocol_version = EXCLUDED.protocol_version,
           server_name = EXCLUDED.server_name, server_version = EXCLUDED.server_version,
           error_code = EXCLUDED.error_code",
        tenant,
        upstream.uuid(),
        proxy.uuid(),
        now.to_offset(),
        status.protocol_version,
        status.name,
        status.version,
        status.error.map(errors::ErrorCode::slug)
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

fn digest(bytes: &[u8]) -> Result<[u8; 32], Unreadable> {
    bytes.try_into().map_err(|_| Unreadable("digest"))
}

pub(super) async fn tools(tx: &mut TenantTx, upstream: UpstreamId) -> Result<Vec<Known>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        "SELECT id, name, state, pinned_digest, seen_digest FROM tools WHERE tenant_id = $1 AND upstream_id = $2",
        tenant,
        upstream.uuid()
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Known {
                id: Id::from_uuid(row.id),
                name: row.name,
                state: State::from_name(&row.state).ok_or(Unreadable("tool state"))?,
                pinned: row.pinned_digest.as_deref().map(digest).transpose()?,
                seen: digest(&row.seen_digest)?,
            })
        })
        .collect()
}

/// Whether every endpoint that shows the upstream's tools takes new ones unreviewed. One that blocks them decides.
pub(super) async fn approves_first_seen(tx: &mut TenantTx, upstream: UpstreamId) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    let all = sqlx::query_scalar!(
        "SELECT bool_and(endpoints.unknown_tools = 'approve_first_seen') FROM endpoint_upstreams
         JOIN endpoints ON endpoints.tenant_id = endpoint_upstreams.tenant_id
           AND endpoints.id = endpoint_upstreams.endpoint_id
         WHERE endpoint_upstreams.tenant_id = $1 AND endpoint_upstreams.upstream_id = $2",
        tenant,
        upstream.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(all == Some(true))
}

pub(super) async fn insert_definitions(
    tx: &mut TenantTx,
    seen: &[Seen],
    now: Timestamp,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    let digests: Vec<_> = seen.iter().map(|tool| tool.digest.to_vec()).collect();
    let definitions: Vec<_> = seen.iter().map(|tool| tool.definition.to_vec()).collect();
    sqlx::query!(
        "INSERT INTO tool_definitions (tenant_id, digest, definition, first_seen_at)
         SELECT $1, digest, definition, $4 FROM UNNEST($2::bytea[], $3::bytea[]) AS seen (digest, definition)
         ON CONFLICT DO NOTHING",
        tenant,
        &digests,
        &definitions,
        now.to_offset()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// New tools: nobody has said what they do, so they are unclassified and cost one unit.
pub(super) async fn insert_tools(
    tx: &mut TenantTx,
    upstream: UpstreamId,
    tools: &[(ToolId, &Seen)],
    approved: bool,
    now: Timestamp,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    let ids: Vec<_> = tools.iter().map(|(id, _)| id.uuid()).collect();
    let names: Vec<_> = tools.iter().map(|(_, tool)| tool.name.clone()).collect();
    let digests: Vec<_> = tools.iter().map(|(_, tool)| tool.digest.to_vec()).collect();
    let state = if approved { State::Approved } else { State::Pending };
    sqlx::query!(
        "INSERT INTO tools (tenant_id, id, upstream_id, name, state, class, labels, cost, pinned_digest, pinned_at,
           seen_digest, first_seen_at, last_seen_at, updated_at)
         SELECT $1, id, $2, name, $6, 'unclassified', '{}', 1, CASE WHEN $7 THEN digest END,
           CASE WHEN $7 THEN $8::timestamptz END, digest, $8, $8, $8
         FROM UNNEST($3::uuid[], $4::text[], $5::bytea[]) AS seen (id, name, digest)",
        tenant,
        upstream.uuid(),
        &ids,
        &names,
        &digests,
        state.name(),
        approved,
        now.to_offset()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn update_tools(
    tx: &mut TenantTx,
    updates: &[Update],
    now: Timestamp,
) -> Result<(), StoreError> {
    if updates.is_empty() {
        return Ok(());
    }
    let tenant = tx.tenant().uuid();
    let ids: Vec<_> = updates.iter().map(|update| update.id.uuid()).collect();
    let states: Vec<_> = updates.iter().map(|update| update.state.name().to_owned()).collect();
    let seen: Vec<_> = updates.iter().map(|update| update.seen.to_vec()).collect();
    sqlx::query!(
        "UPDATE tools SET state = said.state, seen_digest = said.seen, updated_at = $5,
           last_seen_at = CASE WHEN said.state = 'retired' THEN last_seen_at ELSE $5 END
         FROM UNNEST($2::uuid[], $3::text[], $4::bytea[]) AS said (id, state, seen)
         WHERE tools.tenant_id = $1 AND tools.id = said.id",
        tenant,
        &ids,
        &states,
        &seen,
        now.to_offset()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Deletes those of `digests` that no tool refers to any more.
pub(super) async fn forget_definitions(tx: &mut TenantTx, digests: &[[u8; 32]]) -> Result<(), StoreError> {
    if digests.is_empty() {
        return Ok(());
    }
    let tenant = tx.tenant().uuid();
    let digests: Vec<_> = digests.iter().map(|digest| digest.to_vec()).collect();
    sqlx::query!(
        "DELETE FROM tool_definitions old WHERE tenant_id = $1 AND digest = ANY ($2)
           AND NOT EXISTS (SELECT FROM tools WHERE tenant_id = $1 AND seen_digest = old.digest)
           AND NOT EXISTS (SELECT FROM tools WHERE tenant_id = $1 AND pinned_digest = old.digest)",
        tenant,
        &digests
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn touch_tools(
    tx: &mut TenantTx,
    tools: &[ToolId],
    now: Timestamp,
) -> Result<(), StoreError> {
    if tools.is_empty() {
        return Ok(());
    }
    let tenant = tx.tenant().uuid();
    let ids: Vec<Uuid> = tools.iter().map(|tool| tool.uuid()).collect();
    sqlx::query!(
        "UPDATE tools SET last_seen_at = $3 WHERE tenant_id = $1 AND id = ANY ($2)",
        tenant,
        &ids,
        now.to_offset()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
