//! Reading a tenant whole, and storing what it compiles to.

mod domains;
mod members;
mod outward;

use domains::domains;
use ids::{Id, TenantId};
use members::{member_roles, members};
use policy::{Class, Effect, GrantSpec, Subject};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use seams::Timestamp;
use sqlx::types::Json;
use time::OffsetDateTime;
use wire::v1::{Breaker, Timeouts, UpstreamConcurrency};

use super::rows::{
    ApiKeyRow, AttachmentRow, ClientRow, CredentialKind, EgressRow, EndpointRow, HoursRow, LimitRow,
    SealedHeaderRow, TenantRow, TenantRows, ToolRow, ToolState, UnknownTools, UpstreamRow,
};
use super::subject::LimitSubject;
use crate::db::{StoreError, TenantTx, Unreadable};
use crate::resources::{
    client_authorities::queries as client_authorities, external_issuers::queries as external_issuers,
    upstreams::parse_pins,
};

/// Raises the tenant's revision, which is compiled under these origins, and holds its row until the transaction ends.
pub(super) async fn raise_revision(tx: &mut TenantTx, origins: &str) -> Result<u64, StoreError> {
    let rev = sqlx::query_scalar!(
        "UPDATE tenants SET rev = rev + 1, published_origins = $2 WHERE id = $1 RETURNING rev",
        tx.tenant().uuid(),
        origins
    );
    unsigned(rev.fetch_one(tx.conn()).await?, "revision")
}

