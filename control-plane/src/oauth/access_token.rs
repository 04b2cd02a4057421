//! Access tokens (RFC 9068): made for clients, and read again where somebody asks about one.

use std::time::Duration;

use crypto::{
    claims::{Actor, Claims, Confirmation, Subject},
    jwt::{Token, Typ},
};
use ids::{ClientId, Scopes, SigningKeyId, TokenId};
use seams::Timestamp;

use super::{
    error::OAuthError,
    issuer::Issuer,
    keys::{self, LONGEST_LIFE, State},
};
use crate::{
    app::Core,
    db::{StoreError, TenantTx},
};

const TYPE: &str = "at+jwt";

/// What a grant asks a token for: whatever of the claims is not the issuer's to say.
pub(super) struct Asked {
    /// Whose it is.
    pub(super) subject: Subject,
    /// Who is given it.
    pub(super) client: ClientId,
    /// What its id says of when it was made.
    pub(super) made: Timestamp,
    /// How long it lives: as the client has it, and [`LONGEST_LIFE`] at most.
    pub(super) lifetime: Duration,
    /// The endpoint that it is for.
    pub(super) audience: String,
    /// What it may be used for.
    pub(super) scopes: Scopes,
    /// To what it is bound.
    pub(super) confirmation: Option<Confirmation>,
    /// When the member signed in, in seconds since the epoch.
    pub(super) auth_time: Option<u64>,
    /// Who acts for the subject.
    pub(super) actor: Option<Actor>,
}

/// A token just made.
pub(super) struct Issued {
    pub(super) token: String,
    pub(super) claims: Claims,
}

impl Issued {
    /// Its id.
    pub(super) const fn id(&self) -> TokenId {
        self.claims.jti
    }

    /// For how long it is good.
    pub(super) const fn lifetime(&self) -> Duration {
        Duration::from_secs(self.claims.exp - self.claims.iat)
    }
}

/// A token, signed with the tenant's present key.
pub(super) async fn issue(
    tx: &mut TenantTx,
    core: &Core,
    issuer: &Issuer,
    asked: Asked,
) -> Result<Issued, OAuthError> {
    if let Subject::Member(member) = asked.subject
        && core.kills.stop_member(tx.tenant(), member)
    {
        return Err(OAuthError::Killed);
    }
    // It is made with the client's first secret.
    let (kid, key) = keys::signer(tx, core).await?.ok_or(OAuthError::internal("no key signs"))?;
    let (now, lifetime) = (core.clock.now(), asked.lifetime.min(LONGEST_LIFE));
    let iat = now.micros() / 1_000_000;
    let claims = Claims {
        iss: issuer.url.clone(),
        sub: asked.subject,
        client_id: asked.client,
        aud: asked.audience,
        iat,
        exp: iat + lifetime.as_secs(),
        nbf: None,
        jti: TokenId::from_parts(asked.made.millis(), core.entropy.bytes()),
        scope: asked.scopes,
        cnf: asked.confirmation,
        auth_time: asked.auth_time,
        act: asked.actor,
    };
    let token = key.sign(&kid.to_string(), TYPE, &claims).map_err(OAuthError::internal)?;
    Ok(Issued { token, claims })
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
