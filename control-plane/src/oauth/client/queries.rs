//! What is stored of clients' secrets and keys, and which assertions were used.

use crypto::jwt::{Algorithm, PublicKey};
use ids::{ClientId, ClientSecretId, PublicKeyId};
use time::OffsetDateTime;

use super::Shown;
use crate::db::{OperatorTx, StoreError, TenantTx, Unreadable};

pub(super) struct Secret {
    pub(super) id: ClientSecretId,
    pub(super) hash: String,
    pub(super) last_used_at: Option<OffsetDateTime>,
    pub(super) enabled: bool,
    pub(super) suspended: bool,
    pub(super) lifetime: i32,
}

/// The client's secret with this public part, if it is good now.
pub(super) async fn secret(
    tx: &mut TenantTx,
    client: ClientId,
    lookup: &str,
    now: OffsetDateTime,
) -> Result<Option<Secret>, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        "SELECT s.id, s.hash, s.last_used_at, c.enabled, c.token_lifetime_seconds, t.suspended
         FROM client_secrets s JOIN clients c ON c.tenant_id = s.tenant_id AND c.id = s.client_id
           JOIN tenants t ON t.id = s.tenant_id
         WHERE s.tenant_id = $1 AND s.client_id = $2 AND s.lookup = $3 AND s.revoked_at IS NULL
           AND (s.not_after IS NULL OR s.not_after > $4)",
        tenant,
        client.uuid(),
        lookup,
        now
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| Secret {
        id: ClientSecretId::from_uuid(row.id),
        hash: row.hash,
        last_used_at: row.last_used_at,
        enabled: row.enabled,
        suspended: row.suspended,
        lifetime: row.token_lifetime_seconds,
    }))
}

/// When the client was found switched on and what it has shown good, if it was; holds the client's row so.
pub(super) async fn is_still_good(
    tx: &mut TenantTx,
    client: ClientId,
    by: Shown,
    now: OffsetDateTime,
) -> Result<Option<OffsetDateTime>, StoreError> {
    let (secret, key, issuer) = match by {
        Shown::Secret(id) => (Some(id.uuid()), None, None),
        Shown::Key(id) => (None, Some(id.uuid()), None),
        Shown::Workload(id) => (None, None, Some(id.uuid())),
        Shown::Nothing => (None, None, None),
    };
    let found = sqlx::query_scalar!(
        r#"SELECT clock_timestamp() AS "now!" FROM clients c JOIN tenants t ON t.id = c.tenant_id
           WHERE c.tenant_id = $1 AND c.id = $2 AND c.enabled AND NOT t.suspended AND (
             EXISTS (SELECT FROM client_secrets s WHERE s.tenant_id = $1 AND s.client_id = $2 AND s.id = $3
               AND s.revoked_at IS NULL AND (s.not_after IS NULL OR s.not_after > $5))
             OR EXISTS (SELECT FROM client_public_keys k WHERE k.tenant_id = $1 AND k.client_id = $2 AND k.id = $4
               AND (k.not_after IS NULL OR k.not_after > $5))
             OR EXISTS (SELECT FROM trusted_issuers i JOIN trusted_issuer_rules r
                 ON r.tenant_id = i.tenant_id AND r.trusted_issuer_id = i.id
               WHERE i.tenant_id = $1 AND i.id = $6 AND i.enabled AND r.client_id = $2)
             OR ($7 AND c.public))
           FOR SHARE OF c"#,
        tx.tenant().uuid(),
        client.uuid(),
        secret,
        key,
        now,
        issuer,
        by == Shown::Nothing
    );
    Ok(found.fetch_optional(tx.conn()).await?)
}

pub(super) struct Public {
    pub(super) enabled: bool,
    pub(super) suspended: bool,
    pub(super) lifetime: i32,
}

/// The client, if it is public.
pub(super) async fn public(tx: &mut TenantTx, client: ClientId) -> Result<Option<Public>, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        "SELECT c.enabled, c.token_lifetime_seconds, t.suspended FROM clients c JOIN tenants t ON t.id = c.tenant_id
         WHERE c.tenant_id = $1 AND c.id = $2 AND c.public",
        tenant,
        client.uuid()
    );
    Ok(row.fetch_optional(tx.conn()).await?.map(|row| Public {
        enabled: row.enabled,
        suspended: row.suspended,
        lifetime: row.token_lifetime_seconds,
    }))
}

/// The secret was used now; where that was noted after `due`, it stays so.
pub(super) async fn used(
    tx: &mut TenantTx,
    id: ClientSecretId,
    now: OffsetDateTime,
    due: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE client_secrets SET last_used_at = $3
         WHERE tenant_id = $1 AND id = $2 AND (last_used_at IS NULL OR last_used_at <= $4)",
        tenant,
        id.uuid(),
        now,
        due
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) struct Key {
    pub(super) id: PublicKeyId,
    pub(super) kid: String,
    pub(super) public: PublicKey,
    pub(super) enabled: bool,
    pub(super) suspended: bool,
    pub(super) lifetime: i32,
}

/// The client's keys that are good now.
pub(super) async fn keys(
    tx: &mut TenantTx,
    client: ClientId,
    now: OffsetDateTime,
) -> Result<Vec<Key>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        "SELECT k.id, k.kid, k.algorithm, k.public_key, c.enabled, c.token_lifetime_seconds, t.suspended
         FROM client_public_keys k JOIN clients c ON c.tenant_id = k.tenant_id AND c.id = k.client_id
           JOIN tenants t ON t.id = k.tenant_id
         WHERE k.tenant_id = $1 AND k.client_id = $2 AND (k.not_after IS NULL OR k.not_after > $3)
         ORDER BY k.id",
        tenant,
        client.uuid(),
        now
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter()
        .map(|row| {
            let algorithm = Algorithm::from_name(&row.algorithm).ok_or(Unreadable("algorithm"))?;
            Ok(Key {
                id: PublicKeyId::from_uuid(row.id),
                kid: row.kid,
                public: PublicKey::new(algorithm, &row.public_key).map_err(|_| Unreadable("public key"))?,
                enabled: row.enabled,
                suspended: row.suspended,
                lifetime: row.token_lifetime_seconds,
            })
        })
        .collect()
}

/// Notes that an assertion was used; `false`: it was before, or too many are noted.
pub(super) async fn use_assertion(
    tx: &mut TenantTx,
    client: ClientId,
    digest: &[u8; 32],
    (now, expires_at): (OffsetDateTime, OffsetDateTime),
    most: i64,
) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "DELETE FROM client_assertions WHERE tenant_id = $1 AND client_id = $2 AND expires_at < $3",
        tenant,
        client.uuid(),
        now
    )
    .execute(tx.conn())
    .await?;
    let inserted = sqlx::query!(
        "INSERT INTO client_assertions (tenant_id, client_id, digest, expires_at)
         SELECT $1, $2, $3, $4
         WHERE (SELECT count(*) FROM client_assertions WHERE tenant_id = $1 AND client_id = $2) < $5
         ON CONFLICT (tenant_id, client_id, digest) DO NOTHING",
        tenant,
        client.uuid(),
        digest,
        expires_at,
        most
    )
    .execute(tx.conn())
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Forgets assertions that have expired.
pub(super) async fn forget_assertions(tx: &mut OperatorTx, now: OffsetDateTime) -> Result<u64, StoreError> {
    let deleted = sqlx::query!("DELETE FROM client_assertions WHERE expires_at < $1", now);
    Ok(deleted.execute(tx.conn()).await?.rows_affected())
}
