//! `sign_in_providers`.

use ids::{DataKeyId, Id, SignInProviderId, Uuid};
use serde_json::Value;
use time::OffsetDateTime;

use super::types::{GroupRule, SignInProvider, SignInProviderSettings};
use crate::{
    app::Core,
    db::{StoreError, TenantTx},
    people::company::redirect_uri,
    resources::fields::Name,
};

struct Row {
    id: Uuid,
    slug: String,
    name: String,
    issuer: String,
    client_id: String,
    fingerprint: String,
    enabled: bool,
    email_domains: Vec<String>,
    creates_members: bool,
    passwords: bool,
    groups_claim: Option<String>,
    rules: Value,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl Row {
    fn read(self, core: &Core) -> Result<SignInProvider, StoreError> {
        let rules: Vec<GroupRule> =
            serde_json::from_value(self.rules).map_err(|_| StoreError::unreadable("rules"))?;
        let id = Id::from_uuid(self.id);
        Ok(SignInProvider {
            id,
            settings: SignInProviderSettings {
                name: Name::stored(self.name),
                issuer: self.issuer,
                client_id: self.client_id,
                client_secret: None,
                enabled: self.enabled,
                email_domains: self.email_domains,
                creates_members: self.creates_members,
                passwords: self.passwords,
                groups_claim: self.groups_claim,
                rules,
            },
            client_secret_fingerprint: self.fingerprint,
            redirect_uri: redirect_uri(core, &self.slug, id),
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

/// Those after an id, in order.
pub(crate) async fn list(
    tx: &mut TenantTx,
    core: &Core,
    after: Uuid,
    fetch: i64,
) -> Result<Vec<SignInProvider>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        Row,
        "SELECT p.id, t.slug, p.name, p.issuer, p.client_id, p.fingerprint, p.enabled, p.email_domains, p.creates_members, p.passwords,
           p.groups_claim, p.rules, p.created_at, p.updated_at
         FROM sign_in_providers p JOIN tenants t ON t.id = p.tenant_id
         WHERE p.tenant_id = $1 AND p.id > $2 ORDER BY p.id LIMIT $3",
        tenant,
        after,
        fetch
    );
    rows.fetch_all(tx.conn()).await?.into_iter().map(|row| row.read(core)).collect()
}

pub(crate) async fn get(
    tx: &mut TenantTx,
    core: &Core,
    id: SignInProviderId,
) -> Result<SignInProvider, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        Row,
        "SELECT p.id, t.slug, p.name, p.issuer, p.client_id, p.fingerprint, p.enabled, p.email_domains, p.creates_members, p.passwords,
           p.groups_claim, p.rules, p.created_at, p.updated_at
         FROM sign_in_providers p JOIN tenants t ON t.id = p.tenant_id
         WHERE p.tenant_id = $1 AND p.id = $2",
        tenant,
        id.uuid()
    );
    row.fetch_one(tx.conn()).await?.read(core)
}

/// Holds the provider's row until the transaction ends, and reads it.
pub(super) async fn lock(
    tx: &mut TenantTx,
    core: &Core,
    id: SignInProviderId,
) -> Result<SignInProvider, StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "SELECT id FROM sign_in_providers WHERE tenant_id = $1 AND id = $2 FOR UPDATE",
        tenant,
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    get(tx, core, id).await
}

/// The sealed secret of its client, and under which key.
pub(crate) async fn sealed(
    tx: &mut TenantTx,
    id: SignInProviderId,
) -> Result<(DataKeyId, Vec<u8>), StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        "SELECT data_key_id, sealed FROM sign_in_providers WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid()
    );
    let row = row.fetch_one(tx.conn()).await?;
    Ok((Id::from_uuid(row.data_key_id), row.sealed))
}

/// A sealed secret.
pub(super) struct Sealed {
    pub(super) data_key: DataKeyId,
    pub(super) sealed: Vec<u8>,
    pub(super) fingerprint: String,
}

pub(super) async fn insert(
    tx: &mut TenantTx,
    id: SignInProviderId,
    settings: &SignInProviderSettings,
    secret: &Sealed,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO sign_in_providers (tenant_id, id, name, issuer, client_id, data_key_id, sealed, fingerprint, enabled, email_domains,
           creates_members, passwords, groups_claim, rules, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15)",
        tenant,
        id.uuid(),
        settings.name.as_str(),
        settings.issuer,
        settings.client_id,
        secret.data_key.uuid(),
        secret.sealed,
        secret.fingerprint,
        settings.enabled,
        &settings.email_domains,
        settings.creates_members,
        settings.passwords,
        settings.groups_claim,
        rules(settings)?,
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

fn rules(settings: &SignInProviderSettings) -> Result<Value, StoreError> {
    serde_json::to_value(&settings.rules).map_err(|error| StoreError::Bug(Box::new(error)))
}

/// With another issuer or client id, whom it has let in it has not.
pub(super) async fn update(
    tx: &mut TenantTx,
    present: &SignInProvider,
    settings: &SignInProviderSettings,
    secret: Option<&Sealed>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    let id = present.id.uuid();
    if present.settings.issuer != settings.issuer || present.settings.client_id != settings.client_id {
        sqlx::query!("DELETE FROM sign_in_identities WHERE tenant_id = $1 AND provider_id = $2", tenant, id)
            .execute(tx.conn())
            .await?;
    }
    if let Some(secret) = secret {
        sqlx::query!(
            "UPDATE sign_in_providers SET data_key_id = $3, sealed = $4, fingerprint = $5 WHERE tenant_id = $1 AND id = $2",
            tenant,
            id,
            secret.data_key.uuid(),
            secret.sealed,
            secret.fingerprint
        )
        .execute(tx.conn())
        .await?;
    }
    sqlx::query!(
        "UPDATE sign_in_providers SET name = $3, issuer = $4, client_id = $5, enabled = $6, email_domains = $7, creates_members = $8,
           passwords = $9, groups_claim = $10, rules = $11, updated_at = $12
         WHERE tenant_id = $1 AND id = $2",
        tenant,
        id,
        settings.name.as_str(),
        settings.issuer,
        settings.client_id,
        settings.enabled,
        &settings.email_domains,
        settings.creates_members,
        settings.passwords,
        settings.groups_claim,
        rules(settings)?,
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut TenantTx, id: SignInProviderId) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM sign_in_providers WHERE tenant_id = $1 AND id = $2", tenant, id.uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}

pub(super) async fn count(tx: &mut TenantTx) -> Result<i64, StoreError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM sign_in_providers WHERE tenant_id = $1"#,
        tenant
    )
    .fetch_one(tx.conn())
    .await?)
}
