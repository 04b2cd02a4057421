//! `signing_keys`, and the tenant that an issuer's URL names.

use crypto::{
    claims::Claims,
    jwt::{Algorithm, PublicKey},
};
use ids::{ClientId, DataKeyId, Id, SigningKeyId, TenantId};
use seams::Timestamp;
use time::OffsetDateTime;

use super::keys::{LONGEST_LIFE, StoredKey};
use crate::db::{OperatorTx, StoreError, TenantTx, Unreadable};
use crate::kills::through;

pub(super) async fn tenant_by_slug(tx: &mut OperatorTx, slug: &str) -> Result<Option<TenantId>, StoreError> {
    let found = sqlx::query_scalar!("SELECT id FROM tenants WHERE slug = $1", slug);
    Ok(found.fetch_optional(tx.conn()).await?.map(TenantId::from_uuid))
}

pub(super) async fn keys(tx: &mut TenantTx) -> Result<Vec<StoredKey>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        "SELECT id, algorithm, public_key, created_at, activates_at, retires_at, revoked_at FROM signing_keys
         WHERE tenant_id = $1 ORDER BY id",
        tenant
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter()
        .map(|row| {
            let algorithm = Algorithm::from_name(&row.algorithm).ok_or(Unreadable("signing algorithm"))?;
            Ok(StoredKey {
                id: Id::from_uuid(row.id),
                public: PublicKey::new(algorithm, &row.public_key).map_err(|_| Unreadable("public key"))?,
                created_at: Timestamp::from_offset(row.created_at),
                activates_at: Timestamp::from_offset(row.activates_at),
                retires_at: row.retires_at.map(Timestamp::from_offset),
                revoked_at: row.revoked_at.map(Timestamp::from_offset),
            })
        })
        .collect()
}

/// The private half, sealed, and under which data key, if it is one; `NotFound` when it signs no more.
pub(super) async fn sealed(
    tx: &mut TenantTx,
    id: SigningKeyId,
) -> Result<(Option<DataKeyId>, Vec<u8>), StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        r#"SELECT data_key_id, sealed AS "sealed!" FROM signing_keys
           WHERE tenant_id = $1 AND id = $2 AND sealed IS NOT NULL"#,
        tenant,
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    Ok((row.data_key_id.map(Id::from_uuid), row.sealed))
}

pub(super) async fn insert(tx: &mut TenantTx, key: &StoredKey, sealed: &[u8]) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO signing_keys (tenant_id, id, algorithm, public_key, sealed, created_at, activates_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        tenant,
        key.id.uuid(),
        key.public.algorithm().name(),
        key.public.bytes(),
        sealed,
        key.created_at.to_offset(),
        key.activates_at.to_offset()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Every key that goes on for ever ends then.
pub(super) async fn retire(tx: &mut TenantTx, at: Timestamp) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE signing_keys SET retires_at = $2 WHERE tenant_id = $1 AND retires_at IS NULL",
        tenant,
        at.to_offset()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Where the one that was to follow goes, the one before it goes on.
pub(super) async fn revoke(tx: &mut TenantTx, id: SigningKeyId, now: Timestamp) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE signing_keys SET revoked_at = coalesce(revoked_at, $3), sealed = NULL WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        now.to_offset()
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        "UPDATE signing_keys SET retires_at = NULL WHERE tenant_id = $1 AND id = (
           SELECT id FROM signing_keys WHERE tenant_id = $1 AND revoked_at IS NULL
             AND (retires_at IS NULL OR retires_at > $2) ORDER BY activates_at DESC, id DESC LIMIT 1)",
        tenant,
        now.to_offset()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Deletes those that have ended but the newest `kept`.
pub(super) async fn trim(tx: &mut TenantTx, now: Timestamp, kept: i64) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "DELETE FROM signing_keys WHERE tenant_id = $1 AND id IN (
           SELECT id FROM signing_keys WHERE tenant_id = $1 AND (revoked_at IS NOT NULL OR retires_at <= $2)
           ORDER BY id DESC OFFSET $3)",
        tenant,
        now.to_offset(),
        kept
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Private halves that an earlier version has sealed under a data key.
pub(super) async fn under_data_keys(tx: &mut TenantTx) -> Result<Vec<SigningKeyId>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_scalar!(
        "SELECT id FROM signing_keys WHERE tenant_id = $1 AND held AND data_key_id IS NOT NULL FOR UPDATE",
        tenant
    );
    Ok(rows.fetch_all(tx.conn()).await?.into_iter().map(Id::from_uuid).collect())
}

