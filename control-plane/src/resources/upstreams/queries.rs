//! `upstreams` and `upstream_credentials`.

use ids::{CredentialId, DataKeyId, Id, UpstreamId, Uuid};
use time::OffsetDateTime;

use super::types::{
    Credential, Upstream, UpstreamBreaker, UpstreamConcurrency, UpstreamSettings, UpstreamTls,
};
use crate::{
    db::{StoreError, TenantTx, Unreadable},
    resources::fields::Name,
};

struct Row {
    id: Uuid,
    slug: String,
    name: String,
    url: String,
    connect_timeout_ms: i32,
    first_byte_timeout_ms: i32,
    idle_timeout_ms: i32,
    total_timeout_ms: i32,
    tls_ca_pem: Option<String>,
    tls_server_name: Option<String>,
    tls_pins: Vec<String>,
    breaker_failures: i32,
    breaker_failure_percent: i32,
    breaker_open_ms: i32,
    concurrency_max: i32,
    concurrency_queue: i32,
    concurrency_wait_ms: i32,
    concurrency_adaptive: bool,
    enabled: bool,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl From<Row> for Upstream {
    fn from(row: Row) -> Self {
        Self {
            id: Id::from_uuid(row.id),
            slug: row.slug,
            settings: UpstreamSettings {
                name: Name::stored(row.name),
                url: row.url,
                connect_timeout_ms: row.connect_timeout_ms.unsigned_abs(),
                first_byte_timeout_ms: row.first_byte_timeout_ms.unsigned_abs(),
                idle_timeout_ms: row.idle_timeout_ms.unsigned_abs(),
                total_timeout_ms: row.total_timeout_ms.unsigned_abs(),
                tls: UpstreamTls {
                    ca_pem: row.tls_ca_pem,
                    server_name: row.tls_server_name,
                    pins: row.tls_pins,
                },
                breaker: UpstreamBreaker {
                    failures: row.breaker_failures.unsigned_abs(),
                    failure_percent: row.breaker_failure_percent.unsigned_abs(),
                    open_ms: row.breaker_open_ms.unsigned_abs(),
                },
                concurrency: UpstreamConcurrency {
                    max: row.concurrency_max.unsigned_abs(),
                    queue: row.concurrency_queue.unsigned_abs(),
                    wait_ms: row.concurrency_wait_ms.unsigned_abs(),
                    adaptive: row.concurrency_adaptive,
                },
                enabled: row.enabled,
            },
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

pub(super) async fn list(tx: &mut TenantTx, after: Uuid, fetch: i64) -> Result<Vec<Upstream>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, slug, name, url, connect_timeout_ms, first_byte_timeout_ms, idle_timeout_ms, total_timeout_ms, tls_ca_pem,
           tls_server_name, breaker_failures, breaker_failure_percent, breaker_open_ms, concurrency_max, concurrency_queue,
           concurrency_wait_ms, concurrency_adaptive, tls_pins, enabled, created_at, updated_at
         FROM upstreams WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        tenant,
        after,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

pub(super) async fn get(tx: &mut TenantTx, id: UpstreamId) -> Result<Upstream, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        Row,
        "SELECT id, slug, name, url, connect_timeout_ms, first_byte_timeout_ms, idle_timeout_ms, total_timeout_ms, tls_ca_pem,
           tls_server_name, breaker_failures, breaker_failure_percent, breaker_open_ms, concurrency_max, concurrency_queue,
           concurrency_wait_ms, concurrency_adaptive, tls_pins, enabled, created_at, updated_at
         FROM upstreams WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(row.into())
}

/// Locks the row, so that nobody changes it between reading and writing.
pub(crate) async fn lock(tx: &mut TenantTx, id: UpstreamId) -> Result<Upstream, StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("SELECT id FROM upstreams WHERE tenant_id = $1 AND id = $2 FOR UPDATE", tenant, id.uuid())
        .fetch_one(tx.conn())
        .await?;
    get(tx, id).await
}

pub(crate) async fn egress_rules(tx: &mut TenantTx) -> Result<egress::Rules, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!("SELECT network, port FROM egress_rules WHERE tenant_id = $1", tenant)
        .fetch_all(tx.conn())
        .await?;
    let rules = rows.into_iter().map(|row| egress::Rule::new(&row.network, row.port.unsigned_abs()));
    let rules = rules.collect::<Result<Vec<_>, _>>().map_err(|_| Unreadable("egress rule"))?;
    Ok(egress::Rules::new(rules))
}

pub(super) async fn insert(
    tx: &mut TenantTx,
    id: UpstreamId,
    slug: &str,
    settings: &UpstreamSettings,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO upstreams (tenant_id, id, slug, name, url, connect_timeout_ms, first_byte_timeout_ms, idle_timeout_ms,
           total_timeout_ms, tls_ca_pem, tls_server_name, breaker_failures, breaker_failure_percent, breaker_open_ms,
           concurrency_max, concurrency_queue, concurrency_wait_ms, concurrency_adaptive, enabled, created_at, updated_at, tls_pins)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $20, $21)",
        tenant,
        id.uuid(),
        slug,
        settings.name.as_str(),
        settings.url,
        signed(settings.connect_timeout_ms)?,
        signed(settings.first_byte_timeout_ms)?,
        signed(settings.idle_timeout_ms)?,
        signed(settings.total_timeout_ms)?,
        settings.tls.ca_pem,
        settings.tls.server_name,
        signed(settings.breaker.failures)?,
        signed(settings.breaker.failure_percent)?,
        signed(settings.breaker.open_ms)?,
        signed(settings.concurrency.max)?,
        signed(settings.concurrency.queue)?,
        signed(settings.concurrency.wait_ms)?,
        settings.concurrency.adaptive,
        settings.enabled,
        now,
        &settings.tls.pins
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn update(
    tx: &mut TenantTx,
    id: UpstreamId,
    settings: &UpstreamSettings,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE upstreams SET name = $3, url = $4, connect_timeout_ms = $5, first_byte_timeout_ms = $6,
           idle_timeout_ms = $7, total_timeout_ms = $8, tls_ca_pem = $9, tls_server_name = $10, breaker_failures = $11,
           breaker_failure_percent = $12, breaker_open_ms = $13, concurrency_max = $14, concurrency_queue = $15,
           concurrency_wait_ms = $16, concurrency_adaptive = $17, enabled = $18, updated_at = $19,
           tls_pins = $20
         WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        settings.name.as_str(),
        settings.url,
        signed(settings.connect_timeout_ms)?,
        signed(settings.first_byte_timeout_ms)?,
        signed(settings.idle_timeout_ms)?,
        signed(settings.total_timeout_ms)?,
        settings.tls.ca_pem,
        settings.tls.server_name,
        signed(settings.breaker.failures)?,
        signed(settings.breaker.failure_percent)?,
        signed(settings.breaker.open_ms)?,
        signed(settings.concurrency.max)?,
        signed(settings.concurrency.queue)?,
        signed(settings.concurrency.wait_ms)?,
        settings.concurrency.adaptive,
        settings.enabled,
        now,
        &settings.tls.pins
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut TenantTx, id: UpstreamId) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM upstreams WHERE tenant_id = $1 AND id = $2", tenant, id.uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}

fn signed(value: u32) -> Result<i32, StoreError> {
    i32::try_from(value).map_err(|_| Unreadable("number").into())
}

/// A credential's value as it is stored.
pub(super) struct SealedValue {
    pub(super) data_key_id: DataKeyId,
    pub(super) sealed: Vec<u8>,
    pub(super) fingerprint: String,
}

struct CredentialRow {
    id: Uuid,
    upstream_id: Uuid,
    header: String,
    fingerprint: String,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl From<CredentialRow> for Credential {
    fn from(row: CredentialRow) -> Self {
        Self {
            id: Id::from_uuid(row.id),
            upstream_id: Id::from_uuid(row.upstream_id),
            header: row.header,
            fingerprint: row.fingerprint,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

pub(super) async fn credentials(
    tx: &mut TenantTx,
    upstream: UpstreamId,
    after: Uuid,
    fetch: i64,
) -> Result<Vec<Credential>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        CredentialRow,
        "SELECT id, upstream_id, header, fingerprint, created_at, updated_at FROM upstream_credentials
         WHERE tenant_id = $1 AND upstream_id = $2 AND id > $3 ORDER BY id LIMIT $4",
        tenant,
        upstream.uuid(),
        after,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Locked: who reads a credential is about to change it.
pub(super) async fn credential(
    tx: &mut TenantTx,
    upstream: UpstreamId,
    id: CredentialId,
) -> Result<Credential, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        CredentialRow,
        "SELECT id, upstream_id, header, fingerprint, created_at, updated_at FROM upstream_credentials
         WHERE tenant_id = $1 AND upstream_id = $2 AND id = $3 FOR UPDATE",
        tenant,
        upstream.uuid(),
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(row.into())
}

pub(super) async fn insert_credential(
    tx: &mut TenantTx,
    credential: &Credential,
    value: &SealedValue,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO upstream_credentials (tenant_id, id, upstream_id, header, data_key_id, sealed, fingerprint,
           created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        tenant,
        credential.id.uuid(),
        credential.upstream_id.uuid(),
        credential.header,
        value.data_key_id.uuid(),
        value.sealed,
        value.fingerprint,
        credential.created_at,
        credential.updated_at
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn replace_credential(
    tx: &mut TenantTx,
    id: CredentialId,
    value: &SealedValue,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE upstream_credentials SET data_key_id = $3, sealed = $4, fingerprint = $5, updated_at = $6
         WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        value.data_key_id.uuid(),
        value.sealed,
        value.fingerprint,
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn delete_credential(tx: &mut TenantTx, id: CredentialId) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM upstream_credentials WHERE tenant_id = $1 AND id = $2", tenant, id.uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}
