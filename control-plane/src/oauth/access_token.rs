//! Access tokens (RFC 9068): made for clients, and read again where somebody asks about one.

use std::time::Duration;

use crypto::jwt::{Token, Typ};
use ids::{ClientId, SigningKeyId, TokenId};
use seams::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    client::Client,
    error::OAuthError,
    issuer::Issuer,
    keys::{self, LONGEST_LIFE, State},
};
use crate::{
    app::Core,
    db::{StoreError, TenantTx},
};

const TYPE: &str = "at+jwt";

/// What a token claims.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) sub: ClientId,
    pub(super) client_id: ClientId,
    pub(super) aud: String,
    pub(super) iat: u64,
    pub(super) exp: u64,
    pub(super) jti: TokenId,
    /// Separated by spaces; absent where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) scope: String,
}

/// A token just made.
pub(super) struct Issued {
    pub(super) token: String,
    pub(super) id: TokenId,
    pub(super) lifetime: Duration,
}

/// A token for the client, signed with the tenant's present key. `made` is what its id says.
pub(super) async fn issue(
    tx: &mut TenantTx,
    core: &Core,
    issuer: &Issuer,
    (client, made): (&Client, Timestamp),
    audience: &str,
) -> Result<Issued, OAuthError> {
    // It is made with the client's first secret.
    let (kid, key) = keys::signer(tx, core).await?.ok_or(OAuthError::internal("no key signs"))?;
    let (now, lifetime) = (core.clock.now(), client.lifetime.min(LONGEST_LIFE));
    let iat = now.micros() / 1_000_000;
    let claims = Claims {
        iss: issuer.url.clone(),
        sub: client.id,
        client_id: client.id,
        aud: audience.to_owned(),
        iat,
        exp: iat + lifetime.as_secs(),
        jti: TokenId::from_parts(made.millis(), core.entropy.bytes()),
        scope: String::new(),
    };
    let token = key.sign(&kid.to_string(), TYPE, &claims).map_err(OAuthError::internal)?;
    Ok(Issued { token, id: claims.jti, lifetime })
}

/// What a token claims that this issuer has made and that has not ended; `None` for everything else. Whether it was revoked is not
/// looked at.
pub(super) async fn read(
    tx: &mut TenantTx,
    core: &Core,
    issuer: &Issuer,
    text: &str,
) -> Result<Option<Claims>, StoreError> {
    let now = core.clock.now();
    let Ok(token) = Token::parse(text) else { return Ok(None) };
    let kid: Option<SigningKeyId> = token.kid().as_str().parse().ok();
    let Some(kid) = kid.filter(|_| token.typ() == Typ::AccessToken) else { return Ok(None) };
    let all = keys::all(tx).await?;
    let key = all.iter().find(|key| key.id == kid && key.state(&all, now) != State::Retired);
    if !key.is_some_and(|key| key.public.signed(&token)) {
        return Ok(None);
    }
    let claims: Option<Claims> = token.claims().ok();
    Ok(claims.filter(|claims| claims.iss == issuer.url && Timestamp::from_secs(claims.exp) > now))
}
