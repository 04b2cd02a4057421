//! Tokens of issuers of others (R8), read as RFC 9068 and RFC 8725 want: of an issuer that the endpoint names, by the key that this issuer
//! has under the token's `kid`, by that key's algorithm, for this endpoint, and for as long as the tenant says at most.
//!
//! Whom such a token speaks for, the tenant's rules say: a claim that has exactly a text names a client, others add roles and scopes. A
//! token that no rule is about speaks for nobody. What it claims is kept as for own tokens; what that is worth is asked with each call.

use std::sync::Arc;

use crypto::{
    claims::{Confirmation, Thumbprint},
    jwt::{Kid, Token},
};
use ids::ExternalIssuerId;
use parking_lot::Mutex;
use seams::Timestamp;
use serde_json::{Map, Value};

use super::{Credential, Principal, Still};
use crate::{
    issuers::Found,
    refuse::Refusal,
    snapshot::{
        external::{ExternalIssuerIndex, Fact, Resolved, Said, Unresolved},
        index::{EndpointIndex, TenantIndex},
    },
};

/// Audiences of a token: one that is meant for more is meant for nobody.
const MAX_AUDIENCES: usize = 16;
/// Bytes of its subject, and of any text that a rule may look at.
const MAX_TEXT: usize = 1_024;
/// Texts that are kept of a token.
const MAX_FACTS: usize = 512;
/// Claims that an ID token has and an access token has not: who is signed in is no permission (RFC 9068 section 5).
const OF_ID_TOKENS: [&str; 4] = ["nonce", "at_hash", "c_hash", "s_hash"];

/// What a token said whose signature was good.
#[derive(Debug)]
pub(super) struct Verified {
    issuer: ExternalIssuerId,
    url: Box<str>,
    kid: Kid,
    /// Of the key that signed it.
    mark: [u8; 32],
    audiences: Box<[Box<str>]>,
    subject: Box<str>,
    made: Timestamp,
    begins: Timestamp,
    not_after: Timestamp,
    bound_to: Option<Thumbprint>,
    certificate: Option<Thumbprint>,
    said: Said,
    /// Whom it spoke for by the configuration with this digest.
    resolved: Mutex<Option<([u8; 32], Speaks)>>,
}

/// Whom it speaks for.
type Speaks = Result<Arc<Resolved>, Unresolved>;

impl Verified {
    pub(super) const fn issuer(&self) -> ExternalIssuerId {
        self.issuer
    }

    pub(super) const fn subject(&self) -> &str {
        &self.subject
    }

    pub(super) const fn made(&self) -> Timestamp {
        self.made
    }

    pub(super) const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    pub(super) const fn bound_to(&self) -> Option<Thumbprint> {
        self.bound_to
    }

    pub(super) const fn bound_to_certificate(&self) -> Option<Thumbprint> {
        self.certificate
    }

    /// Whom it speaks for by this configuration, wherever.
    pub(super) fn resolved(&self, tenant: &TenantIndex) -> Speaks {
        let mut kept = self.resolved.lock();
        if let Some((digest, resolved)) = &*kept
            && *digest == tenant.digest
        {
            return resolved.clone();
        }
        let issuer = self.trusted(tenant).ok_or(Unresolved::Refused);
        let resolved = issuer.and_then(|issuer| issuer.resolve(&self.said, tenant)).map(Arc::new);
        *kept = Some((tenant.digest, resolved.clone()));
        resolved
    }

    fn trusted<'t>(&self, tenant: &'t TenantIndex) -> Option<&'t ExternalIssuerIndex> {
        tenant.external.get(&self.issuer).filter(|issuer| issuer.url == self.url).map(AsRef::as_ref)
    }

    /// Whom it speaks for, if it is good for this endpoint now.
    fn holds(&self, tenant: &TenantIndex, endpoint: &EndpointIndex, now: Timestamp) -> Speaks {
        let refused = Err(Unresolved::Refused);
        let Some(issuer) = self.trusted(tenant).filter(|_| endpoint.trusts(self.issuer)) else {
            return refused;
        };
        let meant = self.audiences.iter().any(|audience| {
            if issuer.audiences.is_empty() {
                tenant.named_by(audience) == Some(&*endpoint.slug)
            } else {
                issuer.audiences.contains(audience)
            }
        });
        let begun = self.begins <= now.plus(std::time::Duration::from_secs(issuer.leeway_secs));
        let published = issuer.keys.with(&self.kid, now, |_, mark| *mark == self.mark);
        if !(meant && begun && now < self.not_after && matches!(published, Found::Key(true))) {
            return refused;
        }
        self.resolved(tenant).and_then(|resolved| {
            if resolved.client.enabled { Ok(resolved) } else { Err(Unresolved::Refused) }
        })
    }

    /// As it was resolved before, if it still is so: other roles or scopes are another caller.
    pub(super) fn still(
        &self,
        before: &Resolved,
        tenant: &TenantIndex,
        endpoint: &EndpointIndex,
        now: Timestamp,
    ) -> Option<Still> {
        let resolved = self.holds(tenant, endpoint, now).ok()?;
        let same = resolved.client.id == before.client.id
            && resolved.roles == before.roles
            && resolved.scopes == before.scopes;
        same.then(|| Still {
            client: Arc::clone(&resolved.client),
            member: None,
            not_after: Some(self.not_after),
        })
    }
}

