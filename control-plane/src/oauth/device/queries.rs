//! `device_authorizations`.

use ids::{ClientId, Id, MemberId, Scopes, Uuid};
use seams::Timestamp;
use time::OffsetDateTime;

use super::Asking;
use crate::{
    db::{OperatorTx, StoreError, TenantTx, Unreadable},
    oauth::authorize::queries::{read_scopes, write_scopes},
};

/// Whether an administrator has made the client for users.
pub(super) async fn is_for_users(tx: &mut TenantTx, client: ClientId) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    let found = sqlx::query_scalar!(
        r#"SELECT public OR cardinality(redirect_uris) > 0 AS "users!" FROM clients WHERE tenant_id = $1 AND id = $2"#,
        tenant,
        client.uuid()
    );
    Ok(found.fetch_optional(tx.conn()).await?.unwrap_or_default())
}

/// Deletes what has ended of the transaction's tenant.
pub(super) async fn forget_of_tenant(tx: &mut TenantTx, now: OffsetDateTime) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM device_authorizations WHERE tenant_id = $1 AND expires_at <= $2", tenant, now)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// How many there are, in the tenant and of one client.
pub(super) async fn pending(tx: &mut TenantTx, client: ClientId) -> Result<(i64, i64), StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        r#"SELECT count(*) AS "all!", count(*) FILTER (WHERE client_id = $2) AS "own!"
           FROM device_authorizations WHERE tenant_id = $1"#,
        tenant,
        client.uuid()
    );
    let row = row.fetch_one(tx.conn()).await?;
    Ok((row.all, row.own))
}

/// What is stored of two new codes.
pub(super) struct New<'a> {
    pub(super) id: Uuid,
    pub(super) client: ClientId,
    pub(super) lookup: &'a str,
    pub(super) hash: &'a [u8; 32],
    pub(super) user_code: &'a [u8; 16],
    pub(super) resource: &'a str,
    pub(super) scopes: &'a Scopes,
    pub(super) interval: i32,
}

pub(super) async fn insert(
    tx: &mut TenantTx,
    new: &New<'_>,
    (now, expires_at): (OffsetDateTime, OffsetDateTime),
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO device_authorizations (tenant_id, id, client_id, lookup, hash, user_code, resource, scopes, state,
           interval_seconds, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'pending', $9, $10, $11)",
        tenant,
        new.id,
        new.client.uuid(),
        new.lookup,
        new.hash.as_slice(),
        new.user_code.as_slice(),
        new.resource,
        &write_scopes(new.scopes),
        new.interval,
        now,
        expires_at
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// What a person has said.
pub(super) enum Decision {
    Pending,
    /// Who, and when they had signed in.
    Allowed(MemberId, Timestamp),
    Denied,
}

/// What was asked for, and where it stands.
pub(super) struct Found {
    pub(super) id: Uuid,
    pub(super) hash: [u8; 32],
    pub(super) resource: String,
    pub(super) scopes: Scopes,
    pub(super) decision: Decision,
    pub(super) interval: i32,
    pub(super) polled_at: Option<Timestamp>,
    pub(super) expires_at: Timestamp,
}

/// The client's device code with this public part; its row is held.
pub(super) async fn hold(
    tx: &mut TenantTx,
    client: ClientId,
    lookup: &str,
) -> Result<Option<Found>, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        "SELECT id, hash, resource, scopes, state, member_id, signed_in_at, interval_seconds, polled_at, expires_at
         FROM device_authorizations WHERE tenant_id = $1 AND client_id = $2 AND lookup = $3 FOR UPDATE",
        tenant,
        client.uuid(),
        lookup
    );
    let Some(row) = row.fetch_optional(tx.conn()).await? else { return Ok(None) };
    let decision = match (row.state.as_str(), row.member_id, row.signed_in_at) {
        ("pending", ..) => Decision::Pending,
        ("allowed", Some(member), Some(at)) => {
            Decision::Allowed(Id::from_uuid(member), Timestamp::from_offset(at))
        }
        ("denied", ..) => Decision::Denied,
        _ => return Err(Unreadable("device authorization").into()),
    };
    Ok(Some(Found {
        id: row.id,
        hash: row.hash.try_into().map_err(|_| Unreadable("hash"))?,
        resource: row.resource,
        scopes: read_scopes(&row.scopes)?,
        decision,
        interval: row.interval_seconds,
        polled_at: row.polled_at.map(Timestamp::from_offset),
        expires_at: Timestamp::from_offset(row.expires_at),
    }))
}

/// It was asked about.
pub(super) async fn polled(
    tx: &mut TenantTx,
    id: Uuid,
    interval: i32,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE device_authorizations SET interval_seconds = least($3, 3600), polled_at = $4 WHERE tenant_id = $1 AND id = $2",
        tenant,
        id,
        interval,
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut TenantTx, id: Uuid) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM device_authorizations WHERE tenant_id = $1 AND id = $2", tenant, id)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// What is asked by the device that shows this code, if nobody has decided; its row is held.
pub(super) async fn asking(
    tx: &mut TenantTx,
    user_code: &[u8; 16],
    now: OffsetDateTime,
) -> Result<Option<Asking>, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        "SELECT id, client_id, resource, scopes FROM device_authorizations
         WHERE tenant_id = $1 AND user_code = $2 AND state = 'pending' AND expires_at > $3 FOR UPDATE",
        tenant,
        user_code.as_slice(),
        now
    );
    let Some(row) = row.fetch_optional(tx.conn()).await? else { return Ok(None) };
    Ok(Some(Asking {
        id: row.id,
        client: Id::from_uuid(row.client_id),
        resource: row.resource,
        scopes: read_scopes(&row.scopes)?,
    }))
}

/// The member has decided: to allow it, having signed in then, or not.
pub(super) async fn decide(
    tx: &mut TenantTx,
    id: Uuid,
    allowed: Option<(MemberId, OffsetDateTime)>,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    let (member, at) = allowed.unzip();
    sqlx::query!(
        "UPDATE device_authorizations SET state = CASE WHEN $3::uuid IS NULL THEN 'denied' ELSE 'allowed' END, member_id = $3,
           signed_in_at = $4 WHERE tenant_id = $1 AND id = $2",
        tenant,
        id,
        member.map(MemberId::uuid),
        at
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Deletes what has ended.
pub(super) async fn forget(tx: &mut OperatorTx, now: OffsetDateTime) -> Result<u64, StoreError> {
    let deleted = sqlx::query!("DELETE FROM device_authorizations WHERE expires_at <= $1", now);
    Ok(deleted.execute(tx.conn()).await?.rows_affected())
}
