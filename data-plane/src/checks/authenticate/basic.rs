//! A client's id as user and one of its API keys as password (RFC 7617, R6), for callers that know nothing else, where an endpoint says so.
//!
//! The password is an API key and not the client's secret: a key is looked up and compared in microseconds, while a secret is kept by
//! argon2id, whose cost at each call would be anybody's way to keep a proxy busy.

use std::net::IpAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ids::ClientId;
use seams::Timestamp;
use wire::v1::CredentialKind;
use zeroize::Zeroizing;

use super::{Principal, key};
use crate::{
    refuse::Refusal,
    snapshot::index::{EndpointIndex, TenantIndex},
};

/// Bytes of user, colon and password: an id has 29, a key has 55.
const MAX: usize = 96;

/// Who it is, if the key is good and the client's.
pub(super) fn check(
    presented: &str,
    tenant: &TenantIndex,
    endpoint: &EndpointIndex,
    here: (IpAddr, Timestamp),
) -> Result<Option<Principal>, Refusal> {
    let mut decoded = Zeroizing::new([0; MAX]);
    // What is too long has been padded or is no key: it is told nothing else than what is no base 64.
    let length = STANDARD.decode_slice(presented, &mut *decoded).map_err(|_| Refusal::CredentialMalformed)?;
    let text = std::str::from_utf8(&decoded[..length]).map_err(|_| Refusal::CredentialMalformed)?;
    let (user, password) = text.split_once(':').ok_or(Refusal::CredentialMalformed)?;
    let named: Option<ClientId> = user.parse().ok();
    // The key is looked at whoever is named, so that no answer's time says whether such a client is here.
    let principal = key::check(password, tenant, endpoint, CredentialKind::Basic, here)?;
    Ok(principal.filter(|principal| Some(principal.client.id) == named))
}