/// The caller, if the token is good.
pub(super) fn principal(
    verified: Arc<Verified>,
    tenant: &TenantIndex,
    endpoint: &EndpointIndex,
    now: Timestamp,
) -> Result<Option<Principal>, Refusal> {
    match verified.holds(tenant, endpoint, now) {
        Ok(resolved) => Ok(Some(Principal {
            client: Arc::clone(&resolved.client),
            member: None,
            not_after: Some(verified.not_after),
            credential: Credential::External(verified, resolved),
        })),
        Err(Unresolved::Refused) => Ok(None),
        Err(Unresolved::NotMapped) => Err(Refusal::CallerNotMapped),
    }
}

/// What the token says, if its signature is that of an issuer whom the endpoint names.
pub(super) fn verify(
    presented: &str,
    tenant: &TenantIndex,
    endpoint: &EndpointIndex,
    now: Timestamp,
) -> Result<Option<Verified>, Refusal> {
    let Ok(token) = Token::parse(presented) else { return Ok(None) };
    let Ok(claims) = token.object() else { return Ok(None) };
    let Some(Value::String(iss)) = claims.get("iss") else { return Ok(None) };
    let named = endpoint.external.iter().filter_map(|id| tenant.external.get(id));
    let Some(issuer) = named.into_iter().find(|issuer| *issuer.url == **iss) else { return Ok(None) };
    // Asked again with each call; here so that no key is looked for in vain.
    if !issuer.signs_by(token.algorithm()) {
        return Ok(None);
    }
    let awaited = |away| Err(Refusal::KeyAwaited { keys: Arc::clone(&issuer.keys), away });
    match issuer.keys.with(token.kid(), now, |key, mark| key.signed(&token).then_some(*mark)) {
        Found::Key(Some(mark)) => Ok(read(&token, &claims, issuer, mark, now)),
        Found::Key(None) => Ok(None),
        Found::Unknown => awaited(false),
        Found::Away => awaited(true),
    }
}

fn read(
    token: &Token<'_>,
    claims: &Map<String, Value>,
    issuer: &ExternalIssuerIndex,
    mark: [u8; 32],
    now: Timestamp,
) -> Option<Verified> {
    if OF_ID_TOKENS.iter().any(|name| claims.contains_key(*name)) {
        return None;
    }
    // Whole seconds; RFC 7519 allows fractions, and nobody needs them.
    let (exp, iat) = (claims.get("exp")?.as_u64()?, claims.get("iat")?.as_u64()?);
    let nbf = match claims.get("nbf") {
        None => 0,
        Some(nbf) => nbf.as_u64()?,
    };
    let subject = claims.get("sub")?.as_str().filter(|sub| (1..=MAX_TEXT).contains(&sub.len()))?;
    let audiences: Box<[Box<str>]> = match claims.get("aud")? {
        Value::String(one) => Box::new([one.as_str().into()]),
        Value::Array(several) if several.len() <= MAX_AUDIENCES => {
            several.iter().map(|one| one.as_str().map(Into::into)).collect::<Option<_>>()?
        }
        _ => return None,
    };
    // What it is bound to in a way that nobody here can check is not bound to nothing.
    let Confirmation { jkt: bound_to, certificate } = match claims.get("cnf") {
        None => Confirmation { jkt: None, certificate: None },
        Some(cnf) => serde_json::from_value(cnf.clone()).ok()?,
    };
    let not_after = Timestamp::from_secs(exp);
    let said = Said {
        algorithm: token.algorithm(),
        typ: token.typ(),
        life_secs: exp.checked_sub(iat)?,
        facts: facts(claims),
    };
    // What is over would take the place of others.
    (now < not_after).then(|| Verified {
        issuer: issuer.id,
        url: issuer.url.clone(),
        kid: *token.kid(),
        mark,
        audiences,
        subject: subject.into(),
        made: Timestamp::from_secs(iat),
        begins: Timestamp::from_secs(iat.max(nbf)),
        not_after,
        bound_to,
        certificate,
        said,
        resolved: Mutex::default(),
    })
}

/// Claims that are texts or lists of these; scopes one by one.
fn facts(claims: &Map<String, Value>) -> Box<[Fact]> {
    let mut facts: Vec<Fact> = Vec::new();
    let mut add = |name: &str, value: &str| {
        if facts.len() < MAX_FACTS && name.len() <= MAX_TEXT && value.len() <= MAX_TEXT {
            facts.push((name.into(), value.into()));
        }
    };
    for (name, value) in claims {
        match value {
            Value::String(scopes) if matches!(name.as_str(), "scope" | "scp") => {
                scopes.split(' ').filter(|scope| !scope.is_empty()).for_each(|scope| add(name, scope));
            }
            Value::String(text) => add(name, text),
            Value::Array(several) => {
                several.iter().filter_map(Value::as_str).for_each(|text| add(name, text))
            }
            _ => {}
        }
    }
    facts.sort_unstable();
    facts.into()
}
