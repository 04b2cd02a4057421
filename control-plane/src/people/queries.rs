//! `accounts` and `sessions`, and what of `members` and `invitations` is looked up before a tenant is known.

use ids::{AccountId, Id, InvitationId, MemberId, TenantId};
use time::OffsetDateTime;

use super::email::Email;
use crate::db::{PeopleTx, StoreError};

/// Who has an account under the address, and the hash of their password, if they have one.
pub(super) async fn account(
    tx: &mut PeopleTx,
    email: &Email,
) -> Result<Option<(AccountId, Option<String>)>, StoreError> {
    let row = sqlx::query!("SELECT id, password_hash FROM accounts WHERE email = $1", email.as_str());
    let row = row.fetch_optional(tx.conn()).await?;
    Ok(row.map(|row| (Id::from_uuid(row.id), row.password_hash)))
}

/// A new account; `false`: there is one under its address.
pub(super) async fn create_account(
    tx: &mut PeopleTx,
    id: AccountId,
    email: &Email,
    password_hash: &str,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let made = sqlx::query!(
        "INSERT INTO accounts (id, email, password_hash, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)
         ON CONFLICT (email) DO NOTHING",
        id.uuid(),
        email.as_str(),
        password_hash,
        now
    );
    Ok(made.execute(tx.conn()).await?.rows_affected() == 1)
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

type Found = (AccountId, Email, OffsetDateTime, OffsetDateTime);

/// Whose session it is, since when, and when it was last seen, where that is after these. A person of no tenant has none.
pub(super) async fn session(
    tx: &mut PeopleTx,
    digest: &[u8; 32],
    (seen_after, begun_after): (OffsetDateTime, OffsetDateTime),
) -> Result<Option<Found>, StoreError> {
    let row = sqlx::query!(
        "SELECT s.account_id, a.email, s.signed_in_at, s.seen_at FROM sessions s JOIN accounts a ON a.id = s.account_id
         WHERE s.digest = $1 AND s.seen_at > $2 AND s.signed_in_at > $3
           AND EXISTS (SELECT FROM members m WHERE m.account_id = s.account_id)",
        digest,
        seen_after,
        begun_after
    );
    let row = row.fetch_optional(tx.conn()).await?;
    let found = row
        .map(|row| (Id::from_uuid(row.account_id), Email::stored(row.email), row.signed_in_at, row.seen_at));
    Ok(found)
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

/// A new session of the account, of which there are `most` afterwards.
pub(super) async fn begin_session(
    tx: &mut PeopleTx,
    digest: &[u8; 32],
    account: AccountId,
    now: OffsetDateTime,
    most: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO sessions (digest, account_id, signed_in_at, seen_at) VALUES ($1, $2, $3, $3)",
        digest,
        account.uuid(),
        now
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        "DELETE FROM sessions WHERE digest IN (
           SELECT digest FROM sessions WHERE account_id = $1 ORDER BY signed_in_at DESC, digest OFFSET $2)",
        account.uuid(),
        most
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

/// Deletes accounts of people who are members of nothing, and have changed nothing since.
pub(super) async fn forget_accounts(tx: &mut PeopleTx, before: OffsetDateTime) -> Result<u64, StoreError> {
    let deleted = sqlx::query!(
        "DELETE FROM accounts a WHERE a.updated_at < $1 AND NOT EXISTS (SELECT FROM members m WHERE m.account_id = a.id)",
        before
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
    /// Whether there is an account under its address.
    pub(super) known: bool,
}

pub(super) async fn invitation(
    tx: &mut PeopleTx,
    digest: &[u8; 32],
    now: OffsetDateTime,
) -> Result<Option<Invited>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT i.tenant_id, i.id, i.email, t.name, t.slug,
             EXISTS (SELECT FROM accounts a WHERE a.email = i.email) AS "known!"
           FROM invitations i JOIN tenants t ON t.id = i.tenant_id
           WHERE i.digest = $1 AND i.expires_at > $2 AND NOT t.suspended"#,
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
        known: row.known,
    }))
}
