//! `assertion_keys`.

use std::collections::HashMap;

use crypto::jwt::{Algorithm, PublicKey};
use ids::{AssertionKeyId, Id, TenantId};
use seams::Timestamp;
use time::OffsetDateTime;

use super::keys::{AssertionKey, SealedHalf};
use crate::db::{OperatorTx, StoreError, TenantTx, Unreadable};

pub(super) async fn keys(tx: &mut TenantTx) -> Result<Vec<AssertionKey>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        "SELECT id, public_key, created_at, activates_at, retires_at, revoked_at FROM assertion_keys
         WHERE tenant_id = $1 ORDER BY id",
        tenant
    )
    .fetch_all(tx.conn())
    .await?;
    let key = rows.into_iter().map(|row| {
        let public = PublicKey::new(Algorithm::Es256, &row.public_key);
        Ok(AssertionKey {
            id: Id::from_uuid(row.id),
            public: public.map_err(|_| Unreadable("public key"))?,
            created_at: Timestamp::from_offset(row.created_at),
            activates_at: Timestamp::from_offset(row.activates_at),
            retires_at: row.retires_at.map(Timestamp::from_offset),
            revoked_at: row.revoked_at.map(Timestamp::from_offset),
        })
    });
    key.collect()
}

/// Private halves that are not forgotten.
pub(super) async fn halves(tx: &mut TenantTx) -> Result<HashMap<AssertionKeyId, SealedHalf>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        r#"SELECT id, data_key_id, sealed AS "sealed!" FROM assertion_keys WHERE tenant_id = $1 AND sealed IS NOT NULL"#,
        tenant
    )
    .fetch_all(tx.conn())
    .await?;
    let half = rows.into_iter().map(|row| {
        let half = SealedHalf { data_key_id: Id::from_uuid(row.data_key_id), sealed: row.sealed };
        (Id::from_uuid(row.id), half)
    });
    Ok(half.collect())
}

pub(super) async fn insert(
    tx: &mut TenantTx,
    key: &AssertionKey,
    half: &SealedHalf,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO assertion_keys (tenant_id, id, public_key, data_key_id, sealed, created_at, activates_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        tenant,
        key.id.uuid(),
        key.public.bytes(),
        half.data_key_id.uuid(),
        half.sealed,
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
        "UPDATE assertion_keys SET retires_at = $2 WHERE tenant_id = $1 AND retires_at IS NULL",
        tenant,
        at.to_offset()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Where the one that was to follow goes, the one before it goes on.
pub(super) async fn revoke(tx: &mut TenantTx, id: AssertionKeyId, now: Timestamp) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE assertion_keys SET revoked_at = coalesce(revoked_at, $3), sealed = NULL WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        now.to_offset()
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        "UPDATE assertion_keys SET retires_at = NULL WHERE tenant_id = $1 AND id = (
           SELECT id FROM assertion_keys WHERE tenant_id = $1 AND revoked_at IS NULL
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
        "DELETE FROM assertion_keys WHERE tenant_id = $1 AND id IN (
           SELECT id FROM assertion_keys WHERE tenant_id = $1 AND (revoked_at IS NOT NULL OR retires_at <= $2)
           ORDER BY id DESC OFFSET $3)",
        tenant,
        now.to_offset(),
        kept
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Forgets the private halves of keys in whose place another signs at `now`.
pub(super) async fn forget(tx: &mut TenantTx, now: Timestamp) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE assertion_keys old SET sealed = NULL WHERE tenant_id = $1 AND sealed IS NOT NULL AND EXISTS (
           SELECT FROM assertion_keys new WHERE new.tenant_id = old.tenant_id AND new.activates_at > old.activates_at
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
        "SELECT tenant_id FROM assertion_keys WHERE revoked_at IS NULL
         GROUP BY tenant_id HAVING max(activates_at) < $1 ORDER BY random() LIMIT $2",
        before,
        most
    );
    Ok(rows.fetch_all(tx.conn()).await?.into_iter().map(TenantId::from_uuid).collect())
}
