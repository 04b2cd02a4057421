//! `invitations`.

use ids::{Id, InvitationId, Uuid};
use time::OffsetDateTime;

use super::types::Invitation;
use crate::{
    db::{StoreError, TenantTx, Unreadable},
    people::email::Email,
    resources::members::types::{AdminRole, Member},
};

struct Row {
    id: Uuid,
    email: String,
    admin_role: String,
    created_at: OffsetDateTime,
    expires_at: OffsetDateTime,
}

impl TryFrom<Row> for Invitation {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: Id::from_uuid(row.id),
            email: Email::stored(row.email),
            admin_role: AdminRole::from_name(&row.admin_role).ok_or(Unreadable("admin role"))?,
            created_at: row.created_at,
            expires_at: row.expires_at,
        })
    }
}

pub(super) async fn list(tx: &mut TenantTx, after: Uuid, fetch: i64) -> Result<Vec<Invitation>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, email, admin_role, created_at, expires_at FROM invitations
         WHERE tenant_id = $1 AND id > $2 AND member_id IS NULL ORDER BY id LIMIT $3",
        tenant,
        after,
        fetch
    );
    rows.fetch_all(tx.conn()).await?.into_iter().map(TryInto::try_into).collect()
}

pub(super) async fn get(tx: &mut TenantTx, id: InvitationId) -> Result<Invitation, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        Row,
        "SELECT id, email, admin_role, created_at, expires_at FROM invitations
         WHERE tenant_id = $1 AND id = $2 AND member_id IS NULL",
        tenant,
        id.uuid()
    );
    row.fetch_one(tx.conn()).await?.try_into()
}

pub(super) async fn insert(
    tx: &mut TenantTx,
    invitation: &Invitation,
    digest: &[u8; 32],
    made_by: &str,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO invitations (tenant_id, id, email, admin_role, digest, created_at, expires_at, made_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        tenant,
        invitation.id.uuid(),
        invitation.email.as_str(),
        invitation.admin_role.name(),
        digest,
        invitation.created_at,
        invitation.expires_at,
        made_by
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut TenantTx, id: InvitationId) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM invitations WHERE tenant_id = $1 AND id = $2", tenant, id.uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}

pub(super) async fn again(
    tx: &mut TenantTx,
    id: InvitationId,
    member: &Member,
    (digest, made_by): (&[u8; 32], &str),
    (now, expires_at): (OffsetDateTime, OffsetDateTime),
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM invitations WHERE tenant_id = $1 AND member_id = $2", tenant, member.id.uuid())
        .execute(tx.conn())
        .await?;
    sqlx::query!(
        "INSERT INTO invitations (tenant_id, id, email, admin_role, digest, created_at, expires_at, made_by, member_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        tenant,
        id.uuid(),
        member.email.as_str(),
        member.settings.admin_role.name(),
        digest,
        now,
        expires_at,
        made_by,
        member.id.uuid()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn withdraw_of(tx: &mut TenantTx, actor: &str) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM invitations WHERE tenant_id = $1 AND made_by = $2", tenant, actor)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Whether somebody is a member under the address.
pub(super) async fn is_member(tx: &mut TenantTx, email: &Email) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM members WHERE tenant_id = $1 AND email = $2) AS "is!""#,
        tenant,
        email.as_str()
    )
    .fetch_one(tx.conn())
    .await?)
}

/// Members and invitations of the tenant; those that have ended are forgotten first.
pub(super) async fn count(tx: &mut TenantTx, now: OffsetDateTime) -> Result<i64, StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM invitations WHERE tenant_id = $1 AND expires_at <= $2", tenant, now)
        .execute(tx.conn())
        .await?;
    Ok(sqlx::query_scalar!(
        r#"SELECT (SELECT count(*) FROM members WHERE tenant_id = $1)
             + (SELECT count(*) FROM invitations WHERE tenant_id = $1) AS "count!""#,
        tenant
    )
    .fetch_one(tx.conn())
    .await?)
}