/// Stores a compiled revision and announces it.
pub(super) async fn store_snapshot(
    tx: &mut TenantTx,
    rev: u64,
    body: &[u8],
    digest: &[u8; 32],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let (tenant, rev) = (tx.tenant().uuid(), i64::try_from(rev).map_err(|_| Unreadable("revision"))?);
    sqlx::query!(
        "INSERT INTO snapshots (tenant_id, rev, body, digest, created_at) VALUES ($1, $2, $3, $4, $5)",
        tenant,
        rev,
        body,
        digest.as_slice(),
        now
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        "INSERT INTO outbox (tenant_id, rev, digest, created_at) VALUES ($1, $2, $3, $4)",
        tenant,
        rev,
        digest.as_slice(),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Forgets revisions up to `oldest`.
pub(super) async fn trim(tx: &mut TenantTx, oldest: i64) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM snapshots WHERE tenant_id = $1 AND rev <= $2", tenant, oldest)
        .execute(tx.conn())
        .await?;
    sqlx::query!("DELETE FROM outbox WHERE tenant_id = $1 AND rev <= $2", tenant, oldest)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Everything the compiler needs.
pub(super) async fn load(tx: &mut TenantTx, as_of: Timestamp) -> Result<TenantRows, StoreError> {
    let id = tx.tenant();
    let row = sqlx::query!("SELECT slug, suspended, max_stale_seconds FROM tenants WHERE id = $1", id.uuid())
        .fetch_one(tx.conn())
        .await?;
    let max_stale_seconds =
        row.max_stale_seconds.map(|seconds| unsigned(seconds, "max_stale_seconds")).transpose()?;
    let tenant = TenantRow { id, slug: row.slug, suspended: row.suspended, max_stale_seconds };
    Ok(TenantRows {
        as_of,
        tenant,
        egress: egress(tx, id).await?,
        endpoints: endpoints(tx, id).await?,
        attachments: attachments(tx, id).await?,
        upstreams: upstreams(tx, id).await?,
        headers: headers(tx, id).await?,
        clients: clients(tx, id).await?,
        client_endpoints: client_endpoints(tx, id).await?,
        client_roles: client_roles(tx, id).await?,
        members: members(tx, id).await?,
        member_roles: member_roles(tx, id).await?,
        api_keys: api_keys(tx, id).await?,
        roles: roles(tx, id).await?,
        grants: grants(tx, id).await?,
        tools: tools(tx, id).await?,
        limits: limits(tx, id).await?,
        domains: domains(tx, id).await?,
        external_issuers: external_issuers::all(tx).await?,
        client_authorities: client_authorities::all(tx).await?,
        gateway: String::new(),
        issuer: None,
        assertions: None,
    })
}

async fn egress(tx: &mut TenantTx, tenant: TenantId) -> Result<Vec<EgressRow>, StoreError> {
    let rows = sqlx::query!("SELECT network, port FROM egress_rules WHERE tenant_id = $1", tenant.uuid())
        .fetch_all(tx.conn())
        .await?;
    rows.into_iter()
        .map(|row| Ok(EgressRow { network: row.network, port: unsigned(row.port, "port")? }))
        .collect()
}

async fn endpoints(tx: &mut TenantTx, tenant: TenantId) -> Result<Vec<EndpointRow>, StoreError> {
    let rows = sqlx::query!(
        "SELECT id, slug, hosts, origins, allow, deny, closed_methods, accepts, external_issuers, client_authorities, unknown_tools,
           max_request_bytes, max_response_bytes, enabled
         FROM endpoints WHERE tenant_id = $1",
        tenant.uuid()
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(EndpointRow {
                id: Id::from_uuid(row.id),
                slug: row.slug,
                hosts: row.hosts,
                origins: row.origins,
                allow: row.allow,
                deny: row.deny,
                closed_methods: row.closed_methods,
                accepts: CredentialKind::read(&row.accepts)?,
                external_issuers: row.external_issuers.into_iter().map(Id::from_uuid).collect(),
                client_authorities: row.client_authorities.into_iter().map(Id::from_uuid).collect(),
                unknown_tools: UnknownTools::from_name(&row.unknown_tools)
                    .ok_or(Unreadable("unknown_tools"))?,
                max_request_bytes: unsigned(row.max_request_bytes, "max_request_bytes")?,
                max_response_bytes: unsigned(row.max_response_bytes, "max_response_bytes")?,
                enabled: row.enabled,
            })
        })
        .collect()
}

async fn attachments(tx: &mut TenantTx, tenant: TenantId) -> Result<Vec<AttachmentRow>, StoreError> {
    let rows = sqlx::query!(
        "SELECT id, endpoint_id, upstream_id, prefix FROM endpoint_upstreams WHERE tenant_id = $1",
        tenant.uuid()
    )
    .fetch_all(tx.conn())
    .await?;
    let row = rows.into_iter().map(|row| AttachmentRow {
        id: Id::from_uuid(row.id),
        endpoint_id: Id::from_uuid(row.endpoint_id),
        upstream_id: Id::from_uuid(row.upstream_id),
        prefix: row.prefix,
    });
    Ok(row.collect())
}

async fn upstreams(tx: &mut TenantTx, tenant: TenantId) -> Result<Vec<UpstreamRow>, StoreError> {
    let rows = sqlx::query!(
        "SELECT id, slug, url, connect_timeout_ms, first_byte_timeout_ms, idle_timeout_ms, total_timeout_ms, tls_ca_pem,
           tls_server_name, breaker_failures, breaker_failure_percent, breaker_open_ms, concurrency_max, concurrency_queue,
           concurrency_wait_ms, concurrency_adaptive, tls_pins, enabled
         FROM upstreams WHERE tenant_id = $1",
        tenant.uuid()
    )
    .fetch_all(tx.conn())
    .await?;
    let mut auth = outward::auth(tx, tenant).await?;
    rows.into_iter()
        .map(|row| {
            Ok(UpstreamRow {
                auth: auth.remove(&Id::from_uuid(row.id)).unwrap_or_default(),
                id: Id::from_uuid(row.id),
                slug: row.slug,
                url: row.url,
                connect_timeout_ms: unsigned(row.connect_timeout_ms, "timeout")?,
                first_byte_timeout_ms: unsigned(row.first_byte_timeout_ms, "timeout")?,
                idle_timeout_ms: unsigned(row.idle_timeout_ms, "timeout")?,
                total_timeout_ms: unsigned(row.total_timeout_ms, "timeout")?,
                ca_der: row.tls_ca_pem.as_deref().map(certificates).transpose()?.unwrap_or_default(),
                server_name: row.tls_server_name.unwrap_or_default(),
                pins: parse_pins(&row.tls_pins).ok_or(Unreadable("pin"))?,
                breaker: Breaker {
                    failures: unsigned(row.breaker_failures, "breaker")?,
                    failure_percent: unsigned(row.breaker_failure_percent, "breaker")?,
                    open_ms: unsigned(row.breaker_open_ms, "breaker")?,
                },
                concurrency: UpstreamConcurrency {
                    max: unsigned(row.concurrency_max, "concurrency")?,
                    queue: unsigned(row.concurrency_queue, "concurrency")?,
                    wait_ms: unsigned(row.concurrency_wait_ms, "concurrency")?,
                    adaptive: row.concurrency_adaptive,
                },
                enabled: row.enabled,
            })
        })
        .collect()
}

pub(super) fn certificates(pem: &str) -> Result<Vec<Vec<u8>>, Unreadable> {
    let ders = CertificateDer::pem_slice_iter(pem.as_bytes()).map(|der| der.map(|der| der.to_vec()));
    ders.collect::<Result<_, _>>().map_err(|_| Unreadable("certificate"))
}

async fn headers(tx: &mut TenantTx, tenant: TenantId) -> Result<Vec<SealedHeaderRow>, StoreError> {
    let rows = sqlx::query!(
        "SELECT id, upstream_id, header, data_key_id, sealed FROM upstream_credentials WHERE tenant_id = $1",
        tenant.uuid()
    )
    .fetch_all(tx.conn())
    .await?;
    let row = rows.into_iter().map(|row| SealedHeaderRow {
        credential_id: Id::from_uuid(row.id),
        upstream_id: Id::from_uuid(row.upstream_id),
        name: row.header,
        data_key_id: Id::from_uuid(row.data_key_id),
        sealed: row.sealed,
    });
    Ok(row.collect())
}

async fn clients(tx: &mut TenantTx, tenant: TenantId) -> Result<Vec<ClientRow>, StoreError> {
    let rows = sqlx::query!("SELECT id, name, enabled FROM clients WHERE tenant_id = $1", tenant.uuid())
        .fetch_all(tx.conn())
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| ClientRow { id: Id::from_uuid(row.id), name: row.name, enabled: row.enabled })
        .collect())
}

