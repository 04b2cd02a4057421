//! `endpoints` and `endpoint_upstreams`.

use ids::{AttachmentId, EndpointId, Id, UpstreamId, Uuid};
use time::OffsetDateTime;
use url::Url;

use super::types::{Attachment, Endpoint, EndpointSettings, UnknownTools};
use crate::{
    db::{StoreError, TenantTx, Unreadable},
    publish::rows,
    resources::fields::Name,
};

struct Row {
    id: Uuid,
    tenant_slug: String,
    slug: String,
    name: String,
    hosts: Vec<String>,
    origins: Vec<String>,
    allow: Vec<String>,
    deny: Vec<String>,
    closed_methods: Vec<String>,
    accepts: Vec<String>,
    external_issuers: Vec<Uuid>,
    client_authorities: Vec<Uuid>,
    unknown_tools: String,
    max_request_bytes: i32,
    max_response_bytes: i32,
    enabled: bool,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl Row {
    fn endpoint(self, gateway: &Url) -> Result<Endpoint, StoreError> {
        let unknown_tools = match rows::UnknownTools::from_name(&self.unknown_tools) {
            Some(rows::UnknownTools::Block) => UnknownTools::Block,
            Some(rows::UnknownTools::ApproveFirstSeen) => UnknownTools::ApproveFirstSeen,
            None => return Err(Unreadable("unknown_tools").into()),
        };
        let base = gateway.as_str().trim_end_matches('/');
        let accepts = rows::CredentialKind::read(&self.accepts)?;
        Ok(Endpoint {
            weak: accepts.iter().copied().filter(|kind| kind.is_weak()).collect(),
            id: Id::from_uuid(self.id),
            url: format!("{base}/{}/{}/mcp", self.tenant_slug, self.slug),
            slug: self.slug,
            settings: EndpointSettings {
                name: Name::stored(self.name),
                hosts: self.hosts,
                origins: self.origins,
                allow: self.allow,
                deny: self.deny,
                closed_methods: self.closed_methods,
                accepts,
                external_issuers: self.external_issuers.into_iter().map(Id::from_uuid).collect(),
                client_authorities: self.client_authorities.into_iter().map(Id::from_uuid).collect(),
                unknown_tools,
                max_request_bytes: self.max_request_bytes.unsigned_abs(),
                max_response_bytes: self.max_response_bytes.unsigned_abs(),
                enabled: self.enabled,
            },
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

const fn stored(unknown_tools: UnknownTools) -> &'static str {
    match unknown_tools {
        UnknownTools::Block => rows::UnknownTools::Block.name(),
        UnknownTools::ApproveFirstSeen => rows::UnknownTools::ApproveFirstSeen.name(),
    }
}

fn issuers(settings: &EndpointSettings) -> Vec<Uuid> {
    settings.external_issuers.iter().map(|id| id.uuid()).collect()
}

fn authorities(settings: &EndpointSettings) -> Vec<Uuid> {
    settings.client_authorities.iter().map(|id| id.uuid()).collect()
}

fn names(kinds: &[rows::CredentialKind]) -> Vec<String> {
    kinds.iter().map(|kind| kind.name().to_owned()).collect()
}

pub(super) async fn list(
    tx: &mut TenantTx,
    gateway: &Url,
    after: Uuid,
    fetch: i64,
) -> Result<Vec<Endpoint>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        Row,
        "SELECT e.id, tenant.slug AS tenant_slug, e.slug, e.name, e.hosts, e.origins, e.allow, e.deny, e.closed_methods,
           e.accepts, e.external_issuers, e.client_authorities, e.unknown_tools, e.max_request_bytes, e.max_response_bytes, e.enabled, e.created_at, e.updated_at
         FROM endpoints e JOIN tenants tenant ON tenant.id = e.tenant_id
         WHERE e.tenant_id = $1 AND e.id > $2 ORDER BY e.id LIMIT $3",
        tenant,
        after,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(|row| row.endpoint(gateway)).collect()
}

pub(super) async fn get(tx: &mut TenantTx, gateway: &Url, id: EndpointId) -> Result<Endpoint, StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        Row,
        "SELECT e.id, tenant.slug AS tenant_slug, e.slug, e.name, e.hosts, e.origins, e.allow, e.deny, e.closed_methods,
           e.accepts, e.external_issuers, e.client_authorities, e.unknown_tools, e.max_request_bytes, e.max_response_bytes, e.enabled, e.created_at, e.updated_at
         FROM endpoints e JOIN tenants tenant ON tenant.id = e.tenant_id
         WHERE e.tenant_id = $1 AND e.id = $2",
        tenant,
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?
    .endpoint(gateway)
}

/// Locks the row, so that nobody changes it between reading and writing.
pub(super) async fn lock(tx: &mut TenantTx, gateway: &Url, id: EndpointId) -> Result<Endpoint, StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("SELECT id FROM endpoints WHERE tenant_id = $1 AND id = $2 FOR UPDATE", tenant, id.uuid())
        .fetch_one(tx.conn())
        .await?;
    get(tx, gateway, id).await
}

pub(super) async fn insert(
    tx: &mut TenantTx,
    id: EndpointId,
    slug: &str,
    settings: &EndpointSettings,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO endpoints (tenant_id, id, slug, name, hosts, origins, allow, deny, closed_methods, accepts,
           unknown_tools, max_request_bytes, max_response_bytes, enabled, created_at, updated_at, external_issuers,
           client_authorities)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15, $16, $17)",
        tenant,
        id.uuid(),
        slug,
        settings.name.as_str(),
        &settings.hosts,
        &settings.origins,
        &settings.allow,
        &settings.deny,
        &settings.closed_methods,
        &names(&settings.accepts),
        stored(settings.unknown_tools),
        signed(settings.max_request_bytes)?,
        signed(settings.max_response_bytes)?,
        settings.enabled,
        now,
        &issuers(settings),
        &authorities(settings)
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn update(
    tx: &mut TenantTx,
    id: EndpointId,
    settings: &EndpointSettings,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE endpoints SET name = $3, hosts = $4, origins = $5, allow = $6, deny = $7, closed_methods = $8,
           accepts = $9, unknown_tools = $10, max_request_bytes = $11, max_response_bytes = $12, enabled = $13,
           updated_at = $14, external_issuers = $15, client_authorities = $16
         WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        settings.name.as_str(),
        &settings.hosts,
        &settings.origins,
        &settings.allow,
        &settings.deny,
        &settings.closed_methods,
        &names(&settings.accepts),
        stored(settings.unknown_tools),
        signed(settings.max_request_bytes)?,
        signed(settings.max_response_bytes)?,
        settings.enabled,
        now,
        &issuers(settings),
        &authorities(settings)
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut TenantTx, id: EndpointId) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM endpoints WHERE tenant_id = $1 AND id = $2", tenant, id.uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}

fn signed(value: u32) -> Result<i32, StoreError> {
    i32::try_from(value).map_err(|_| Unreadable("number").into())
}

struct AttachmentRow {
    id: Uuid,
    endpoint_id: Uuid,
    upstream_id: Uuid,
    prefix: String,
    created_at: OffsetDateTime,
}

impl From<AttachmentRow> for Attachment {
    fn from(row: AttachmentRow) -> Self {
        Self {
            id: Id::from_uuid(row.id),
            endpoint_id: Id::from_uuid(row.endpoint_id),
            upstream_id: Id::from_uuid(row.upstream_id),
            prefix: row.prefix,
            created_at: row.created_at,
        }
    }
}

pub(super) async fn attachments(
    tx: &mut TenantTx,
    endpoint: EndpointId,
    after: Uuid,
    fetch: i64,
) -> Result<Vec<Attachment>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        AttachmentRow,
        "SELECT id, endpoint_id, upstream_id, prefix, created_at FROM endpoint_upstreams
         WHERE tenant_id = $1 AND endpoint_id = $2 AND id > $3 ORDER BY id LIMIT $4",
        tenant,
        endpoint.uuid(),
        after,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

pub(super) async fn attachment(
    tx: &mut TenantTx,
    endpoint: EndpointId,
    id: AttachmentId,
) -> Result<Attachment, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        AttachmentRow,
        "SELECT id, endpoint_id, upstream_id, prefix, created_at FROM endpoint_upstreams
         WHERE tenant_id = $1 AND endpoint_id = $2 AND id = $3",
        tenant,
        endpoint.uuid(),
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(row.into())
}

pub(super) async fn upstream_exists(tx: &mut TenantTx, id: UpstreamId) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM upstreams WHERE tenant_id = $1 AND id = $2) AS "exists!""#,
        tenant,
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?)
}

pub(super) async fn insert_attachment(tx: &mut TenantTx, attachment: &Attachment) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO endpoint_upstreams (tenant_id, id, endpoint_id, upstream_id, prefix, created_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
        tenant,
        attachment.id.uuid(),
        attachment.endpoint_id.uuid(),
        attachment.upstream_id.uuid(),
        attachment.prefix,
        attachment.created_at
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn delete_attachment(tx: &mut TenantTx, id: AttachmentId) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM endpoint_upstreams WHERE tenant_id = $1 AND id = $2", tenant, id.uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}
