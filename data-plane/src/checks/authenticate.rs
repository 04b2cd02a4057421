//! Row 6, authenticate: who is calling. API keys and access tokens, in `Authorization: Bearer` only; tokens that are bound to a key in
//! `Authorization: DPoP` only, with a proof; API keys as passwords, where the endpoint takes these. What the endpoint does not accept is
//! nothing to it.
//!
//! What is no good is refused in one way, whatever is the matter with it: unknown, wrong, over, of another tenant, for another
//! endpoint, of a client or member that is switched off. Only then does it matter whether the client may use this endpoint: somebody with a
//! good credential may learn that.

mod basic;
mod certificate;
mod external;
mod key;
mod proof;
mod token;

use std::{net::IpAddr, sync::Arc};

use crypto::{Holder, claims::Thumbprint};
use http::{HeaderMap, header};
use ids::{ClientId, ExternalIssuerId};
use policy::Held;
use seams::Timestamp;
use wire::v1::CredentialKind;

use super::{Counted, EndpointEvidence, Exchange};
use crate::{
    decisions::Who,
    kills::Shown,
    presented::Presented,
    refuse::Refusal,
    snapshot::{
        external::Resolved,
        index::{ClientIndex, EndpointIndex, MemberIndex, SubjectLimit, TenantIndex},
    },
};

pub(crate) use proof::Proofs;
pub(crate) use token::Tokens;

/// Evidence: the authenticated caller.
#[derive(Debug, Clone)]
pub(crate) struct Principal {
    client: Arc<ClientIndex>,
    /// For whom the client calls; `None`: for itself.
    member: Option<Arc<MemberIndex>>,
    credential: Credential,
    not_after: Option<Timestamp>,
}

/// Who a credential stands for by some configuration, and when it ends.
pub(crate) struct Still {
    pub(crate) client: Arc<ClientIndex>,
    pub(crate) member: Option<Arc<MemberIndex>>,
    pub(crate) not_after: Option<Timestamp>,
}

/// What was presented, as a later snapshot is asked whether it is still good.
#[derive(Debug, Clone)]
enum Credential {
    Key(key::Known),
    Token(Arc<token::Verified>),
    /// Of an issuer of others, and whom it speaks for.
    External(Arc<external::Verified>, Arc<Resolved>),
    /// That the connection began with.
    Certificate(Arc<Presented>),
}

impl Principal {
    pub(crate) fn client(&self) -> &Arc<ClientIndex> {
        &self.client
    }

    pub(crate) fn client_id(&self) -> ClientId {
        self.client.id
    }

    /// Whose what it carries back is.
    pub(crate) fn holder(&self) -> Holder {
        Holder { client: self.client.id, member: self.member.as_ref().map(|member| member.id) }
    }

    /// For whom the client calls; `None`: for itself.
    pub(crate) fn member(&self) -> Option<&Arc<MemberIndex>> {
        self.member.as_ref()
    }

    /// The limit of the API key that was shown, where it has one of its own.
    pub(crate) fn key_limit(&self) -> Option<&Arc<SubjectLimit>> {
        match &self.credential {
            Credential::Key(key) => key.limit(),
            Credential::Token(_) | Credential::External(..) | Credential::Certificate(_) => None,
        }
    }

