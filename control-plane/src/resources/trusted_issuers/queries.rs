//! `trusted_issuers` and `trusted_issuer_rules`.

use std::collections::BTreeMap;

use ids::{Id, TrustedIssuerId, Uuid};
use serde_json::Value;
use time::OffsetDateTime;

use super::types::{TrustedIssuer, TrustedIssuerSettings, TrustedPurpose, WorkloadRule};
use crate::{
    db::{StoreError, TenantTx, Unreadable},
    resources::{fields::Name, signing_keys::types::SigningAlgorithm},
};

struct Row {
    id: Uuid,
    name: String,
    issuer: String,
    enabled: bool,
    purpose: String,
    jwks_uri: Option<String>,
    jwks: Option<Value>,
    algorithms: Vec<String>,
    audience: Option<String>,
    max_lifetime_seconds: i32,
    single_use: bool,
    email_domains: Vec<String>,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl Row {
    fn with(self, rules: Vec<WorkloadRule>) -> Result<TrustedIssuer, StoreError> {
        let algorithm = |name: &String| serde_json::from_value::<SigningAlgorithm>(name.as_str().into());
        let unreadable = |_| StoreError::unreadable("trusted issuer");
        Ok(TrustedIssuer {
            id: Id::from_uuid(self.id),
            settings: TrustedIssuerSettings {
                name: Name::stored(self.name),
                issuer: self.issuer,
                enabled: self.enabled,
                purpose: TrustedPurpose::from_name(&self.purpose).ok_or(Unreadable("purpose"))?,
                jwks_uri: self.jwks_uri,
                jwks: self.jwks.map(serde_json::from_value).transpose().map_err(unreadable)?,
                algorithms: self
                    .algorithms
                    .iter()
                    .map(algorithm)
                    .collect::<Result<_, _>>()
                    .map_err(unreadable)?,
                audience: self.audience,
                max_lifetime_seconds: self.max_lifetime_seconds.unsigned_abs(),
                single_use: self.single_use,
                rules,
                email_domains: self.email_domains,
            },
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

async fn rules(tx: &mut TenantTx, id: Uuid) -> Result<Vec<WorkloadRule>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        "SELECT subject, claims, client_id FROM trusted_issuer_rules
         WHERE tenant_id = $1 AND trusted_issuer_id = $2 ORDER BY place",
        tenant,
        id
    );
    let rows = rows.fetch_all(tx.conn()).await?;
    rows.into_iter()
        .map(|row| {
            let claims: Result<BTreeMap<_, _>, _> = serde_json::from_value(row.claims);
            Ok(WorkloadRule {
                subject: row.subject,
                claims: claims.map_err(|_| Unreadable("claims"))?,
                client_id: Id::from_uuid(row.client_id),
            })
        })
        .collect()
}

async fn whole(tx: &mut TenantTx, rows: Vec<Row>) -> Result<Vec<TrustedIssuer>, StoreError> {
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        let rules = rules(tx, row.id).await?;
        all.push(row.with(rules)?);
    }
    Ok(all)
}

pub(super) async fn list(
    tx: &mut TenantTx,
    after: Uuid,
    fetch: i64,
) -> Result<Vec<TrustedIssuer>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, name, issuer, enabled, purpose, jwks_uri, jwks, algorithms, audience, max_lifetime_seconds, single_use,
           email_domains, created_at, updated_at
         FROM trusted_issuers WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        tenant,
        after,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    whole(tx, rows).await
}

pub(super) async fn get(tx: &mut TenantTx, id: TrustedIssuerId) -> Result<TrustedIssuer, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        Row,
        "SELECT id, name, issuer, enabled, purpose, jwks_uri, jwks, algorithms, audience, max_lifetime_seconds, single_use,
           email_domains, created_at, updated_at
         FROM trusted_issuers WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    let rules = rules(tx, row.id).await?;
    row.with(rules)
}

/// The one that is trusted for this, if it is switched on.
pub(crate) async fn trusted(
    tx: &mut TenantTx,
    issuer: &str,
    purpose: TrustedPurpose,
) -> Result<Option<TrustedIssuer>, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        Row,
        "SELECT id, name, issuer, enabled, purpose, jwks_uri, jwks, algorithms, audience, max_lifetime_seconds, single_use,
           email_domains, created_at, updated_at
         FROM trusted_issuers WHERE tenant_id = $1 AND issuer = $2 AND purpose = $3 AND enabled",
        tenant,
        issuer,
        purpose.name()
    );
    let Some(row) = row.fetch_optional(tx.conn()).await? else { return Ok(None) };
    let rules = rules(tx, row.id).await?;
    row.with(rules).map(Some)
}

