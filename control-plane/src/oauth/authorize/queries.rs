//! What the authorization endpoint reads of clients and members, and `consents` and `authorization_codes` as it writes them.

use std::time::Duration;

use ids::{ClientId, ConsentId, Id, MemberId, Scopes};
use seams::Timestamp;
use time::OffsetDateTime;

use super::request::Asked;
use crate::{
    db::{OperatorTx, StoreError, TenantTx, Unreadable},
    people::session::Session,
};

/// How long a code is good.
const GOOD_FOR: Duration = Duration::from_secs(60);

/// Scopes as stored.
pub(crate) fn read_scopes(stored: &[String]) -> Result<Scopes, StoreError> {
    stored.join(" ").parse().map_err(|_| Unreadable("scopes").into())
}

/// Scopes to be stored.
pub(crate) fn write_scopes(scopes: &Scopes) -> Vec<String> {
    scopes.iter().map(|scope| scope.as_str().to_owned()).collect()
}

/// Whether the tenant is not suspended.
pub(super) async fn is_open(tx: &mut TenantTx) -> Result<bool, StoreError> {
    let found = sqlx::query_scalar!("SELECT suspended FROM tenants WHERE id = $1", tx.tenant().uuid());
    Ok(!found.fetch_one(tx.conn()).await?)
}

/// Who has signed in is in the transaction's tenant, if they may in this way: what another tenant's provider says opens nothing here, and
/// nor does a password where the tenant lets people of these addresses come by its provider alone.
pub(crate) async fn member(tx: &mut TenantTx, session: &Session) -> Result<Option<MemberId>, StoreError> {
    let own = session.only == Some(tx.tenant());
    if session.only.is_some() && !own {
        return Ok(None);
    }
    let tenant = tx.tenant().uuid();
    let found = sqlx::query_scalar!(
        "SELECT id FROM members m WHERE tenant_id = $1 AND account_id = $2 AND enabled AND ($3 OR NOT EXISTS (
           SELECT FROM sign_in_providers p WHERE p.tenant_id = $1 AND p.enabled AND NOT p.passwords
             AND split_part(m.email, '@', 2) = ANY (p.email_domains)))",
        tenant,
        session.account.uuid(),
        own
    );
    Ok(found.fetch_optional(tx.conn()).await?.map(Id::from_uuid))
}

/// To which scopes the member has agreed for the client at the endpoint; `None`: to nothing.
pub(super) async fn agreed(
    tx: &mut TenantTx,
    member: MemberId,
    client: ClientId,
    resource: &str,
) -> Result<Option<Scopes>, StoreError> {
    let tenant = tx.tenant().uuid();
    let found = sqlx::query_scalar!(
        "SELECT scopes FROM consents WHERE tenant_id = $1 AND member_id = $2 AND client_id = $3 AND resource = $4",
        tenant,
        member.uuid(),
        client.uuid(),
        resource
    );
    found.fetch_optional(tx.conn()).await?.as_deref().map(read_scopes).transpose()
}

/// The member agrees, to what was agreed before as well.
pub(super) async fn agree(
    tx: &mut TenantTx,
    id: ConsentId,
    member: MemberId,
    asked: &Asked,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let before = agreed(tx, member, asked.client.id, &asked.resource).await?.unwrap_or_default();
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO consents (tenant_id, id, member_id, client_id, resource, scopes, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
         ON CONFLICT (tenant_id, member_id, client_id, resource) DO UPDATE SET scopes = $6, updated_at = $7",
        tenant,
        id.uuid(),
        member.uuid(),
        asked.client.id.uuid(),
        asked.resource,
        &write_scopes(&before.with(&asked.scopes)),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Stores a code by its digest, and forgets those of the member that nobody has used in time.
pub(super) async fn insert_code(
    tx: &mut TenantTx,
    digest: &[u8; 32],
    (member, session): (MemberId, &Session),
    asked: &Asked,
    now: Timestamp,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "DELETE FROM authorization_codes
         WHERE tenant_id = $1 AND member_id = $2 AND authorization_id IS NULL AND expires_at <= $3",
        tenant,
        member.uuid(),
        now.to_offset()
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        "INSERT INTO authorization_codes (tenant_id, digest, member_id, client_id, session, redirect_uri, challenge, resource,
           scopes, signed_in_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        tenant,
        digest,
        member.uuid(),
        asked.client.id.uuid(),
        &session.value.digest(),
        asked.redirect_uri,
        asked.challenge,
        asked.resource,
        &write_scopes(&asked.scopes),
        session.signed_in_at.to_offset(),
        now.plus(GOOD_FOR).to_offset()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Deletes codes that nobody used, tokens, and families, that have ended.
pub(super) async fn forget(tx: &mut OperatorTx, now: OffsetDateTime) -> Result<u64, StoreError> {
    let codes = sqlx::query!(
        "DELETE FROM authorization_codes WHERE expires_at <= $1 AND authorization_id IS NULL",
        now
    );
    let codes = codes.execute(tx.conn()).await?.rows_affected();
    let access = sqlx::query!("DELETE FROM authorization_tokens WHERE expires_at <= $1", now);
    let access = access.execute(tx.conn()).await?.rows_affected();
    let refresh = sqlx::query!("DELETE FROM refresh_tokens WHERE expires_at <= $1", now);
    let refresh = refresh.execute(tx.conn()).await?.rows_affected();
    let families = sqlx::query!("DELETE FROM authorizations WHERE expires_at <= $1", now);
    Ok(codes + access + refresh + families.execute(tx.conn()).await?.rows_affected())
}
