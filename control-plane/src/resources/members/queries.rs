//! `members` and `member_roles`.

use ids::{AccountId, Id, InvitationId, MemberId, RoleId, Uuid};
use time::OffsetDateTime;

use super::types::{AdminRole, Member, MemberSettings};
use crate::{
    db::{StoreError, TenantTx, Unreadable},
    people::email::Email,
    resources::roles::{queries::Row as RoleRow, types::Role},
};

struct Row {
    id: Uuid,
    email: String,
    admin_role: String,
    enabled: bool,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl TryFrom<Row> for Member {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let admin_role = AdminRole::from_name(&row.admin_role).ok_or(Unreadable("admin role"))?;
        Ok(Self {
            id: Id::from_uuid(row.id),
            email: Email::stored(row.email),
            settings: MemberSettings { admin_role, enabled: row.enabled },
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

pub(super) async fn list(tx: &mut TenantTx, after: Uuid, fetch: i64) -> Result<Vec<Member>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, email, admin_role, enabled, created_at, updated_at FROM members
         WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        tenant,
        after,
        fetch
    );
    rows.fetch_all(tx.conn()).await?.into_iter().map(TryInto::try_into).collect()
}

pub(super) async fn get(tx: &mut TenantTx, id: MemberId) -> Result<Member, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        Row,
        "SELECT id, email, admin_role, enabled, created_at, updated_at FROM members WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid()
    );
    row.fetch_one(tx.conn()).await?.try_into()
}

/// Holds the member's row until the transaction ends, and reads it.
pub(super) async fn lock(tx: &mut TenantTx, id: MemberId) -> Result<Member, StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("SELECT id FROM members WHERE tenant_id = $1 AND id = $2 FOR UPDATE", tenant, id.uuid())
        .fetch_one(tx.conn())
        .await?;
    get(tx, id).await
}

pub(super) async fn update(
    tx: &mut TenantTx,
    id: MemberId,
    settings: &MemberSettings,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE members SET admin_role = $3, enabled = $4, updated_at = $5 WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        settings.admin_role.name(),
        settings.enabled,
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Removes the member; whose account it was.
pub(super) async fn delete(tx: &mut TenantTx, id: MemberId) -> Result<AccountId, StoreError> {
    let tenant = tx.tenant().uuid();
    let account = sqlx::query_scalar!(
        "DELETE FROM members WHERE tenant_id = $1 AND id = $2 RETURNING account_id",
        tenant,
        id.uuid()
    );
    Ok(Id::from_uuid(account.fetch_one(tx.conn()).await?))
}

/// Whether the tenant has an owner who may sign in, beside this member. Writes of a tenant follow each other, so it stays so.
pub(super) async fn has_another_owner(tx: &mut TenantTx, id: MemberId) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM members WHERE tenant_id = $1 AND id <> $2 AND admin_role = 'owner' AND enabled)
             AS "has!""#,
        tenant,
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?)
}

/// Takes an invitation that is good, and says what it makes of whom it was for.
pub(super) async fn take_invitation(
    tx: &mut TenantTx,
    id: InvitationId,
    now: OffsetDateTime,
) -> Result<Option<AdminRole>, StoreError> {
    let tenant = tx.tenant().uuid();
    let taken = sqlx::query_scalar!(
        "DELETE FROM invitations WHERE tenant_id = $1 AND id = $2 AND expires_at > $3 AND member_id IS NULL
           AND NOT EXISTS (SELECT FROM tenants WHERE id = $1 AND suspended) RETURNING admin_role",
        tenant,
        id.uuid(),
        now
    );
    let Some(role) = taken.fetch_optional(tx.conn()).await? else { return Ok(None) };
    Ok(Some(AdminRole::from_name(&role).ok_or(Unreadable("admin role"))?))
}

/// Takes a link by which a member is to choose another password: who, and of which account, held until the transaction ends.
pub(super) async fn take_reset(
    tx: &mut TenantTx,
    id: InvitationId,
    now: OffsetDateTime,
) -> Result<Option<(MemberId, AccountId)>, StoreError> {
    let tenant = tx.tenant().uuid();
    let taken = sqlx::query_scalar!(
        r#"DELETE FROM invitations WHERE tenant_id = $1 AND id = $2 AND expires_at > $3 AND member_id IS NOT NULL
           AND NOT EXISTS (SELECT FROM tenants WHERE id = $1 AND suspended) RETURNING member_id AS "member!""#,
        tenant,
        id.uuid(),
        now
    );
    let Some(member) = taken.fetch_optional(tx.conn()).await? else { return Ok(None) };
    let account = sqlx::query_scalar!(
        "SELECT account_id FROM members WHERE tenant_id = $1 AND id = $2 AND enabled FOR UPDATE",
        tenant,
        member
    );
    let account = account.fetch_optional(tx.conn()).await?;
    Ok(account.map(|account| (Id::from_uuid(member), Id::from_uuid(account))))
}

pub(super) async fn change_account(
    tx: &mut TenantTx,
    id: MemberId,
    account: AccountId,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE members SET account_id = $3, updated_at = $4 WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        account.uuid(),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// A new member; other invitations of theirs are over.
pub(super) async fn insert(
    tx: &mut TenantTx,
    id: MemberId,
    account: AccountId,
    (email, admin_role): (&Email, AdminRole),
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO members (tenant_id, id, account_id, email, admin_role, enabled, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, true, $6, $6)",
        tenant,
        id.uuid(),
        account.uuid(),
        email.as_str(),
        admin_role.name(),
        now
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!("DELETE FROM invitations WHERE tenant_id = $1 AND email = $2", tenant, email.as_str())
        .execute(tx.conn())
        .await?;
    Ok(())
}

pub(super) async fn roles(
    tx: &mut TenantTx,
    member: MemberId,
    after: Uuid,
    fetch: i64,
) -> Result<Vec<Role>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        RoleRow,
        "SELECT role.id, role.name, role.created_at, role.updated_at
         FROM member_roles held JOIN roles role ON role.tenant_id = held.tenant_id AND role.id = held.role_id
         WHERE held.tenant_id = $1 AND held.member_id = $2 AND role.id > $3 ORDER BY role.id LIMIT $4",
        tenant,
        member.uuid(),
        after,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(Role::from).collect())
}

/// Gives a role. [`StoreError::NotFound`] when there is no such role.
pub(super) async fn assign(
    tx: &mut TenantTx,
    member: MemberId,
    role: RoleId,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("SELECT id FROM roles WHERE tenant_id = $1 AND id = $2 FOR UPDATE", tenant, role.uuid())
        .fetch_one(tx.conn())
        .await?;
    sqlx::query!(
        "INSERT INTO member_roles (tenant_id, member_id, role_id, created_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (tenant_id, member_id, role_id) DO NOTHING",
        tenant,
        member.uuid(),
        role.uuid(),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn has_role(tx: &mut TenantTx, member: MemberId, role: RoleId) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    let has = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM member_roles WHERE tenant_id = $1 AND member_id = $2 AND role_id = $3) AS "has!""#,
        tenant,
        member.uuid(),
        role.uuid()
    );
    Ok(has.fetch_one(tx.conn()).await?)
}

/// Whether there was something to take away.
pub(super) async fn unassign(tx: &mut TenantTx, member: MemberId, role: RoleId) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    let done = sqlx::query!(
        "DELETE FROM member_roles WHERE tenant_id = $1 AND member_id = $2 AND role_id = $3",
        tenant,
        member.uuid(),
        role.uuid()
    );
    Ok(done.execute(tx.conn()).await?.rows_affected() > 0)
}
