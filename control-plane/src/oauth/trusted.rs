//! Assertions of issuers that the tenant trusts, as grants (RFC 7523 section 2.1): what was signed, by whom, for whom, until when, and
//! whether it was here before. What one is good for is decided by whoever asks.

pub mod id_jag;
mod queries;
pub mod workload;

use std::time::Duration;

use crypto::{
    digest,
    jwt::{Kid, PublicKey, Token, usable},
};
use ids::TrustedIssuerId;
use seams::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use super::{error::OAuthError, issuer::Issuer, registration::egress};
use crate::{
    app::Core,
    db::{StoreError, TenantTx},
    fetch::{Kind, Wanted},
    resources::trusted_issuers::{
        queries as issuers,
        types::{TrustedIssuer, TrustedPurpose},
    },
};

/// How far clocks may differ.
const SKEW: Duration = Duration::from_secs(30);
/// Characters of a `jti`, and of a `sub`.
const MAX_ID: usize = 256;
const MAX_SUBJECT: usize = 1_024;
/// Assertions of one issuer that are remembered.
const MOST: i64 = 50_000;
/// A key that is missing in what is kept is looked for again after so long.
const ANEW: Duration = Duration::from_secs(60);

/// What such an assertion says. Whole numbers are times; anything else is none (RFC 7519 allows fractions; nobody needs them).
#[derive(Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) sub: String,
    aud: Audience,
    exp: u64,
    #[serde(default)]
    iat: Option<u64>,
    #[serde(default)]
    nbf: Option<u64>,
    #[serde(default)]
    jti: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub(super) more: Map<String, Value>,
}

/// One: what is meant for several could be sent on by one of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    Text(String),
    List([String; 1]),
}

/// An assertion that was signed by whom it names, for this issuer, now.
pub(super) struct Verified {
    pub(super) by: TrustedIssuer,
    pub(super) claims: Claims,
}

#[derive(Deserialize)]
struct Named {
    iss: String,
}

/// Why an assertion is not taken. To whoever could not have made it no more is said than that.
const UNKNOWN: OAuthError = OAuthError::Assertion("it is not signed by an issuer that is trusted for this");

/// Checks an assertion. Nothing is noted of it yet.
pub(super) async fn verify(
    core: &Core,
    issuer: &Issuer,
    token: &Token<'_>,
    purpose: TrustedPurpose,
) -> Result<Verified, OAuthError> {
    let Ok(Named { iss }) = token.claims() else { return Err(UNKNOWN) };
    let (by, rules) = {
        let mut tx = core.store.tenant(issuer.tenant).await?;
        let by = issuers::trusted(&mut tx, &iss, purpose).await?.ok_or(UNKNOWN)?;
        (by, egress(&mut tx).await?)
    };
    // The algorithm is the key's, and one that the tenant allows.
    let signed = |keys: &[(Kid, PublicKey)]| {
        let named = |kid: &Kid| token.kid().as_str().is_empty() || kid == token.kid();
        keys.iter().any(|(kid, key)| named(kid) && by.settings.signs_by(key.algorithm()) && key.signed(token))
    };
    let good = match (&by.settings.jwks, &by.settings.jwks_uri) {
        (Some(set), _) => set.read().is_ok_and(|keys| signed(&keys)),
        (None, Some(uri)) => {
            let url = Url::parse(uri).map_err(|_| StoreError::unreadable("key set URL"))?;
            let kept = fetched(core, issuer, (&rules, &url), None).await?;
            let missing = kept.iter().all(|(kid, _)| kid != token.kid());
            // One that is not there may be new; that is looked for once a minute, whoever asks.
            signed(&kept) || (missing && signed(&fetched(core, issuer, (&rules, &url), Some(ANEW)).await?))
        }
        (None, None) => false,
    };
    if !good {
        return Err(UNKNOWN);
    }
    let claims: Claims = token.claims().map_err(|_| {
        OAuthError::Assertion("it lacks `sub`, `aud` or `exp`, or one is no text or whole number")
    })?;
    claims.check(issuer, &by, core.clock.now())?;
    Ok(Verified { by, claims })
}

