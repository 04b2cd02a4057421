//! Issuers of others, whose tokens some endpoints accept: whom they speak for here.

use std::sync::Arc;

use crypto::jwt::{Algorithm, Typ};
use ids::{ClientId, ExternalIssuerId, RoleId, Scope, Scopes};
use url::Url;
use wire::v1::{self, SignatureAlgorithm, TokenType};

use super::{
    build::At,
    decode::DecodeError,
    index::{ClientIndex, Map, TenantIndex},
};
use crate::issuers::Keys;

/// An issuer of others.
#[derive(Debug)]
pub struct ExternalIssuerIndex {
    /// Its id.
    pub id: ExternalIssuerId,
    /// Exactly as in `iss`.
    pub url: Box<str>,
    /// Where its keys are.
    pub jwks_uri: Url,
    /// DER certificates trusted there instead of the public roots; empty means the public roots.
    pub ca_der: Box<[Vec<u8>]>,
    /// The keys, as far as they are known.
    pub(crate) keys: Arc<Keys>,
    /// Audiences of tokens that are taken at every endpoint that names it; empty: each endpoint's own resource identifiers.
    pub audiences: Box<[Box<str>]>,
    /// Seconds by which its clock may be ahead.
    pub leeway_secs: u64,
    algorithms: Box<[Algorithm]>,
    types: Box<[Typ]>,
    max_life_secs: u64,
    required: Box<[Fact]>,
    callers: Box<[CallerRule]>,
    entitlements: Box<[Entitlement]>,
}

/// A claim's name, and a text that it has, or that is one of those it has.
pub(crate) type Fact = (Box<str>, Box<str>);

#[derive(Debug)]
struct CallerRule {
    facts: Box<[Fact]>,
    client: ClientId,
}

#[derive(Debug)]
struct Entitlement {
    fact: Fact,
    roles: Box<[RoleId]>,
    scopes: Box<[Scope]>,
}

/// What a token said whose signature was good, as far as configuration decides what it is worth.
#[derive(Debug)]
pub struct Said {
    /// How it was signed.
    pub algorithm: Algorithm,
    /// What it says it is.
    pub typ: Typ,
    /// From its making to its end, seconds.
    pub life_secs: u64,
    /// Its claims that are texts or lists of these, sorted.
    pub facts: Box<[Fact]>,
}

/// Whom a token speaks for by one configuration.
#[derive(Debug)]
pub struct Resolved {
    /// The client, with the roles that the token's claims give it beside its own.
    pub client: Arc<ClientIndex>,
    /// These roles, sorted.
    pub roles: Box<[RoleId]>,
    /// The scopes that its claims give it.
    pub scopes: Scopes,
}

/// Why it speaks for nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unresolved {
    /// It is no token that is taken here.
    Refused,
    /// It is one, and no rule says whose.
    NotMapped,
}

impl Said {
    fn has(&self, (name, value): &Fact) -> bool {
        self.facts.binary_search_by(|(own, text)| (&**own, &**text).cmp(&(&**name, &**value))).is_ok()
    }
}

