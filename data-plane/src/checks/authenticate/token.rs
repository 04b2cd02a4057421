//! Access tokens of the tenant's own issuer (RFC 9068), checked as RFC 8725 wants: by the key that the configuration has under the
//! token's `kid`, by that key's algorithm, for this issuer and this endpoint, and for an hour at most.
//!
//! What a token claims is kept, per worker, once its signature was found good, so that the signature is checked once and not with
//! each call. What it is worth is asked anew each time: whether the issuer is still called so, its key published, its client and its member switched
//! on, the time not over and the endpoint meant.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
    time::Duration,
};

use crypto::{
    Holder,
    claims::{Claims, Confirmation, Thumbprint},
    digest::sha256,
    jwt::{Token, Typ},
};
#[cfg(test)]
use ids::ClientId;
use ids::{Scopes, SigningKeyId, TenantId, TokenId};
use seams::Timestamp;

use super::{Credential, Principal, Still, external};
use crate::{
    refuse::Refusal,
    snapshot::index::{EndpointIndex, Map, TenantIndex},
};

/// How far the issuer's clock may be ahead of this one.
const SKEW: Duration = Duration::from_secs(60);
/// The longest that a token may live.
const LONGEST_LIFE: u64 = 60 * 60;
/// Tokens of one tenant that a worker keeps: beyond it, its own are forgotten and checked again.
const KEPT_PER_TENANT: usize = 2 * 1024;
/// Of all tenants: beyond it, those of the tenant that has most are.
const KEPT: usize = 32 * 1024;

/// What a token said whose signature was good.
#[derive(Debug)]
pub(super) struct Verified {
    id: TokenId,
    holder: Holder,
    issuer: Box<str>,
    signed_by: SigningKeyId,
    audience: Box<str>,
    scopes: Scopes,
    bound_to: Option<Thumbprint>,
    certificate: Option<Thumbprint>,
    not_after: Timestamp,
}

impl Verified {
    pub(super) const fn id(&self) -> TokenId {
        self.id
    }

    /// The key that whoever shows it has to have.
    pub(super) const fn bound_to(&self) -> Option<Thumbprint> {
        self.bound_to
    }

    /// The certificate that whoever shows it has to show, too.
    pub(super) const fn bound_to_certificate(&self) -> Option<Thumbprint> {
        self.certificate
    }

    pub(super) const fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// Whose it is by this configuration, if it is good for this endpoint now, and when it ends.
    pub(super) fn holds(
        &self,
        tenant: &TenantIndex,
        endpoint: &EndpointIndex,
        now: Timestamp,
    ) -> Option<Still> {
        let issuer = tenant.issuer.as_ref().filter(|issuer| issuer.url == self.issuer)?;
        let (_, key_ends) = issuer.key(self.signed_by, now)?;
        let not_after = key_ends.map_or(self.not_after, |end| end.min(self.not_after));
        let meant = tenant.named_by(&self.audience) == Some(&*endpoint.slug);
        let (client, member) = tenant.who(self.holder)?;
        let holds = meant && now < not_after && endpoint.accepts.access_tokens;
        holds.then(|| Still {
            client: Arc::clone(client),
            member: member.cloned(),
            not_after: Some(not_after),
        })
    }
}

/// A token whose signature was good.
#[derive(Debug, Clone)]
pub(super) enum Seen {
    /// Of the tenant's own issuer.
    Own(Arc<Verified>),
    /// Of another.
    External(Arc<external::Verified>),
}

impl Seen {
    fn not_after(&self) -> Timestamp {
        match self {
            Self::Own(verified) => verified.not_after,
            Self::External(verified) => verified.not_after(),
        }
    }
}

/// One tenant's, by SHA-256.
type Known = Map<[u8; 32], Seen>;

/// One worker's verified tokens.
#[derive(Default)]
pub(crate) struct Tokens {
    kept: RefCell<Map<TenantId, Known>>,
    count: Cell<usize>,
}

impl Tokens {
    fn get(&self, tenant: TenantId, digest: &[u8; 32]) -> Option<Seen> {
        self.kept.borrow().get(&tenant)?.get(digest).cloned()
    }

