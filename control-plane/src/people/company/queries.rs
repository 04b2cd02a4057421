//! `sign_in_identities`, and what is asked of members when one comes.

use ids::{AccountId, Id, MemberId, SignInProviderId};
use time::OffsetDateTime;

use crate::{
    db::{StoreError, TenantTx, Unreadable},
    people::email::Email,
    resources::members::types::AdminRole,
};

/// Whether the tenant is not suspended.
pub(super) async fn is_open(tx: &mut TenantTx) -> Result<bool, StoreError> {
    let found = sqlx::query_scalar!("SELECT suspended FROM tenants WHERE id = $1", tx.tenant().uuid());
    Ok(!found.fetch_one(tx.conn()).await?)
}

/// A member, their account, and whether they are switched on.
pub(super) type Found = (MemberId, AccountId, bool);

/// Who somebody of the provider's is here.
pub(super) async fn identity(
    tx: &mut TenantTx,
    provider: SignInProviderId,
    subject: &str,
) -> Result<Option<Found>, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        "SELECT m.id, m.account_id, m.enabled FROM sign_in_identities i
         JOIN members m ON m.tenant_id = i.tenant_id AND m.id = i.member_id
         WHERE i.tenant_id = $1 AND i.provider_id = $2 AND i.subject = $3",
        tenant,
        provider.uuid(),
        subject
    );
    let row = row.fetch_optional(tx.conn()).await?;
    Ok(row.map(|row| (Id::from_uuid(row.id), Id::from_uuid(row.account_id), row.enabled)))
}

/// The member with this address.
pub(super) async fn member(tx: &mut TenantTx, email: &Email) -> Result<Option<Found>, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        "SELECT id, account_id, enabled FROM members WHERE tenant_id = $1 AND email = $2",
        tenant,
        email.as_str()
    );
    let row = row.fetch_optional(tx.conn()).await?;
    Ok(row.map(|row| (Id::from_uuid(row.id), Id::from_uuid(row.account_id), row.enabled)))
}

/// As what the address is invited.
pub(super) async fn invited(
    tx: &mut TenantTx,
    email: &Email,
    now: OffsetDateTime,
) -> Result<Option<AdminRole>, StoreError> {
    let tenant = tx.tenant().uuid();
    let role = sqlx::query_scalar!(
        "SELECT admin_role FROM invitations
         WHERE tenant_id = $1 AND email = $2 AND expires_at > $3 AND member_id IS NULL ORDER BY id LIMIT 1",
        tenant,
        email.as_str(),
        now
    );
    let Some(role) = role.fetch_optional(tx.conn()).await? else { return Ok(None) };
    Ok(Some(AdminRole::from_name(&role).ok_or(Unreadable("admin role"))?))
}

pub(super) async fn members(tx: &mut TenantTx) -> Result<i64, StoreError> {
    let tenant = tx.tenant().uuid();
    let count =
        sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM members WHERE tenant_id = $1"#, tenant);
    Ok(count.fetch_one(tx.conn()).await?)
}

/// Notes who somebody is. [`StoreError::Conflict`] when the member is somebody else of the provider's already.
pub(super) async fn link(
    tx: &mut TenantTx,
    provider: SignInProviderId,
    (subject, member): (&str, MemberId),
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO sign_in_identities (tenant_id, provider_id, subject, member_id, created_at) VALUES ($1, $2, $3, $4, $5)",
        tenant,
        provider.uuid(),
        subject,
        member.uuid(),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
