//! `private_key_jwt` (RFC 7523 section 3): what a client signs to say who it is, good once and for five minutes at most.

use std::time::Duration;

use crypto::{
    digest,
    jwt::{Token, Typ},
};
use ids::ClientId;
use seams::Timestamp;
use serde::Deserialize;

use super::{Found, Shown, queries};
use crate::{
    app::Core,
    db::StoreError,
    oauth::{error::OAuthError, issuer::Issuer},
};

/// How far ahead it may end, and how far clocks may differ.
const LONGEST: Duration = Duration::from_secs(5 * 60);
const SKEW: Duration = Duration::from_secs(30);
/// Characters of a `jti`.
const MAX_ID: usize = 256;
/// Assertions of one client that are remembered: more than it can send while they are good, at every replica together.
const MOST: i64 = 20_000;

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: u64,
    jti: String,
    #[serde(default)]
    nbf: u64,
    #[serde(default)]
    iat: u64,
}

/// One: what is meant for several could be sent on by one of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    Text(String),
    List([String; 1]),
}

/// What is stored of the client, if it has signed the assertion, and for this issuer, now and once.
pub(super) async fn verify(
    core: &Core,
    issuer: &Issuer,
    (client, text): (Option<ClientId>, &str),
    assertion: &str,
) -> Result<Option<Found>, OAuthError> {
    let now = core.clock.now();
    let Ok(token) = Token::parse(assertion) else { return Ok(None) };
    let of_its_kind = matches!(token.typ(), Typ::Jwt | Typ::ClientAuthentication);
    let Some(client) = client.filter(|_| of_its_kind) else { return Ok(None) };
    let Ok(claims) = token.claims::<Claims>() else { return Ok(None) };
    if !claims.are_for(issuer, text, now) {
        return Ok(None);
    }
    let mut tx = core.store.tenant(issuer.tenant).await?;
    let keys = queries::keys(&mut tx, client, now.to_offset()).await?;
    let kid = token.kid().as_str();
    let mut candidates = keys.into_iter().filter(|key| kid.is_empty() || key.kid == kid);
    let Some(key) = candidates.find(|key| key.public.signed(&token)) else { return Ok(None) };
    // Only what the client has signed is noted: nobody else fills the table.
    let id = digest::sha256(claims.jti.as_bytes());
    // For as long as it could be good on a clock that is slow.
    let expires = Timestamp::from_secs(claims.exp).plus(SKEW);
    let times = (now.to_offset(), expires.to_offset());
    if !queries::use_assertion(&mut tx, client, &id, times, MOST).await? {
        return Ok(None);
    }
    tx.commit_unpublished().await?;
    Ok(Some(Found {
        enabled: key.enabled,
        suspended: key.suspended,
        lifetime: key.lifetime,
        by: Shown::Key(key.id),
    }))
}

impl Claims {
    /// `own`: how the client is called, exactly.
    fn are_for(&self, issuer: &Issuer, own: &str, now: Timestamp) -> bool {
        let (Audience::Text(audience) | Audience::List([audience])) = &self.aud;
        let here = *audience == issuer.url || *audience == issuer.token_endpoint();
        let soon = Timestamp::from_secs(self.exp) <= now.plus(LONGEST).plus(SKEW);
        let begun = Timestamp::from_secs(self.nbf.max(self.iat)) <= now.plus(SKEW);
        let named = (1..=MAX_ID).contains(&self.jti.len());
        self.iss == own
            && self.sub == own
            && here
            && soon
            && begun
            && Timestamp::from_secs(self.exp) > now
            && named
    }
}

/// Forgets assertions that have expired, of clients that send no more.
///
/// # Errors
/// [`StoreError`].
pub async fn forget(core: &Core) -> Result<(), StoreError> {
    let mut tx = core.store.operator().await?;
    let forgotten = queries::forget_assertions(&mut tx, core.clock.now().to_offset()).await?;
    tx.commit().await?;
    tracing::debug!(forgotten, "assertions of the past deleted");
    Ok(())
}