    pub(super) fn keep(&self, tenant: TenantId, digest: [u8; 32], seen: &Seen, now: Timestamp) {
        let mut kept = self.kept.borrow_mut();
        if self.count.get() >= KEPT {
            // Whoever has most pays for it.
            let most = kept.iter().max_by_key(|(_, own)| own.len()).map(|(tenant, _)| *tenant);
            let gone = most.and_then(|most| kept.remove(&most)).map_or(0, |own| own.len());
            self.count.set(self.count.get() - gone);
        }
        let own = kept.entry(tenant).or_default();
        let before = own.len();
        if before >= KEPT_PER_TENANT {
            own.retain(|_, seen| now < seen.not_after());
            if own.len() >= KEPT_PER_TENANT {
                own.clear();
            }
        }
        own.insert(digest, seen.clone());
        self.count.set(self.count.get() - before + own.len());
    }
}

#[cfg(test)]
impl Tokens {
    pub(super) fn len(&self) -> usize {
        self.count.get()
    }
}

#[cfg(test)]
impl Verified {
    pub(super) fn testing(client: ClientId, not_after: Timestamp) -> Self {
        let (id, signed_by) = (TokenId::from_parts(1, [0; 10]), SigningKeyId::from_parts(1, [0; 10]));
        Self {
            id,
            holder: client.into(),
            issuer: "".into(),
            signed_by,
            audience: "".into(),
            scopes: Scopes::none(),
            bound_to: None,
            certificate: None,
            not_after,
        }
    }

    pub(super) fn with_scopes(self, scopes: Scopes) -> Self {
        Self { scopes, ..self }
    }
}

/// The caller, if the token is one of an issuer whose tokens the endpoint accepts.
pub(super) fn check(
    presented: &str,
    tenant: &TenantIndex,
    endpoint: &EndpointIndex,
    tokens: &Tokens,
    now: Timestamp,
) -> Result<Option<Principal>, Refusal> {
    let digest = sha256(presented.as_bytes());
    let seen = match tokens.get(tenant.id, &digest) {
        Some(seen) => seen,
        None => {
            let own = verify(presented, tenant, now).map(|verified| Seen::Own(Arc::new(verified)));
            let seen = match own {
                Some(own) => Some(own),
                None if endpoint.accepts.external_tokens => {
                    external::verify(presented, tenant, endpoint, now)?
                        .map(|verified| Seen::External(Arc::new(verified)))
                }
                None => None,
            };
            let Some(seen) = seen else { return Ok(None) };
            tokens.keep(tenant.id, digest, &seen, now);
            seen
        }
    };
    match seen {
        Seen::Own(verified) => {
            let Some(Still { client, member, not_after }) = verified.holds(tenant, endpoint, now) else {
                return Ok(None);
            };
            Ok(Some(Principal { client, member, credential: Credential::Token(verified), not_after }))
        }
        Seen::External(verified) => external::principal(verified, tenant, endpoint, now),
    }
}

fn verify(presented: &str, tenant: &TenantIndex, now: Timestamp) -> Option<Verified> {
    let issuer = tenant.issuer.as_ref()?;
    let token = Token::parse(presented).ok()?;
    let signed_by: SigningKeyId = token.kid().as_str().parse().ok()?;
    let (key, _) = issuer.key(signed_by, now)?;
    if token.typ() != Typ::AccessToken || !key.signed(&token) {
        return None;
    }
    let claims: Claims = token.claims().ok()?;
    let not_after = Timestamp::from_secs(claims.exp);
    let begun = Timestamp::from_secs(claims.iat.max(claims.nbf.unwrap_or(0))) <= now.plus(SKEW);
    let short = claims.exp.checked_sub(claims.iat).is_some_and(|life| life <= LONGEST_LIFE);
    // What is over, or for nobody here, would take the place of others.
    let of_use = now < not_after && tenant.named_by(&claims.aud).is_some();
    let Confirmation { jkt: bound_to, certificate } =
        claims.cnf.unwrap_or(Confirmation { jkt: None, certificate: None });
    let holder = Holder { client: claims.client_id, member: claims.member() };
    (*claims.iss == *issuer.url && claims.is_of_its_client() && begun && short && of_use).then(|| Verified {
        id: claims.jti,
        holder,
        issuer: claims.iss.into(),
        signed_by,
        audience: claims.aud.into(),
        scopes: claims.scope,
        bound_to,
        certificate,
        not_after,
    })
}