async fn fetched(
    core: &Core,
    issuer: &Issuer,
    (rules, url): (&egress::Rules, &Url),
    anew_after: Option<Duration>,
) -> Result<Vec<(Kid, PublicKey)>, OAuthError> {
    let wanted = Wanted { tenant: issuer.tenant, rules, kind: Kind::IssuerKeys, url, anew_after };
    match core.fetcher.get(wanted).await {
        Ok(document) => Ok(usable(&document.body)),
        // Who cannot be asked has not signed it, as far as is known; the code says that repeating may help.
        Err(_) => Err(OAuthError::KeysUnavailable),
    }
}

impl Claims {
    fn check(&self, issuer: &Issuer, by: &TrustedIssuer, now: Timestamp) -> Result<(), OAuthError> {
        let wrong = |why| Err(OAuthError::Assertion(why));
        let settings = &by.settings;
        let (Audience::Text(audience) | Audience::List([audience])) = &self.aud;
        let here = match (settings.purpose, &settings.audience) {
            (TrustedPurpose::IdJag, _) => *audience == issuer.url,
            (TrustedPurpose::Workload, Some(own)) => audience == own,
            (TrustedPurpose::Workload, None) => {
                *audience == issuer.url || *audience == issuer.token_endpoint()
            }
        };
        if !here {
            return wrong("its `aud` is not this issuer");
        }
        let longest = Duration::from_secs(settings.max_lifetime_seconds.into());
        let end = Timestamp::from_secs(self.exp);
        if end <= now {
            return wrong("it has ended");
        }
        if end > now.plus(longest).plus(SKEW) {
            return wrong("it ends later than this issuer's may");
        }
        let begun = |at: Option<u64>| at.is_none_or(|at| Timestamp::from_secs(at) <= now.plus(SKEW));
        if !begun(self.nbf) || !begun(self.iat) {
            return wrong("it is from the future");
        }
        if settings.purpose == TrustedPurpose::IdJag && self.iat.is_none() {
            return wrong("it lacks `iat`");
        }
        if !(1..=MAX_SUBJECT).contains(&self.sub.len()) {
            return wrong("its `sub` is empty or too long");
        }
        match &self.jti {
            Some(jti) if !(1..=MAX_ID).contains(&jti.len()) => wrong("its `jti` is empty or too long"),
            None if settings.single_use => wrong("it lacks `jti`"),
            _ => Ok(()),
        }
    }

    /// Whether a claim is this text.
    pub(super) fn is(&self, name: &str, value: &str) -> bool {
        self.text(name) == Some(value)
    }

    /// A claim that is a text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match name {
            "iss" => Some(&self.iss),
            "sub" => Some(&self.sub),
            _ => self.more.get(name).and_then(Value::as_str),
        }
    }
}

impl Verified {
    /// Which issuer has signed it.
    pub(super) const fn id(&self) -> TrustedIssuerId {
        self.by.id
    }

    /// Notes that it was here. Only what a trusted issuer has signed is noted: nobody else fills the table.
    ///
    /// # Errors
    /// [`OAuthError::Assertion`] if it was here before, and is good once.
    pub(super) async fn note(&self, tx: &mut TenantTx, core: &Core) -> Result<(), OAuthError> {
        let Some(jti) = self.claims.jti.as_ref().filter(|_| self.by.settings.single_use) else {
            return Ok(());
        };
        let id = digest::sha256(jti.as_bytes());
        // For as long as it could be good on a clock that is slow.
        let expires = Timestamp::from_secs(self.claims.exp).plus(SKEW);
        let times = (core.clock.now().to_offset(), expires.to_offset());
        if !queries::note(tx, self.by.id, &id, times, MOST).await? {
            return Err(OAuthError::Assertion("it was presented before"));
        }
        Ok(())
    }
}

/// Forgets assertions that have expired.
///
/// # Errors
/// [`StoreError`].
pub async fn forget(core: &Core) -> Result<(), StoreError> {
    let mut tx = core.store.operator().await?;
    let forgotten = queries::forget(&mut tx, core.clock.now().to_offset()).await?;
    tx.commit().await?;
    tracing::debug!(forgotten, "trusted issuers' assertions of the past deleted");
    Ok(())
}
