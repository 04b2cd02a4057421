//! Families: what came of one code, that is of one time a member has agreed. A family ends as a whole: its refresh tokens are good no
//! more, and its access tokens are revoked everywhere within the kill switch's bound.
//!
//! Rows are held in one order, so that nobody waits for whom he holds up: the member, the consent, the family.

pub(crate) mod queries;

use std::time::Duration;

use crypto::claims::Subject;
use ids::{AuthorizationId, ClientId, ConsentId, MemberId, Scopes};
use seams::Timestamp;
use wire::kill::Credential;

use self::queries::Which;
use super::{
    access_token::{self, Asked, Issued},
    client::Client,
    error::OAuthError,
    issuer::Issuer,
    keys::LONGEST_LIFE,
    revoke,
};
use crate::{
    app::Core,
    db::{StoreError, TenantTx},
};

/// After so long the member has to agree again, whatever was refreshed.
const LONGEST: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Families of one member with one client; the oldest ends for the next.
const MOST: i64 = 16;

/// A family.
#[derive(Debug, Clone)]
pub(crate) struct Family {
    pub(crate) id: AuthorizationId,
    pub(crate) member: MemberId,
    pub(crate) client: ClientId,
    pub(crate) resource: String,
    pub(crate) scopes: Scopes,
    /// When the member typed the password.
    pub(crate) signed_in_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

/// When a family ends that begins now.
pub(super) fn end_of(now: Timestamp) -> Timestamp {
    now.plus(LONGEST)
}

/// Begins a family. What ends for it is to be revoked.
pub(super) async fn begin(
    tx: &mut TenantTx,
    family: &Family,
    now: Timestamp,
) -> Result<Vec<Credential>, StoreError> {
    let old = queries::beyond(tx, (family.member, family.client), MOST - 1).await?;
    let mut dead = Vec::new();
    for id in old {
        dead.extend(end(tx, Which::One(id), now).await?);
    }
    queries::insert(tx, family, now.to_offset()).await?;
    Ok(dead)
}

/// Whether the member may sign in still and agrees still; holds both so.
pub(super) async fn is_wanted(tx: &mut TenantTx, family: &Family) -> Result<bool, StoreError> {
    if !queries::hold_member(tx, family.member).await? {
        return Ok(false);
    }
    let agreed = queries::hold_consent(tx, family).await?;
    Ok(agreed.is_some_and(|agreed| family.scopes.iter().all(|scope| agreed.has(scope.as_str()))))
}

/// An access token of the family with these scopes.
pub(super) async fn issue(
    tx: &mut TenantTx,
    core: &Core,
    issuer: &Issuer,
    (client, made): (&Client, Timestamp),
    (family, scopes): (&Family, Scopes),
) -> Result<Issued, OAuthError> {
    let left = family.expires_at.since(core.clock.now());
    let asked = Asked {
        subject: Subject::Member(family.member),
        client: client.id,
        made,
        lifetime: client.lifetime.min(LONGEST_LIFE).min(left),
        audience: family.resource.clone(),
        scopes,
        confirmation: client.confirmation,
        auth_time: Some(family.signed_in_at.micros() / 1_000_000),
        actor: None,
    };
    let issued = access_token::issue(tx, core, issuer, asked).await?;
    let expires_at = Timestamp::from_secs(issued.claims.exp).to_offset();
    queries::note_token(tx, family.id, (issued.id(), expires_at), core.clock.now().to_offset()).await?;
    Ok(issued)
}

/// Ends families. What is to be revoked for it, in the same transaction.
pub(crate) async fn end(
    tx: &mut TenantTx,
    which: Which,
    now: Timestamp,
) -> Result<Vec<Credential>, StoreError> {
    let tenant = tx.tenant();
    let (between, tokens) = queries::end(tx, which, now.to_offset()).await?;
    let revoked = super::queries::revoked_tokens(tx, now).await?;
    let room = usize::try_from(revoke::MOST - revoked).unwrap_or_default();
    if tokens.len() > room {
        // Proxies are not told of so many one by one: what the client was given for the member besides ends with them.
        let all = |(member, client)| Credential::TokensOfMemberBy(tenant, member, client);
        return Ok(between.into_iter().map(all).collect());
    }
    Ok(tokens.into_iter().map(|token| Credential::Token(tenant, token)).collect())
}

/// Ends all that a member lets clients do. What is to be revoked for it, in the same transaction.
pub(crate) async fn end_of_member(
    tx: &mut TenantTx,
    member: MemberId,
    now: Timestamp,
) -> Result<Credential, StoreError> {
    queries::delete_codes(tx, member).await?;
    queries::end(tx, Which::OfMember(member), now.to_offset()).await?;
    Ok(Credential::TokensOfMember(tx.tenant(), member))
}

/// Withdraws a consent. The client's access tokens for the member end, whatever they were for and however it was given them: what it still
/// may it can refresh. What is to be revoked for it, in the same transaction; `None`: there is no such consent, or not of this member.
pub(crate) async fn withdraw(
    tx: &mut TenantTx,
    consent: ConsentId,
    member: Option<MemberId>,
    now: Timestamp,
) -> Result<Option<Credential>, StoreError> {
    let Some((member, client, resource)) = queries::delete_consent(tx, consent, member).await? else {
        return Ok(None);
    };
    queries::end(tx, Which::OfConsent(member, client, resource), now.to_offset()).await?;
    Ok(Some(Credential::TokensOfMemberBy(tx.tenant(), member, client)))
}