async fn client_endpoints(
    tx: &mut TenantTx,
    tenant: TenantId,
) -> Result<Vec<(ids::ClientId, ids::EndpointId)>, StoreError> {
    let rows = sqlx::query!(
        "SELECT client_id, endpoint_id FROM client_endpoints WHERE tenant_id = $1",
        tenant.uuid()
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| (Id::from_uuid(row.client_id), Id::from_uuid(row.endpoint_id))).collect())
}

async fn client_roles(
    tx: &mut TenantTx,
    tenant: TenantId,
) -> Result<Vec<(ids::ClientId, ids::RoleId)>, StoreError> {
    let rows =
        sqlx::query!("SELECT client_id, role_id FROM client_roles WHERE tenant_id = $1", tenant.uuid())
            .fetch_all(tx.conn())
            .await?;
    Ok(rows.into_iter().map(|row| (Id::from_uuid(row.client_id), Id::from_uuid(row.role_id))).collect())
}

async fn api_keys(tx: &mut TenantTx, tenant: TenantId) -> Result<Vec<ApiKeyRow>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT id, client_id, lookup, hash, data_key_id, not_after, allow, hours AS "hours: Json<Vec<HoursRow>>"
         FROM api_keys WHERE tenant_id = $1 AND revoked_at IS NULL"#,
        tenant.uuid()
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(ApiKeyRow {
                id: Id::from_uuid(row.id),
                client_id: Id::from_uuid(row.client_id),
                lookup: row.lookup,
                hash: row.hash.try_into().map_err(|_| Unreadable("key hash"))?,
                data_key_id: Id::from_uuid(row.data_key_id),
                not_after: row.not_after.map(Timestamp::from_offset),
                revoked: false,
                allow: row.allow,
                hours: row.hours.0,
            })
        })
        .collect()
}

async fn roles(tx: &mut TenantTx, tenant: TenantId) -> Result<Vec<ids::RoleId>, StoreError> {
    let rows = sqlx::query_scalar!("SELECT id FROM roles WHERE tenant_id = $1", tenant.uuid())
        .fetch_all(tx.conn())
        .await?;
    Ok(rows.into_iter().map(Id::from_uuid).collect())
}

