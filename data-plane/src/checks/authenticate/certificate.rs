//! Certificates of callers (R7): good where the endpoint names an authority of its tenant's that has issued it, for the client that a
//! name in it stands for. Names are alternative names, URIs and hosts, compared letter by letter; the subject's common name is none.
//!
//! A connection may carry calls to several endpoints, and tenants: each call is asked for its own.

use std::sync::Arc;

use ids::ClientId;
use seams::Timestamp;

use super::{Credential, Principal, Still};
use crate::{
    presented::Presented,
    refuse::Refusal,
    snapshot::index::{EndpointIndex, TenantIndex},
};

/// The caller, if the certificate is good here.
pub(super) fn check(
    shown: &Arc<Presented>,
    tenant: &TenantIndex,
    endpoint: &EndpointIndex,
    now: Timestamp,
) -> Result<Principal, Refusal> {
    let Still { client, member, not_after } = match named(shown, tenant, endpoint, now) {
        Named::Nobody => return Err(Refusal::CredentialInvalid),
        Named::NotMapped => return Err(Refusal::CallerNotMapped),
        Named::Client(client) => still_of(shown, tenant, client).ok_or(Refusal::CredentialInvalid)?,
    };
    Ok(Principal { client, member, credential: Credential::Certificate(Arc::clone(shown)), not_after })
}

/// Whose it is by this configuration, if it is still good.
pub(super) fn still(
    shown: &Presented,
    tenant: &TenantIndex,
    endpoint: &EndpointIndex,
    before: ClientId,
    now: Timestamp,
) -> Option<Still> {
    match named(shown, tenant, endpoint, now) {
        Named::Client(client) if client == before => still_of(shown, tenant, client),
        Named::Client(_) | Named::NotMapped | Named::Nobody => None,
    }
}

fn still_of(shown: &Presented, tenant: &TenantIndex, client: ClientId) -> Option<Still> {
    let client = tenant.clients.get(&client).filter(|client| client.enabled)?;
    Some(Still { client: Arc::clone(client), member: None, not_after: Some(shown.not_after()) })
}

enum Named {
    Client(ClientId),
    /// It is good, and no rule says whose.
    NotMapped,
    /// It is none of an authority that the endpoint names.
    Nobody,
}

fn named(shown: &Presented, tenant: &TenantIndex, endpoint: &EndpointIndex, now: Timestamp) -> Named {
    let mut good = false;
    let named = endpoint.authorities.iter().filter(|_| endpoint.accepts.client_certificates);
    for authority in named.filter_map(|id| tenant.authorities.get(id)) {
        if !shown.is_by(authority, (tenant.id, &tenant.digest), now) {
            continue;
        }
        good = true;
        let rule = authority.callers.iter().find(|(kind, name, _)| shown.is_for(*kind, name));
        if let Some((_, _, client)) = rule {
            return Named::Client(*client);
        }
    }
    if good { Named::NotMapped } else { Named::Nobody }
}
