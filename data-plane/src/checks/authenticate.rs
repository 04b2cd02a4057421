//! Row 6, authenticate: who is calling. API keys and access tokens, in `Authorization: Bearer` only.
//!
//! What is no good is refused in one way, whatever is the matter with it: unknown, wrong, over, of another tenant, for another
//! endpoint, of a client that is switched off. Only then does it matter whether the client may use this endpoint: somebody with a
//! good credential may learn that.

mod key;
mod token;

use std::sync::Arc;

use http::{HeaderMap, header};
use ids::ClientId;
use policy::Held;
use seams::Timestamp;

use super::{Counted, EndpointEvidence, Exchange};
use crate::{
    kills::Shown,
    refuse::Refusal,
    snapshot::index::{ClientIndex, EndpointIndex, TenantIndex},
};

pub(crate) use token::Tokens;

/// Evidence: the authenticated caller.
#[derive(Debug, Clone)]
pub(crate) struct Principal {
    client: Arc<ClientIndex>,
    credential: Credential,
    not_after: Option<Timestamp>,
}

/// What was presented, as a later snapshot is asked whether it is still good.
#[derive(Debug, Clone)]
enum Credential {
    Key(key::Known),
    Token(Arc<token::Verified>),
}

impl Principal {
    pub(crate) fn client(&self) -> &Arc<ClientIndex> {
        &self.client
    }

    pub(crate) fn client_id(&self) -> ClientId {
        self.client.id
    }

    pub(crate) fn shown(&self) -> Shown {
        match &self.credential {
            Credential::Key(key) => Shown::Key(key.id()),
            Credential::Token(token) => Shown::Token(token.id()),
        }
    }

    /// The scopes that the credential has.
    pub(crate) fn held(&self) -> Held<'_> {
        match &self.credential {
            Credential::Key(_) => Held::All,
            Credential::Token(token) => Held::These(token.scopes()),
        }
    }

    /// When the credential ends; `None` if it does not by itself.
    pub(crate) fn not_after(&self) -> Option<Timestamp> {
        self.not_after
    }

    /// The client as `tenant` has it, and when the credential ends, if it is good there.
    pub(crate) fn still<'t>(
        &self,
        tenant: &'t TenantIndex,
        endpoint: &EndpointIndex,
        now: Timestamp,
    ) -> Option<(&'t Arc<ClientIndex>, Option<Timestamp>)> {
        match &self.credential {
            Credential::Key(key) => key.still(tenant, endpoint),
            Credential::Token(token) => token.holds(tenant, endpoint, now),
        }
    }
}

/// Authenticates.
pub(crate) fn check(
    exchange: &Exchange,
    place: &EndpointEvidence,
    _counted: &Counted<'_>,
    tokens: &Tokens,
    now: Timestamp,
) -> Result<Principal, Refusal> {
    let presented = bearer(exchange.headers())?;
    let (tenant, endpoint) = (&**place.tenant(), &**place.endpoint());
    // A signed token has two dots, and a key none.
    let principal = if presented.contains('.') {
        token::check(presented, tenant, endpoint, tokens, now)
    } else {
        key::check(presented, tenant, endpoint, now)
    };
    let principal = principal.ok_or(Refusal::CredentialInvalid)?;
    if principal.client.may_use(endpoint.id) { Ok(principal) } else { Err(Refusal::ClientNotAllowed) }
}

/// The token of the one `Authorization: Bearer` header (RFC 6750 section 2.1).
fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(Refusal::CredentialMissing)?;
    if values.next().is_some() {
        return Err(Refusal::CredentialMalformed);
    }
    let text = value.to_str().map_err(|_| Refusal::CredentialMalformed)?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        // Another scheme is no credential here; the challenge names the one that is.
        return Err(Refusal::CredentialMissing);
    }
    let token = token.trim_start_matches(' ');
    if token.is_empty() || !token.bytes().all(is_token68) {
        return Err(Refusal::CredentialMalformed);
    }
    Ok(token)
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
}

#[cfg(test)]
mod tests;
