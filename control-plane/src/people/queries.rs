//! `accounts` and `sessions`, and what of `members` and `invitations` is looked up before a tenant is known.

use ids::{AccountId, Id, InvitationId, MemberId, TenantId};
use time::OffsetDateTime;

use super::email::Email;
use crate::db::{PeopleTx, StoreError};

/// Who of the tenant's members signs in under the address, and the hash of their password, if they have one. Nobody signs in to a tenant
/// that is suspended, or in which they are switched off, or which lets people of these addresses come by its provider alone.
pub(super) async fn account(
    tx: &mut PeopleTx,
    slug: &str,
    email: &Email,
) -> Result<Option<(AccountId, Option<String>)>, StoreError> {
    let row = sqlx::query!(
        "SELECT a.id, a.password_hash FROM accounts a JOIN members m ON m.account_id = a.id JOIN tenants t ON t.id = m.tenant_id
         WHERE a.email = $1 AND t.slug = $2 AND m.enabled AND NOT t.suspended AND NOT EXISTS (
           SELECT FROM sign_in_providers p WHERE p.tenant_id = m.tenant_id AND p.enabled AND NOT p.passwords
             AND split_part(a.email, '@', 2) = ANY (p.email_domains))",
        email.as_str(),
        slug
    );
    let row = row.fetch_optional(tx.conn()).await?;
    Ok(row.map(|row| (Id::from_uuid(row.id), row.password_hash)))
}

/// The hash of the account's password, if it has one.
pub(super) async fn password_hash(tx: &mut PeopleTx, id: AccountId) -> Result<Option<String>, StoreError> {
    let hash = sqlx::query_scalar!("SELECT password_hash FROM accounts WHERE id = $1", id.uuid());
    Ok(hash.fetch_optional(tx.conn()).await?.flatten())
}

