//! `domains`.

use crypto::digest;
use ids::{DataKeyId, DomainId, EndpointId, Id, Uuid};
use listen::certificate::Certificate;
use time::OffsetDateTime;
use url::Url;

use super::{
    admission,
    types::{Domain, DomainCertificate, DomainState},
};
use crate::db::{StoreError, TenantTx, Unreadable};

struct Row {
    id: Uuid,
    name: String,
    endpoint_id: Option<Uuid>,
    token: String,
    proven_at: Option<OffsetDateTime>,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
    fingerprint: Option<String>,
    names: Option<Vec<String>>,
    not_after: Option<OffsetDateTime>,
    given_at: Option<OffsetDateTime>,
}

impl Row {
    fn domain(self, gateway: &Url) -> Domain {
        let port = gateway.port().map(|port| format!(":{port}")).unwrap_or_default();
        let path = if self.endpoint_id.is_some() { "/mcp" } else { "/{endpoint}/mcp" };
        let certificate = match (self.fingerprint, self.names, self.not_after, self.given_at) {
            (Some(fingerprint), Some(names), Some(not_after), Some(updated_at)) => {
                Some(DomainCertificate { fingerprint, names, not_after, updated_at })
            }
            _ => None,
        };
        Domain {
            certificate,
            id: Id::from_uuid(self.id),
            endpoint_id: self.endpoint_id.map(Id::from_uuid),
            url: format!("{}://{}{port}{path}", gateway.scheme(), self.name),
            state: if self.proven_at.is_some() { DomainState::Proven } else { DomainState::Unproven },
            record: admission::record(&self.name, &self.token),
            name: self.name,
            proven_at: self.proven_at,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}

/// How many the tenant has, proven or not.
pub(super) async fn count(tx: &mut TenantTx) -> Result<i64, StoreError> {
    let tenant = tx.tenant().uuid();
    let count =
        sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM domains WHERE tenant_id = $1"#, tenant)
            .fetch_one(tx.conn())
            .await?;
    Ok(count)
}

pub(super) async fn list(
    tx: &mut TenantTx,
    gateway: &Url,
    after: Uuid,
    fetch: i64,
) -> Result<Vec<Domain>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT d.id, d.name, d.endpoint_id, d.token, d.proven_at, d.created_at, d.updated_at,
             c.fingerprint AS "fingerprint?", c.names AS "names?", c.not_after AS "not_after?", c.updated_at AS "given_at?"
           FROM domains d LEFT JOIN domain_certificates c ON c.tenant_id = d.tenant_id AND c.domain_id = d.id
           WHERE d.tenant_id = $1 AND d.id > $2 ORDER BY d.id LIMIT $3"#,
        tenant,
        after,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| row.domain(gateway)).collect())
}

pub(super) async fn get(tx: &mut TenantTx, gateway: &Url, id: DomainId) -> Result<Domain, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        Row,
        r#"SELECT d.id, d.name, d.endpoint_id, d.token, d.proven_at, d.created_at, d.updated_at,
             c.fingerprint AS "fingerprint?", c.names AS "names?", c.not_after AS "not_after?", c.updated_at AS "given_at?"
           FROM domains d LEFT JOIN domain_certificates c ON c.tenant_id = d.tenant_id AND c.domain_id = d.id
           WHERE d.tenant_id = $1 AND d.id = $2"#,
        tenant,
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(row.domain(gateway))
}

/// Locks the row, so that nobody changes it between reading and writing.
pub(super) async fn lock(tx: &mut TenantTx, gateway: &Url, id: DomainId) -> Result<Domain, StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("SELECT id FROM domains WHERE tenant_id = $1 AND id = $2 FOR UPDATE", tenant, id.uuid())
        .fetch_one(tx.conn())
        .await?;
    get(tx, gateway, id).await
}

pub(super) async fn endpoint_exists(tx: &mut TenantTx, id: EndpointId) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    let found = sqlx::query!(
        "SELECT id FROM endpoints WHERE tenant_id = $1 AND id = $2 FOR SHARE",
        tenant,
        id.uuid()
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(found.is_some())
}

pub(super) async fn insert(
    tx: &mut TenantTx,
    id: DomainId,
    name: &str,
    endpoint: Option<EndpointId>,
    token: &str,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO domains (tenant_id, id, name, endpoint_id, token, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $6)",
        tenant,
        id.uuid(),
        name,
        endpoint.map(|endpoint| endpoint.uuid()),
        token,
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn prove(tx: &mut TenantTx, id: DomainId, now: OffsetDateTime) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE domains SET proven_at = $3, updated_at = $3 WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut TenantTx, id: DomainId) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM domains WHERE tenant_id = $1 AND id = $2", tenant, id.uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// A certificate as it is stored.
pub(super) struct SealedCertificate {
    pub(super) certificate: Certificate,
    pub(super) data_key_id: DataKeyId,
    pub(super) sealed: Vec<u8>,
}

pub(super) async fn replace_certificate(
    tx: &mut TenantTx,
    domain: DomainId,
    stored: &SealedCertificate,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    let chain: Vec<Vec<u8>> = stored.certificate.chain().iter().map(|der| der.to_vec()).collect();
    let names: Vec<String> = stored.certificate.names().iter().map(ToString::to_string).collect();
    let not_after = OffsetDateTime::from_unix_timestamp(stored.certificate.not_after())
        .map_err(|_| Unreadable("end of a certificate"))?;
    let fingerprint = digest::hex(&digest::sha256(&chain[0]));
    sqlx::query!(
        "INSERT INTO domain_certificates (tenant_id, domain_id, chain, data_key_id, sealed, names, not_after, fingerprint,
           updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (tenant_id, domain_id) DO UPDATE SET chain = $3, data_key_id = $4, sealed = $5, names = $6,
           not_after = $7, fingerprint = $8, updated_at = $9",
        tenant,
        domain.uuid(),
        &chain,
        stored.data_key_id.uuid(),
        stored.sealed,
        &names,
        not_after,
        fingerprint,
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn delete_certificate(tx: &mut TenantTx, domain: DomainId) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "DELETE FROM domain_certificates WHERE tenant_id = $1 AND domain_id = $2",
        tenant,
        domain.uuid()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
