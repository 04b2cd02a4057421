//! `tenants` and `egress_rules`.

use ids::{Id, TenantId, Uuid};
use time::OffsetDateTime;

use super::types::{EgressRule, Tenant, TenantSettings};
use crate::{
    db::{OperatorTx, StoreError},
    resources::fields::Name,
};

pub(super) async fn list(tx: &mut OperatorTx, after: Uuid, fetch: i64) -> Result<Vec<Tenant>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT tenant.id, tenant.slug, tenant.name, pool.slug AS pool, tenant.suspended, tenant.created_at,
             tenant.updated_at, tenant.max_stale_seconds,
             array(SELECT network FROM egress_rules e WHERE e.tenant_id = tenant.id ORDER BY network, port) AS "networks!",
             array(SELECT port FROM egress_rules e WHERE e.tenant_id = tenant.id ORDER BY network, port) AS "ports!"
           FROM tenants tenant JOIN pools pool ON pool.id = tenant.pool_id
           WHERE tenant.id > $1 ORDER BY tenant.id LIMIT $2"#,
        after,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    let tenants = rows.into_iter().map(|row| Tenant {
        id: Id::from_uuid(row.id),
        slug: row.slug,
        settings: TenantSettings {
            name: Name::stored(row.name),
            pool: row.pool,
            suspended: row.suspended,
            egress: egress(row.networks, row.ports),
            max_stale_seconds: row.max_stale_seconds.map(i32::unsigned_abs),
        },
        created_at: row.created_at,
        updated_at: row.updated_at,
    });
    Ok(tenants.collect())
}

fn egress(networks: Vec<String>, ports: Vec<i32>) -> Vec<EgressRule> {
    let rules = networks.into_iter().zip(ports);
    rules.map(|(network, port)| EgressRule { network, port: port.unsigned_abs() }).collect()
}

pub(super) async fn get(tx: &mut OperatorTx, id: TenantId) -> Result<Tenant, StoreError> {
    let row = sqlx::query!(
        r#"SELECT tenant.slug, tenant.name, pool.slug AS pool, tenant.suspended, tenant.created_at, tenant.updated_at,
             tenant.max_stale_seconds,
             array(SELECT network FROM egress_rules e WHERE e.tenant_id = tenant.id ORDER BY network, port) AS "networks!",
             array(SELECT port FROM egress_rules e WHERE e.tenant_id = tenant.id ORDER BY network, port) AS "ports!"
           FROM tenants tenant JOIN pools pool ON pool.id = tenant.pool_id WHERE tenant.id = $1"#,
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(Tenant {
        id,
        slug: row.slug,
        settings: TenantSettings {
            name: Name::stored(row.name),
            pool: row.pool,
            suspended: row.suspended,
            egress: egress(row.networks, row.ports),
            max_stale_seconds: row.max_stale_seconds.map(i32::unsigned_abs),
        },
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

/// Locks the tenant, so that its writes wait, and reads it.
pub(super) async fn lock(tx: &mut OperatorTx, id: TenantId) -> Result<Tenant, StoreError> {
    sqlx::query!("SELECT id FROM tenants WHERE id = $1 FOR NO KEY UPDATE", id.uuid())
        .fetch_one(tx.conn())
        .await?;
    get(tx, id).await
}

pub(super) async fn pool_by_slug(tx: &mut OperatorTx, slug: &str) -> Result<Option<Uuid>, StoreError> {
    Ok(sqlx::query_scalar!("SELECT id FROM pools WHERE slug = $1", slug).fetch_optional(tx.conn()).await?)
}

pub(super) async fn insert(
    tx: &mut OperatorTx,
    id: TenantId,
    slug: &str,
    settings: &TenantSettings,
    pool: Uuid,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO tenants (id, slug, name, pool_id, rev, suspended, created_at, updated_at, max_stale_seconds)
         VALUES ($1, $2, $3, $4, 0, $5, $6, $6, $7)",
        id.uuid(),
        slug,
        settings.name.as_str(),
        pool,
        settings.suspended,
        now,
        settings.max_stale_seconds.map(u32::cast_signed)
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn update(
    tx: &mut OperatorTx,
    id: TenantId,
    settings: &TenantSettings,
    pool: Uuid,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE tenants SET name = $2, pool_id = $3, suspended = $4, updated_at = $5, max_stale_seconds = $6 WHERE id = $1",
        id.uuid(),
        settings.name.as_str(),
        pool,
        settings.suspended,
        now,
        settings.max_stale_seconds.map(u32::cast_signed)
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn set_egress(
    tx: &mut OperatorTx,
    id: TenantId,
    rules: &[egress::Rule],
) -> Result<(), StoreError> {
    let networks: Vec<String> = rules.iter().map(|rule| rule.network().to_string()).collect();
    let ports: Vec<i32> = rules.iter().map(|rule| i32::from(rule.port())).collect();
    sqlx::query!("DELETE FROM egress_rules WHERE tenant_id = $1", id.uuid()).execute(tx.conn()).await?;
    sqlx::query!(
        "INSERT INTO egress_rules (tenant_id, network, port) SELECT $1, * FROM unnest($2::text[], $3::integer[])",
        id.uuid(),
        &networks,
        &ports
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Deletes the tenant and every row that is its own, whatever refers to what among them.
pub(super) async fn delete(tx: &mut OperatorTx, id: TenantId) -> Result<(), StoreError> {
    sqlx::query!("SET CONSTRAINTS ALL DEFERRED").execute(tx.conn()).await?;
    sqlx::query!("DELETE FROM tenants WHERE id = $1", id.uuid()).execute(tx.conn()).await?;
    Ok(())
}