/// Of an account that has left the tenant: it is deleted if it is a member of nothing now; if that was its home, it is at home where it
/// has been a member longest.
pub(super) async fn settle(tx: &mut PeopleTx, id: AccountId, left: TenantId) -> Result<(), StoreError> {
    // Whoever lets it join something meanwhile waits: what is asked after this is as it stays.
    sqlx::query!("SELECT id FROM accounts WHERE id = $1 FOR UPDATE", id.uuid())
        .fetch_optional(tx.conn())
        .await?;
    sqlx::query!(
        "DELETE FROM accounts a WHERE a.id = $1 AND NOT EXISTS (SELECT FROM members m WHERE m.account_id = a.id)",
        id.uuid()
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        "UPDATE accounts SET home_tenant_id = (
           SELECT m.tenant_id FROM members m WHERE m.account_id = $1 ORDER BY m.created_at, m.tenant_id LIMIT 1)
         WHERE id = $1 AND home_tenant_id = $2",
        id.uuid(),
        left.uuid()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Accounts at home in the tenant that are members elsewhere are at home there, where they have been longest; the others are deleted with
/// the tenant.
pub(super) async fn move_out(tx: &mut PeopleTx, tenant: TenantId) -> Result<(), StoreError> {
    // As in `settle`.
    sqlx::query!("SELECT id FROM accounts WHERE home_tenant_id = $1 ORDER BY id FOR UPDATE", tenant.uuid())
        .fetch_all(tx.conn())
        .await?;
    sqlx::query!(
        "UPDATE accounts a SET home_tenant_id = other.tenant_id FROM (
           SELECT DISTINCT ON (m.account_id) m.account_id, m.tenant_id FROM members m WHERE m.tenant_id <> $1
           ORDER BY m.account_id, m.created_at, m.tenant_id) other
         WHERE a.home_tenant_id = $1 AND other.account_id = a.id",
        tenant.uuid()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Gives whoever the account is in the tenant another password. Where it is a member elsewhere too, that stays as it is, and there is
/// a new account, with this id, for the tenant alone: whether it is that.
pub(super) async fn reset_password(
    tx: &mut PeopleTx,
    (account, tenant): (AccountId, TenantId),
    (new, password_hash): (AccountId, &str),
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    // As in `settle`.
    sqlx::query!("SELECT id FROM accounts WHERE id = $1 FOR UPDATE", account.uuid())
        .fetch_one(tx.conn())
        .await?;
    let elsewhere = sqlx::query_scalar!(
        "SELECT tenant_id FROM members WHERE account_id = $1 AND tenant_id <> $2 ORDER BY created_at, tenant_id LIMIT 1",
        account.uuid(),
        tenant.uuid()
    );
    let Some(elsewhere) = elsewhere.fetch_optional(tx.conn()).await? else {
        change_password(tx, account, password_hash, now).await?;
        end_sessions(tx, account).await?;
        return Ok(false);
    };
    sqlx::query!(
        "UPDATE accounts SET home_tenant_id = $3 WHERE id = $1 AND home_tenant_id = $2",
        account.uuid(),
        tenant.uuid(),
        elsewhere
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        "INSERT INTO accounts (id, home_tenant_id, email, password_hash, created_at, updated_at)
         SELECT $2, $3, email, $4, $5, $5 FROM accounts WHERE id = $1",
        account.uuid(),
        new.uuid(),
        tenant.uuid(),
        password_hash,
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(true)
}

/// A new account, of which the tenant is the home: to become a member of it in the same transaction.
pub(super) async fn create_account(
    tx: &mut PeopleTx,
    id: AccountId,
    (home, email): (TenantId, &Email),
    password_hash: Option<&str>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO accounts (id, home_tenant_id, email, password_hash, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5)",
        id.uuid(),
        home.uuid(),
        email.as_str(),
        password_hash,
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The account has another password from now on.
pub(super) async fn change_password(
    tx: &mut PeopleTx,
    id: AccountId,
    password_hash: &str,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let changed = sqlx::query!(
        "UPDATE accounts SET password_hash = $2, updated_at = $3 WHERE id = $1",
        id.uuid(),
        password_hash,
        now
    );
    changed.execute(tx.conn()).await?;
    Ok(())
}

/// A session.
pub(super) struct Found {
    pub(super) account: AccountId,
    pub(super) email: Email,
    pub(super) signed_in_at: OffsetDateTime,
    pub(super) seen_at: OffsetDateTime,
    pub(super) only: Option<TenantId>,
}

/// Whose session it is, since when, and when it was last seen, where that is after these. A person of no tenant has none.
pub(super) async fn session(
    tx: &mut PeopleTx,
    digest: &[u8; 32],
    (seen_after, begun_after): (OffsetDateTime, OffsetDateTime),
) -> Result<Option<Found>, StoreError> {
    let row = sqlx::query!(
        "SELECT s.account_id, a.email, s.signed_in_at, s.seen_at, s.only_tenant_id FROM sessions s JOIN accounts a ON a.id = s.account_id
         WHERE s.digest = $1 AND s.seen_at > $2 AND s.signed_in_at > $3
           AND EXISTS (SELECT FROM members m WHERE m.account_id = s.account_id)",
        digest,
        seen_after,
        begun_after
    );
    let row = row.fetch_optional(tx.conn()).await?;
    Ok(row.map(|row| Found {
        account: Id::from_uuid(row.account_id),
        email: Email::stored(row.email),
        signed_in_at: row.signed_in_at,
        seen_at: row.seen_at,
        only: row.only_tenant_id.map(Id::from_uuid),
    }))
}

pub(super) async fn session_exists(tx: &mut PeopleTx, digest: &[u8]) -> Result<bool, StoreError> {
    let found =
        sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM sessions WHERE digest = $1) AS "is!""#, digest);
    Ok(found.fetch_one(tx.conn()).await?)
}

pub(super) async fn seen(
    tx: &mut PeopleTx,
    digest: &[u8; 32],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let updated =
        sqlx::query!("UPDATE sessions SET seen_at = greatest(seen_at, $2) WHERE digest = $1", digest, now);
    updated.execute(tx.conn()).await?;
    Ok(())
}

/// A new session of the account, of which there are `most` of its kind afterwards.
pub(super) async fn begin_session(
    tx: &mut PeopleTx,
    digest: &[u8; 32],
    (account, only): (AccountId, Option<TenantId>),
    (signed_in_at, now): (OffsetDateTime, OffsetDateTime),
    most: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO sessions (digest, account_id, signed_in_at, seen_at, only_tenant_id) VALUES ($1, $2, $3, $4, $5)",
        digest,
        account.uuid(),
        signed_in_at,
        now,
        only.map(TenantId::uuid)
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        "DELETE FROM sessions WHERE digest IN (
           SELECT digest FROM sessions WHERE account_id = $1 AND only_tenant_id IS NOT DISTINCT FROM $3
           ORDER BY seen_at DESC, digest OFFSET $2)",
        account.uuid(),
        most,
        only.map(TenantId::uuid)
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn end_session(tx: &mut PeopleTx, digest: &[u8; 32]) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM sessions WHERE digest = $1", digest).execute(tx.conn()).await?;
    Ok(())
}

pub(super) async fn end_sessions(tx: &mut PeopleTx, account: AccountId) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM sessions WHERE account_id = $1", account.uuid()).execute(tx.conn()).await?;
    Ok(())
}

/// As [`end_sessions`], of those that are good for one tenant alone.
pub(super) async fn end_sessions_of(
    tx: &mut PeopleTx,
    account: AccountId,
    only: TenantId,
) -> Result<(), StoreError> {
    sqlx::query!(
        "DELETE FROM sessions WHERE account_id = $1 AND only_tenant_id = $2",
        account.uuid(),
        only.uuid()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Deletes those that were last seen, or begun, before.
pub(super) async fn forget_sessions(
    tx: &mut PeopleTx,
    (seen_after, begun_after): (OffsetDateTime, OffsetDateTime),
) -> Result<u64, StoreError> {
    let deleted = sqlx::query!(
        "DELETE FROM sessions WHERE seen_at <= $1 OR signed_in_at <= $2",
        seen_after,
        begun_after
    );
    Ok(deleted.execute(tx.conn()).await?.rows_affected())
}

/// A tenant that somebody is a member of.
pub(super) struct Membership {
    pub(super) tenant: TenantId,
    pub(super) slug: String,
    pub(super) name: String,
    pub(super) member: MemberId,
    pub(super) enabled: bool,
}

/// Of which tenants the account is a member, at most so many.
pub(super) async fn memberships(
    tx: &mut PeopleTx,
    account: AccountId,
    most: i64,
) -> Result<Vec<Membership>, StoreError> {
    let rows = sqlx::query!(
        "SELECT m.tenant_id, t.slug, t.name, m.id, m.enabled FROM members m JOIN tenants t ON t.id = m.tenant_id
         WHERE m.account_id = $1 ORDER BY t.slug LIMIT $2",
        account.uuid(),
        most
    );
    let rows = rows.fetch_all(tx.conn()).await?.into_iter().map(|row| Membership {
        tenant: Id::from_uuid(row.tenant_id),
        slug: row.slug,
        name: row.name,
        member: Id::from_uuid(row.id),
        enabled: row.enabled,
    });
    Ok(rows.collect())
}

/// An invitation that is good.
pub(super) struct Invited {
    pub(super) tenant: TenantId,
    pub(super) id: InvitationId,
    pub(super) email: Email,
    pub(super) tenant_name: String,
    pub(super) tenant_slug: String,
    /// Who is a member already, and is to choose another password.
    pub(super) member: Option<MemberId>,
}

pub(super) async fn invitation(
    tx: &mut PeopleTx,
    digest: &[u8; 32],
    now: OffsetDateTime,
) -> Result<Option<Invited>, StoreError> {
    let row = sqlx::query!(
        "SELECT i.tenant_id, i.id, i.email, i.member_id, t.name, t.slug FROM invitations i JOIN tenants t ON t.id = i.tenant_id
         WHERE i.digest = $1 AND i.expires_at > $2 AND NOT t.suspended",
        digest,
        now
    );
    let row = row.fetch_optional(tx.conn()).await?;
    Ok(row.map(|row| Invited {
        tenant: Id::from_uuid(row.tenant_id),
        id: Id::from_uuid(row.id),
        email: Email::stored(row.email),
        tenant_name: row.name,
        tenant_slug: row.slug,
        member: row.member_id.map(Id::from_uuid),
    }))
}