/// Whether any is trusted for this, and switched on.
pub(crate) async fn any(tx: &mut TenantTx, purpose: TrustedPurpose) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    let any = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM trusted_issuers WHERE tenant_id = $1 AND purpose = $2 AND enabled) AS "any!""#,
        tenant,
        purpose.name()
    );
    Ok(any.fetch_one(tx.conn()).await?)
}

/// Holds the row until the transaction ends, and reads it.
pub(super) async fn lock(tx: &mut TenantTx, id: TrustedIssuerId) -> Result<TrustedIssuer, StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "SELECT id FROM trusted_issuers WHERE tenant_id = $1 AND id = $2 FOR UPDATE",
        tenant,
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    get(tx, id).await
}

pub(super) async fn count(tx: &mut TenantTx) -> Result<i64, StoreError> {
    let tenant = tx.tenant().uuid();
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM trusted_issuers WHERE tenant_id = $1"#,
        tenant
    );
    Ok(count.fetch_one(tx.conn()).await?)
}

fn names(settings: &TrustedIssuerSettings) -> Vec<String> {
    settings.algorithms.iter().map(|own| crypto::jwt::Algorithm::from(*own).name().to_owned()).collect()
}

fn key_set(settings: &TrustedIssuerSettings) -> Result<Option<Value>, StoreError> {
    let set = settings.jwks.as_ref().map(serde_json::to_value).transpose();
    set.map_err(|error| StoreError::Bug(error.into()))
}

fn lifetime(settings: &TrustedIssuerSettings) -> i32 {
    i32::try_from(settings.max_lifetime_seconds).unwrap_or(i32::MAX)
}

pub(super) async fn insert(
    tx: &mut TenantTx,
    id: TrustedIssuerId,
    settings: &TrustedIssuerSettings,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO trusted_issuers (tenant_id, id, name, issuer, enabled, purpose, jwks_uri, jwks, algorithms, audience,
           max_lifetime_seconds, single_use, email_domains, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $14)",
        tenant,
        id.uuid(),
        settings.name.as_str(),
        settings.issuer,
        settings.enabled,
        settings.purpose.name(),
        settings.jwks_uri,
        key_set(settings)?,
        &names(settings),
        settings.audience,
        lifetime(settings),
        settings.single_use,
        &settings.email_domains,
        now
    )
    .execute(tx.conn())
    .await?;
    insert_rules(tx, id, settings).await
}

pub(super) async fn update(
    tx: &mut TenantTx,
    id: TrustedIssuerId,
    settings: &TrustedIssuerSettings,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE trusted_issuers SET name = $3, issuer = $4, enabled = $5, purpose = $6, jwks_uri = $7, jwks = $8, algorithms = $9,
           audience = $10, max_lifetime_seconds = $11, single_use = $12, email_domains = $13, updated_at = $14
         WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        settings.name.as_str(),
        settings.issuer,
        settings.enabled,
        settings.purpose.name(),
        settings.jwks_uri,
        key_set(settings)?,
        &names(settings),
        settings.audience,
        lifetime(settings),
        settings.single_use,
        &settings.email_domains,
        now
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        "DELETE FROM trusted_issuer_rules WHERE tenant_id = $1 AND trusted_issuer_id = $2",
        tenant,
        id.uuid()
    )
    .execute(tx.conn())
    .await?;
    insert_rules(tx, id, settings).await
}

async fn insert_rules(
    tx: &mut TenantTx,
    id: TrustedIssuerId,
    settings: &TrustedIssuerSettings,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    for (place, rule) in settings.rules.iter().enumerate() {
        let claims = serde_json::to_value(&rule.claims).map_err(|error| StoreError::Bug(error.into()))?;
        sqlx::query!(
            "INSERT INTO trusted_issuer_rules (tenant_id, trusted_issuer_id, place, subject, claims, client_id)
             VALUES ($1, $2, $3, $4, $5, $6)",
            tenant,
            id.uuid(),
            i32::try_from(place).unwrap_or(i32::MAX),
            rule.subject,
            claims,
            rule.client_id.uuid()
        )
        .execute(tx.conn())
        .await?;
    }
    Ok(())
}

/// The first of the rules whose client is none of the tenant's.
pub(super) async fn missing(tx: &mut TenantTx, rules: &[WorkloadRule]) -> Result<Option<usize>, StoreError> {
    let tenant = tx.tenant().uuid();
    let ids: Vec<_> = rules.iter().map(|rule| rule.client_id.uuid()).collect();
    let found =
        sqlx::query_scalar!("SELECT id FROM clients WHERE tenant_id = $1 AND id = ANY($2)", tenant, &ids);
    let found = found.fetch_all(tx.conn()).await?;
    Ok(ids.iter().position(|id| !found.contains(id)))
}

pub(super) async fn delete(tx: &mut TenantTx, id: TrustedIssuerId) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM trusted_issuers WHERE tenant_id = $1 AND id = $2", tenant, id.uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}