    /// As policies are asked.
    pub(crate) fn who(&self) -> Who<'_> {
        Who::from((&self.client, self.member.as_ref()))
    }

    pub(crate) fn shown(&self) -> Shown {
        match &self.credential {
            Credential::Key(key) => Shown::Key(key.id()),
            Credential::Token(token) => Shown::Token(token.id()),
            Credential::External(token, _) => Shown::External(token.made()),
            Credential::Certificate(_) => Shown::Certificate,
        }
    }

    /// How it was shown, where key or access token alone do not say so.
    pub(crate) fn by(&self) -> Option<CredentialKind> {
        match &self.credential {
            Credential::Key(key) => (key.by() != CredentialKind::ApiKey).then_some(key.by()),
            Credential::Token(_) => None,
            Credential::External(..) => Some(CredentialKind::ExternalToken),
            Credential::Certificate(_) => Some(CredentialKind::ClientCertificate),
        }
    }

    /// Who issued its token, and to whom, where that are others.
    pub(crate) fn of(&self) -> Option<(ExternalIssuerId, &str)> {
        match &self.credential {
            Credential::External(token, _) => Some((token.issuer(), token.subject())),
            Credential::Key(_) | Credential::Token(_) | Credential::Certificate(_) => None,
        }
    }

    /// SHA-256 of the certificate that was shown instead of anything else.
    pub(crate) fn certificate(&self) -> Option<[u8; 32]> {
        match &self.credential {
            Credential::Certificate(shown) => Some(*shown.digest()),
            Credential::Key(_) | Credential::Token(_) | Credential::External(..) => None,
        }
    }

    /// Client and member as `tenant` has them, wherever they call.
    pub(crate) fn as_of(&self, tenant: &TenantIndex) -> Option<(Arc<ClientIndex>, Option<Arc<MemberIndex>>)> {
        match &self.credential {
            Credential::External(token, _) => {
                let client = Arc::clone(&token.resolved(tenant).ok()?.client);
                client.enabled.then_some((client, None))
            }
            Credential::Key(_) | Credential::Token(_) | Credential::Certificate(_) => {
                let (client, member) = tenant.who(self.holder())?;
                Some((Arc::clone(client), member.cloned()))
            }
        }
    }

    /// The scopes that the credential has.
    pub(crate) fn held(&self) -> Held<'_> {
        match &self.credential {
            Credential::Key(_) | Credential::Certificate(_) => Held::All,
            Credential::Token(token) => Held::These(token.scopes()),
            Credential::External(_, resolved) => Held::These(&resolved.scopes),
        }
    }

    /// The key to which the credential is bound.
    fn bound_to(&self) -> Option<Thumbprint> {
        match &self.credential {
            Credential::Key(_) | Credential::Certificate(_) => None,
            Credential::Token(token) => token.bound_to(),
            Credential::External(token, _) => token.bound_to(),
        }
    }

    /// The certificate to which the credential is bound.
    fn bound_to_certificate(&self) -> Option<Thumbprint> {
        match &self.credential {
            Credential::Key(_) | Credential::Certificate(_) => None,
            Credential::Token(token) => token.bound_to_certificate(),
            Credential::External(token, _) => token.bound_to_certificate(),
        }
    }

    /// When the credential ends; `None` if it does not by itself.
    pub(crate) fn not_after(&self) -> Option<Timestamp> {
        self.not_after
    }

    /// Client and member as `tenant` has them, and when the credential ends, if it is good there, shown from `address` now.
    pub(crate) fn still(
        &self,
        tenant: &TenantIndex,
        endpoint: &EndpointIndex,
        (address, now): (IpAddr, Timestamp),
    ) -> Option<Still> {
        match &self.credential {
            Credential::Key(key) => key.still(tenant, endpoint, (address, now)),
            Credential::Token(token) => token.holds(tenant, endpoint, now),
            Credential::External(token, resolved) => token.still(resolved, tenant, endpoint, now),
            Credential::Certificate(shown) => {
                certificate::still(shown, tenant, endpoint, self.client.id, now)
            }
        }
    }
}

/// How a credential is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Alone (RFC 6750).
    Bearer,
    /// With a proof that whoever shows it has a key (RFC 9449).
    Dpop,
    /// As a password (RFC 7617).
    Basic,
}

impl Scheme {
    const ALL: [Self; 3] = [Self::Bearer, Self::Dpop, Self::Basic];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Dpop => "DPoP",
            Self::Basic => "Basic",
        }
    }

    /// That of a request by which tokens are shown, whatever it shows by it.
    pub(crate) fn of_tokens(headers: &HeaderMap) -> Self {
        match credential(headers) {
            Ok((Self::Dpop, _)) => Self::Dpop,
            _ => Self::Bearer,
        }
    }
}

/// What is known beside the request.
#[derive(Clone, Copy)]
pub(crate) struct Known<'w> {
    /// Tokens that this worker has seen.
    pub(crate) tokens: &'w Tokens,
    /// Proofs that were taken.
    pub(crate) proofs: &'w Proofs,
    /// The certificate with which the connection began.
    pub(crate) shown: Option<&'w Arc<Presented>>,
}