/// The private half is sealed for control planes alone from now on.
pub(super) async fn replace_sealed(
    tx: &mut TenantTx,
    id: SigningKeyId,
    sealed: &[u8],
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE signing_keys SET sealed = $3, data_key_id = NULL WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        sealed
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Tenants with private halves that are to be forgotten, because another key signs, or to be sealed anew.
pub(super) async fn untidy(
    tx: &mut OperatorTx,
    now: Timestamp,
    most: i64,
) -> Result<Vec<TenantId>, StoreError> {
    let rows = sqlx::query_scalar!(
        "SELECT tenant_id FROM signing_keys WHERE held GROUP BY tenant_id
         HAVING count(*) FILTER (WHERE activates_at <= $1) > 1 OR bool_or(data_key_id IS NOT NULL)
         ORDER BY random() LIMIT $2",
        now.to_offset(),
        most
    );
    Ok(rows.fetch_all(tx.conn()).await?.into_iter().map(TenantId::from_uuid).collect())
}

/// Forgets the private halves of keys in whose place another signs at `now`.
pub(super) async fn forget(tx: &mut TenantTx, now: Timestamp) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE signing_keys old SET sealed = NULL WHERE tenant_id = $1 AND sealed IS NOT NULL AND EXISTS (
           SELECT FROM signing_keys new WHERE new.tenant_id = old.tenant_id AND new.activates_at > old.activates_at
             AND new.activates_at <= $2 AND new.revoked_at IS NULL)",
        tenant,
        now.to_offset()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Tenants whose newest key began to sign before, in no order: those whose rotation fails do not keep others from theirs.
pub(super) async fn due(
    tx: &mut OperatorTx,
    before: OffsetDateTime,
    most: i64,
) -> Result<Vec<TenantId>, StoreError> {
    let rows = sqlx::query_scalar!(
        "SELECT tenant_id FROM signing_keys WHERE revoked_at IS NULL
         GROUP BY tenant_id HAVING max(activates_at) < $1 ORDER BY random() LIMIT $2",
        before,
        most
    );
    Ok(rows.fetch_all(tx.conn()).await?.into_iter().map(TenantId::from_uuid).collect())
}

/// Tenants with keys that sign, in order of id, whose latest revision was compiled under other origins.
pub(super) async fn published_otherwise(
    tx: &mut OperatorTx,
    origins: &str,
    after: TenantId,
    most: i64,
) -> Result<Vec<TenantId>, StoreError> {
    let rows = sqlx::query_scalar!(
        "SELECT id FROM tenants t WHERE published_origins <> $1 AND id > $2
           AND (EXISTS (SELECT FROM signing_keys k WHERE k.tenant_id = t.id)
             OR EXISTS (SELECT FROM assertion_keys k WHERE k.tenant_id = t.id))
         ORDER BY id LIMIT $3",
        origins,
        after.uuid(),
        most
    );
    Ok(rows.fetch_all(tx.conn()).await?.into_iter().map(TenantId::from_uuid).collect())
}

/// Origins under which the tenant's latest revision was compiled. Holds the tenant's row.
pub(super) async fn published_origins(tx: &mut TenantTx) -> Result<String, StoreError> {
    let tenant = tx.tenant().uuid();
    let found = sqlx::query_scalar!("SELECT published_origins FROM tenants WHERE id = $1 FOR UPDATE", tenant);
    Ok(found.fetch_one(tx.conn()).await?)
}

/// Slugs of the endpoints that the client may use and that are served.
pub(super) async fn endpoints_of_client(
    tx: &mut TenantTx,
    client: ClientId,
) -> Result<Vec<String>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_scalar!(
        "SELECT e.slug FROM client_endpoints r JOIN endpoints e ON e.tenant_id = r.tenant_id AND e.id = r.endpoint_id
         WHERE r.tenant_id = $1 AND r.client_id = $2 AND e.enabled ORDER BY e.slug",
        tenant,
        client.uuid()
    );
    Ok(rows.fetch_all(tx.conn()).await?)
}

/// The tenant's domains that are proven, each with the slug of the endpoint that it stands for; `None`: for all.
pub(super) async fn proven_domains(tx: &mut TenantTx) -> Result<Vec<(String, Option<String>)>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        r#"SELECT d.name, e.slug AS "slug?" FROM domains d
             LEFT JOIN endpoints e ON e.tenant_id = d.tenant_id AND e.id = d.endpoint_id
           WHERE d.tenant_id = $1 AND d.proven_at IS NOT NULL"#,
        tenant
    );
    let rows = rows.fetch_all(tx.conn()).await?;
    Ok(rows.into_iter().map(|row| (row.name, row.slug)).collect())
}

/// Whether the token was revoked, alone or with its client's or member's.
pub(super) async fn is_revoked(tx: &mut TenantTx, token: &Claims) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    // Its id says when it was made, more exactly than `iat`.
    let millis = u64::try_from(token.jti.uuid().as_u128() >> 80).unwrap_or_default();
    let made = Timestamp::from_micros(millis.saturating_mul(1_000));
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (
             SELECT FROM revocations WHERE tenant_id = $1 AND (
               (kind = 'token' AND subject_id = $2)
               OR (kind IN ('client', 'client_tokens') AND subject_id = $3 AND issued_before > $4)
               OR (kind = 'member_tokens' AND subject_id = $5 AND issued_before > $4)
               OR (kind = 'member_client_tokens' AND subject_id = $6 AND issued_before > $4))) AS "revoked!""#,
        tenant,
        token.jti.uuid(),
        token.client_id.uuid(),
        made.to_offset(),
        token.member().map(|member| member.uuid()),
        token.member().map(|member| through(member, token.client_id))
    )
    .fetch_one(tx.conn())
    .await?)
}

/// Tokens of the tenant that were revoked alone and may not have ended.
pub(super) async fn revoked_tokens(tx: &mut TenantTx, now: Timestamp) -> Result<i64, StoreError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM revocations WHERE tenant_id = $1 AND kind = 'token' AND issued_before > $2"#,
        tenant,
        now.to_offset() - LONGEST_LIFE
    )
    .fetch_one(tx.conn())
    .await?)
}
