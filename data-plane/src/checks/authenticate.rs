//! Row 6, authenticate: who is calling. API keys, in `Authorization: Bearer` only.
//!
//! A key is looked up by its public part inside the endpoint's tenant, so that another tenant's key is an unknown one;
//! unknown ones cost the same HMAC; the comparison takes constant time. A key past its end, or of a client that is
//! switched off, is refused exactly like an unknown one. Only then does it matter whether the client may use this
//! endpoint: somebody with a good key may learn that.

use std::sync::Arc;

use crypto::key::{self, KeyKind, Presented};
use http::{HeaderMap, header};
use ids::{ClientId, KeyId};
use seams::Timestamp;

use super::{Counted, EndpointEvidence, Exchange};
use crate::{refuse::Refusal, snapshot::index::ClientIndex};

/// Evidence: the authenticated caller.
#[derive(Debug, Clone)]
pub(crate) struct Principal {
    client: Arc<ClientIndex>,
    key: KeyId,
    /// The key's public part, by which a later snapshot is asked whether it still exists.
    lookup: [u8; 12],
    not_after: Option<Timestamp>,
}

impl Principal {
    pub(crate) fn client(&self) -> &Arc<ClientIndex> {
        &self.client
    }

    pub(crate) fn client_id(&self) -> ClientId {
        self.client.id
    }

    pub(crate) fn key(&self) -> KeyId {
        self.key
    }

    pub(crate) fn lookup(&self) -> &[u8; 12] {
        &self.lookup
    }

    /// When the key ends; `None` if it does not by itself.
    pub(crate) fn not_after(&self) -> Option<Timestamp> {
        self.not_after
    }
}

/// Authenticates.
pub(crate) fn check(
    exchange: &Exchange,
    place: &EndpointEvidence,
    _counted: &Counted<'_>,
    now: Timestamp,
) -> Result<Principal, Refusal> {
    let token = bearer(exchange.headers())?;
    let presented = key::parse(KeyKind::ApiKey, token).map_err(|_| Refusal::CredentialInvalid)?;
    let principal = verify(place, &presented, now).ok_or(Refusal::CredentialInvalid)?;
    if principal.client.may_use(place.endpoint().id) { Ok(principal) } else { Err(Refusal::ClientNotAllowed) }
}

fn verify(place: &EndpointEvidence, presented: &Presented<'_>, now: Timestamp) -> Option<Principal> {
    let tenant = place.tenant();
    let lookup: [u8; 12] = presented.lookup.as_bytes().try_into().ok()?;
    let Some(found) = tenant.keys.get(&lookup) else {
        tenant.dummy_verify(presented);
        return None;
    };
    let good = found.verify(&tenant.crypto, presented);
    let live = found.not_after.is_none_or(|end| now < end) && found.client.enabled;
    (good && live).then(|| Principal {
        client: Arc::clone(&found.client),
        key: found.id,
        lookup,
        not_after: found.not_after,
    })
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
mod tests;