impl ExternalIssuerIndex {
    /// `former`: what was known of its keys, where it is the same issuer at the same place.
    pub(super) fn new(
        at: &At<'_>,
        issuer: &v1::ExternalIssuer,
        former: Option<&Self>,
    ) -> Result<Self, DecodeError> {
        let jwks_uri: Url = issuer.jwks_uri.parse().map_err(|_| at.fault("jwks_uri"))?;
        let same = |former: &&Self| {
            *former.url == *issuer.issuer && former.jwks_uri == jwks_uri && *former.ca_der == *issuer.ca_der
        };
        let algorithms = issuer.algorithms().map(|algorithm| match algorithm {
            SignatureAlgorithm::Rs256 => Ok(Algorithm::Rs256),
            SignatureAlgorithm::Es256 => Ok(Algorithm::Es256),
            SignatureAlgorithm::Eddsa => Ok(Algorithm::EdDsa),
            SignatureAlgorithm::Unspecified => Err(at.fault("algorithms")),
        });
        let types = issuer.token_types().map(|kind| match kind {
            TokenType::AtJwt => Ok(Typ::AccessToken),
            TokenType::Jwt => Ok(Typ::Jwt),
            TokenType::Unspecified => Err(at.fault("token_types")),
        });
        let fact = |fact: &v1::ClaimFact| (Box::from(&*fact.claim), Box::from(&*fact.value));
        let callers = issuer.callers.iter().map(|rule| {
            let facts = rule.claims.iter().map(fact).collect();
            Ok(CallerRule { facts, client: at.id(&rule.client_id, "callers.client_id")? })
        });
        let entitlements = issuer.entitlements.iter().map(|rule| {
            let roles = rule.role_ids.iter().map(|id| at.id(id, "entitlements.role_ids"));
            let scopes =
                rule.scopes.iter().map(|scope| scope.parse().map_err(|_| at.fault("entitlements.scopes")));
            Ok(Entitlement {
                fact: rule.claim.as_ref().map(fact).ok_or_else(|| at.fault("entitlements.claim"))?,
                roles: roles.collect::<Result<_, DecodeError>>()?,
                scopes: scopes.collect::<Result<_, DecodeError>>()?,
            })
        });
        Ok(Self {
            id: at.id(&issuer.id, "id")?,
            url: issuer.issuer.as_str().into(),
            keys: former.filter(same).map(|former| Arc::clone(&former.keys)).unwrap_or_default(),
            jwks_uri,
            ca_der: issuer.ca_der.clone().into(),
            audiences: issuer.audiences.iter().map(|text| text.as_str().into()).collect(),
            leeway_secs: issuer.leeway_seconds.into(),
            algorithms: algorithms.collect::<Result<_, DecodeError>>()?,
            types: types.collect::<Result<_, DecodeError>>()?,
            max_life_secs: issuer.max_lifetime_seconds.into(),
            required: issuer.required_claims.iter().map(fact).collect(),
            callers: callers.collect::<Result<_, DecodeError>>()?,
            entitlements: entitlements.collect::<Result<_, DecodeError>>()?,
        })
    }

    /// Whether it may sign so.
    #[must_use]
    pub fn signs_by(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// Whom a token speaks for.
    ///
    /// # Errors
    /// [`Unresolved`].
    pub fn resolve(&self, said: &Said, tenant: &TenantIndex) -> Result<Resolved, Unresolved> {
        let taken = self.signs_by(said.algorithm)
            && self.types.contains(&said.typ)
            && said.life_secs <= self.max_life_secs
            && self.required.iter().all(|fact| said.has(fact));
        if !taken {
            return Err(Unresolved::Refused);
        }
        let rule = self.callers.iter().find(|rule| rule.facts.iter().all(|fact| said.has(fact)));
        let client = rule.and_then(|rule| tenant.clients.get(&rule.client)).ok_or(Unresolved::NotMapped)?;
        let (mut roles, mut scopes) = (Vec::new(), Vec::new());
        for entitlement in self.entitlements.iter().filter(|each| said.has(&each.fact)) {
            roles.extend(entitlement.roles.iter().copied());
            scopes.extend(entitlement.scopes.iter().cloned());
        }
        roles.sort_unstable();
        roles.dedup();
        let client = if roles.is_empty() { Arc::clone(client) } else { Arc::new(client.with_roles(&roles)) };
        Ok(Resolved { client, roles: roles.into(), scopes: Scopes::first(scopes) })
    }
}

/// All of a tenant's, by id; and the gateway's origin, which each of them names.
pub(super) fn external(
    issuers: &[(String, v1::ExternalIssuer)],
    previous: Option<&TenantIndex>,
) -> Result<Map<ExternalIssuerId, Arc<ExternalIssuerIndex>>, DecodeError> {
    let mut out = Map::default();
    for (resource, issuer) in issuers {
        let at = At(resource);
        let id = at.id(&issuer.id, "id")?;
        let former = previous.and_then(|previous| previous.external.get(&id));
        out.insert(id, Arc::new(ExternalIssuerIndex::new(&at, issuer, former.map(AsRef::as_ref))?));
    }
    Ok(out)
}
