//! `admin_sessions`.

use ids::{Id, MemberId};
use seams::Timestamp;
use time::OffsetDateTime;

use super::AdminSession;
use crate::{
    db::{PeopleTx, StoreError, TenantTx, Unreadable},
    people::cookie::Value,
    resources::members::types::AdminRole,
};

/// Whose session it is, and when it was last noted that it is in use, where it was in use and has begun after these.
pub(super) async fn find(
    tx: &mut PeopleTx,
    value: &Value,
    (seen_after, begun_after): (OffsetDateTime, OffsetDateTime),
) -> Result<Option<(AdminSession, OffsetDateTime)>, StoreError> {
    let row = sqlx::query!(
        "SELECT own.tenant_id, t.slug, own.member_id, own.session, s.account_id, s.signed_in_at, s.seen_at, s.only_tenant_id
         FROM admin_sessions own JOIN sessions s ON s.digest = own.session JOIN tenants t ON t.id = own.tenant_id
         WHERE own.digest = $1 AND s.seen_at > $2 AND s.signed_in_at > $3 AND NOT t.suspended",
        &value.digest(),
        seen_after,
        begun_after
    );
    let Some(row) = row.fetch_optional(tx.conn()).await? else { return Ok(None) };
    let session = AdminSession {
        tenant: Id::from_uuid(row.tenant_id),
        slug: row.slug,
        member: Id::from_uuid(row.member_id),
        account: Id::from_uuid(row.account_id),
        signed_in_at: Timestamp::from_offset(row.signed_in_at),
        only: row.only_tenant_id.map(Id::from_uuid),
        parent: digest(row.session)?,
        value: value.clone(),
    };
    Ok(Some((session, row.seen_at)))
}

fn digest(stored: Vec<u8>) -> Result<[u8; 32], StoreError> {
    Ok(stored.try_into().map_err(|_| Unreadable("digest"))?)
}

pub(super) async fn end(tx: &mut PeopleTx, digest: &[u8; 32]) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM admin_sessions WHERE digest = $1", digest).execute(tx.conn()).await?;
    Ok(())
}

/// Ends what else came of the session: a browser administers one tenant at a time.
pub(super) async fn end_others(
    tx: &mut PeopleTx,
    session: &[u8; 32],
    digest: &[u8; 32],
) -> Result<(), StoreError> {
    sqlx::query!(
        "DELETE FROM admin_sessions WHERE session = $1 AND digest IS DISTINCT FROM $2",
        session,
        digest
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn forget(tx: &mut PeopleTx, now: OffsetDateTime) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM admin_sessions WHERE digest IS NULL AND code_until <= $1", now)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// What the member may administer, and their address, unless they are switched off.
pub(super) async fn role(
    tx: &mut TenantTx,
    member: MemberId,
) -> Result<Option<(AdminRole, String)>, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        "SELECT admin_role, email FROM members WHERE tenant_id = $1 AND id = $2 AND enabled",
        tenant,
        member.uuid()
    );
    let Some(row) = row.fetch_optional(tx.conn()).await? else { return Ok(None) };
    let role = AdminRole::from_name(&row.admin_role).ok_or(Unreadable("admin role"))?;
    Ok(Some((role, row.email)))
}

pub(super) async fn insert(
    tx: &mut TenantTx,
    (member, session): (MemberId, &[u8; 32]),
    (code, challenge, until): (&[u8; 32], &str, OffsetDateTime),
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO admin_sessions (tenant_id, member_id, session, code, challenge, code_until)
         VALUES ($1, $2, $3, $4, $5, $6)",
        tenant,
        member.uuid(),
        session,
        code,
        challenge,
        until
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// What a code was given for.
pub(super) struct Granted {
    pub(super) member: MemberId,
    pub(super) session: [u8; 32],
    pub(super) challenge: String,
    pub(super) until: OffsetDateTime,
    pub(super) used: bool,
}

/// Holds what the code was given for until the transaction ends.
pub(super) async fn hold(tx: &mut TenantTx, code: &[u8; 32]) -> Result<Option<Granted>, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        r#"SELECT member_id, session, challenge, code_until, digest IS NOT NULL AS "used!" FROM admin_sessions
           WHERE tenant_id = $1 AND code = $2 FOR UPDATE"#,
        tenant,
        code
    );
    let Some(row) = row.fetch_optional(tx.conn()).await? else { return Ok(None) };
    Ok(Some(Granted {
        member: Id::from_uuid(row.member_id),
        session: digest(row.session)?,
        challenge: row.challenge,
        until: row.code_until,
        used: row.used,
    }))
}

pub(super) async fn begin(tx: &mut TenantTx, code: &[u8; 32], digest: &[u8; 32]) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE admin_sessions SET digest = $3 WHERE tenant_id = $1 AND code = $2",
        tenant,
        code,
        digest
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut TenantTx, code: &[u8; 32]) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM admin_sessions WHERE tenant_id = $1 AND code = $2", tenant, code)
        .execute(tx.conn())
        .await?;
    Ok(())
}

pub(super) async fn end_of_member(tx: &mut TenantTx, member: MemberId) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM admin_sessions WHERE tenant_id = $1 AND member_id = $2", tenant, member.uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}