async fn grants(tx: &mut TenantTx, tenant: TenantId) -> Result<Vec<GrantSpec>, StoreError> {
    let rows = sqlx::query!(
        "SELECT id, role_id, client_id, member_id, effect, scope, actions FROM grants WHERE tenant_id = $1",
        tenant.uuid()
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter()
        .map(|row| {
            let subject = match (row.role_id, row.client_id, row.member_id) {
                (Some(role), None, None) => Subject::Role(Id::from_uuid(role)),
                (None, Some(client), None) => Subject::Client(Id::from_uuid(client)),
                (None, None, Some(member)) => Subject::Member(Id::from_uuid(member)),
                _ => return Err(Unreadable("grant subject").into()),
            };
            let effect = match row.effect.as_str() {
                "permit" => Effect::Permit,
                "forbid" => Effect::Forbid,
                _ => return Err(Unreadable("grant effect").into()),
            };
            let actions = serde_json::from_value(row.actions).map_err(|_| Unreadable("grant actions"))?;
            let scope = row.scope.map(|scope| scope.parse().map_err(|_| Unreadable("scope"))).transpose()?;
            Ok(GrantSpec { id: Id::from_uuid(row.id), subject, effect, scope, actions })
        })
        .collect()
}

/// Retired tools are not published: their upstream no longer offers them.
async fn tools(tx: &mut TenantTx, tenant: TenantId) -> Result<Vec<ToolRow>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT tool.id, tool.upstream_id, tool.name, tool.state, tool.class, tool.cost, tool.labels,
             tool.connect_timeout_ms, tool.first_byte_timeout_ms, tool.idle_timeout_ms, tool.total_timeout_ms,
             tool.pinned_digest, definition.definition AS "definition?"
           FROM tools tool LEFT JOIN tool_definitions definition
             ON definition.tenant_id = tool.tenant_id AND definition.digest = tool.pinned_digest
           WHERE tool.tenant_id = $1 AND tool.state <> 'retired'"#,
        tenant.uuid()
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter()
        .map(|row| {
            let digest = row.pinned_digest.map(TryInto::try_into).transpose();
            Ok(ToolRow {
                id: Id::from_uuid(row.id),
                upstream_id: Id::from_uuid(row.upstream_id),
                name: row.name,
                state: ToolState::from_name(&row.state).ok_or(Unreadable("tool state"))?,
                class: Class::from_name(&row.class).ok_or(Unreadable("tool class"))?,
                digest: digest.map_err(|_| Unreadable("tool digest"))?,
                definition: row.definition,
                cost: unsigned(row.cost, "tool cost")?,
                labels: row.labels,
                timeouts: Timeouts {
                    connect_ms: unsigned(row.connect_timeout_ms.unwrap_or_default(), "timeout")?,
                    first_byte_ms: unsigned(row.first_byte_timeout_ms.unwrap_or_default(), "timeout")?,
                    idle_ms: unsigned(row.idle_timeout_ms.unwrap_or_default(), "timeout")?,
                    total_ms: unsigned(row.total_timeout_ms.unwrap_or_default(), "timeout")?,
                },
            })
        })
        .collect()
}

async fn limits(tx: &mut TenantTx, tenant: TenantId) -> Result<Vec<LimitRow>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT l.id, l.subject, coalesce(l.client_id, l.tool_id, l.endpoint_id, l.member_id, l.key_id) AS of,
             l.per_minute, l.burst, l.concurrency, l.per_day, l.per_month
           FROM limits l LEFT JOIN tools tool ON tool.tenant_id = l.tenant_id AND tool.id = l.tool_id
           WHERE l.tenant_id = $1 AND tool.state IS DISTINCT FROM 'retired'"#,
        tenant.uuid()
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter()
        .map(|row| {
            let subject = LimitSubject::stored(&row.subject, row.of).ok_or(Unreadable("limit subject"))?;
            Ok(LimitRow {
                id: Id::from_uuid(row.id),
                subject,
                per_minute: unsigned(row.per_minute, "limit")?,
                burst: unsigned(row.burst, "limit")?,
                concurrency: unsigned(row.concurrency, "limit")?,
                per_day: unsigned(row.per_day, "limit")?,
                per_month: unsigned(row.per_month, "limit")?,
            })
        })
        .collect()
}

fn unsigned<S, U: TryFrom<S>>(value: S, what: &'static str) -> Result<U, StoreError> {
    U::try_from(value).map_err(|_| Unreadable(what).into())
}