/// Authenticates.
pub(crate) fn check(
    exchange: &Exchange,
    place: &EndpointEvidence,
    _counted: &Counted<'_>,
    known: Known<'_>,
    now: Timestamp,
) -> Result<Principal, Refusal> {
    let (tenant, endpoint) = (&**place.tenant(), &**place.endpoint());
    let here = (exchange.address(), now);
    let Known { tokens, proofs, shown } = known;
    // Whoever shows something in a header is who that says, or nobody.
    if !exchange.headers().contains_key(header::AUTHORIZATION)
        && let Some(shown) = shown.filter(|_| endpoint.accepts.client_certificates)
    {
        let principal = certificate::check(shown, tenant, endpoint, now)?;
        return if principal.client.may_use(endpoint.id) {
            Ok(principal)
        } else {
            Err(Refusal::ClientNotAllowed)
        };
    }
    let (scheme, presented) = credential(exchange.headers())?;
    let principal = match scheme {
        // As any scheme that is none here.
        Scheme::Basic if !endpoint.accepts.basic => return Err(Refusal::CredentialMissing),
        Scheme::Basic => basic::check(presented, tenant, endpoint, here)?,
        // A signed token has two dots, and a key none.
        Scheme::Bearer | Scheme::Dpop if presented.contains('.') => {
            token::check(presented, tenant, endpoint, tokens, now)?
        }
        Scheme::Bearer | Scheme::Dpop => {
            key::check(presented, tenant, endpoint, CredentialKind::ApiKey, here)?
        }
    };
    let principal = principal.ok_or(Refusal::CredentialInvalid)?;
    // Whoever has stolen a token that is bound to a certificate has not its key (RFC 8705 section 3).
    if let Some(Thumbprint(bound)) = principal.bound_to_certificate()
        && shown.is_none_or(|shown| *shown.digest() != bound)
    {
        return Err(Refusal::CredentialInvalid);
    }
    match (scheme, principal.bound_to()) {
        (Scheme::Bearer | Scheme::Basic, None) => {}
        (Scheme::Dpop, Some(key)) => {
            proof::check(exchange, place, proofs, (principal.client.id, key, presented), now)?;
        }
        // Whoever has stolen a bound token has not the key; and what is not bound is not proven by any.
        (Scheme::Bearer | Scheme::Basic, Some(_)) | (Scheme::Dpop, None) => {
            return Err(Refusal::CredentialInvalid);
        }
    }
    if principal.client.may_use(endpoint.id) { Ok(principal) } else { Err(Refusal::ClientNotAllowed) }
}

/// The token of the one `Authorization` header (RFC 6750 section 2.1, RFC 9449 section 7.1).
fn credential(headers: &HeaderMap) -> Result<(Scheme, &str), Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(Refusal::CredentialMissing)?;
    if values.next().is_some() {
        return Err(Refusal::CredentialMalformed);
    }
    let text = value.to_str().map_err(|_| Refusal::CredentialMalformed)?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    let known = Scheme::ALL.into_iter().find(|known| scheme.eq_ignore_ascii_case(known.name()));
    // Another scheme is no credential here; the challenge names one that is.
    let scheme = known.ok_or(Refusal::CredentialMissing)?;
    let token = token.trim_start_matches(' ');
    if token.is_empty() || !token.bytes().all(is_token68) {
        return Err(Refusal::CredentialMalformed);
    }
    Ok((scheme, token))
}

/// RFC 9110 section 11.2.
const fn is_token68(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}

#[cfg(test)]
impl Principal {
    /// The same client with a token that has these scopes.
    pub(crate) fn with_scopes(&self, scopes: &str) -> Self {
        let token = token::Verified::testing(self.client.id, Timestamp::from_secs(u64::from(u32::MAX)));
        let token = Arc::new(token.with_scopes(scopes.parse().expect("scopes")));
        Self { credential: Credential::Token(token), ..self.clone() }
    }

    /// The same client, for a member.
    pub(crate) fn acting_for(&self, member: &Arc<MemberIndex>) -> Self {
        Self { member: Some(Arc::clone(member)), ..self.clone() }
    }
}

#[cfg(test)]
mod tests;
