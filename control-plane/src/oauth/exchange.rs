//! The grant `urn:ietf:params:oauth:grant-type:token-exchange` (RFC 8693): a token of this issuer for another endpoint of the tenant.
//!
//! Only for clients of which an administrator has said so: for tokens of their own, or for members' tokens that were given to other
//! clients too. The new token can do no more than the old one: it is for the same subject, has no scope that the old one lacks, and ends
//! no later. Where another client's is exchanged, it says who acts now and who acted before, up to a bound.

mod queries;

use std::time::Duration;

use crypto::claims::{Actor, Claims, MAX_ACTORS, Subject};
use ids::Scopes;
use seams::Timestamp;

pub use self::queries::Subjects;
pub(crate) use self::queries::{allow, allowed, disallow};
use super::{
    access_token::{self, Asked, Issued},
    audience,
    client::{Client, Origin},
    error::OAuthError,
    form::Form,
    issuer::Issuer,
    log, queries as tokens,
};
use crate::app::Core;

/// The grant, as in requests and in the metadata.
pub(super) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// What is exchanged, and for what.
pub(super) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// A token that ends before that is not worth exchanging.
const SHORTEST: Duration = Duration::from_secs(1);

/// The token, when its record is committed.
pub(super) async fn issue(
    core: &Core,
    issuer: &Issuer,
    (client, origin): (&Client, &Origin),
    form: &Form,
) -> Result<Issued, OAuthError> {
    let text = form.need("subject_token")?;
    if form.need("subject_token_type")? != ACCESS_TOKEN
        || form.get("requested_token_type").is_some_and(|kind| kind != ACCESS_TOKEN)
    {
        return Err(OAuthError::Request(
            "access tokens are exchanged for access tokens, and nothing else is",
        ));
    }
    // Who acts is the client, which has said who it is.
    if form.get("actor_token").is_some() || form.get("actor_token_type").is_some() {
        return Err(OAuthError::Request("`actor_token` is not taken: the client itself is who acts"));
    }
    if form.get("audience").is_some() {
        return Err(OAuthError::Target("name the endpoint with `resource`, not with `audience`"));
    }
    let mut tx = core.store.tenant(issuer.tenant).await?;
    let made = client.still(&mut tx, core).await?;
    let subjects = queries::allowed(&mut tx, client.id).await?.ok_or(OAuthError::NotForThisClient)?;
    let read = access_token::read(&mut tx, core, issuer, text).await?;
    let subject =
        read.ok_or(OAuthError::Assertion("the subject token is none of this issuer's, or has ended"))?;
    let own = subject.client_id == client.id;
    // What was given to a client for itself is nobody else's to use.
    if !own && (subjects == Subjects::Own || subject.member().is_none()) {
        return Err(OAuthError::NotForThisClient);
    }
    if tokens::is_revoked(&mut tx, &subject).await?
        || core.kills.stop_client(issuer.tenant, subject.client_id)
    {
        return Err(OAuthError::Assertion("the subject token was revoked"));
    }
    if subject.cnf.is_some() {
        return Err(OAuthError::Assertion("the subject token is bound to a key, which nobody has shown"));
    }
    let audience = audience::choose(&mut tx, core, issuer, client.id, form.get("resource")).await?;
    let asked = Asked {
        subject: of(&subject, client),
        client: client.id,
        made,
        lifetime: lifetime(&subject, client, core.clock.now())?,
        audience,
        scopes: narrowed(&subject.scope, form.get("scope"))?,
        confirmation: client.confirmation,
        auth_time: subject.auth_time,
        actor: actor(&subject, client)?,
    };
    let issued = access_token::issue(&mut tx, core, issuer, asked).await?;
    let what = format!("{} {} for {} by {}", issued.id(), issued.claims.aud, subject.jti, client.by);
    log::done(tx, core, (client, origin), "issue_token", what).await?;
    Ok(issued)
}

/// Whose it was.
const fn of(subject: &Claims, client: &Client) -> Subject {
    match subject.sub {
        Subject::Client(_) => Subject::Client(client.id),
        member @ Subject::Member(_) => member,
    }
}

/// What is left of it, and no more than the client's tokens live.
fn lifetime(subject: &Claims, client: &Client, now: Timestamp) -> Result<Duration, OAuthError> {
    let left = Duration::from_secs(subject.exp.saturating_sub(now.secs()));
    if left < SHORTEST {
        return Err(OAuthError::Assertion("the subject token has ended"));
    }
    Ok(left.min(client.lifetime))
}

/// Those that were asked for, if it had them all; without a word, all that it had.
fn narrowed(had: &Scopes, asked: Option<&str>) -> Result<Scopes, OAuthError> {
    let Some(asked) = asked else { return Ok(had.clone()) };
    let asked: Scopes = asked.parse().map_err(|_| OAuthError::Scope)?;
    if asked.iter().all(|scope| had.has(scope.as_str())) { Ok(asked) } else { Err(OAuthError::Scope) }
}

/// Who acts: nobody new where the client exchanges its own.
fn actor(subject: &Claims, client: &Client) -> Result<Option<Actor>, OAuthError> {
    if subject.client_id == client.id {
        return Ok(subject.act.clone());
    }
    let before = match &subject.act {
        Some(before) => before.clone(),
        None => Actor { sub: Subject::Client(subject.client_id), act: None },
    };
    let actor = Actor { sub: Subject::Client(client.id), act: Some(Box::new(before)) };
    if actor.depth() > MAX_ACTORS {
        return Err(OAuthError::Assertion("too many act for each other already"));
    }
    Ok(Some(actor))
}

#[cfg(test)]
mod tests;
