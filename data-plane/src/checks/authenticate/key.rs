//! API keys: looked up by their public part inside the endpoint's tenant, so that another tenant's key is an unknown one. Unknown ones
//! cost the same HMAC; the comparison takes constant time.

use std::sync::Arc;

use crypto::key::{self, KeyKind};
use ids::KeyId;
use seams::Timestamp;
use wire::v1::CredentialKind;

use super::{Credential, Principal, Still};
use crate::snapshot::index::{EndpointIndex, TenantIndex};

/// A key that was presented and was good.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    id: KeyId,
    /// Its public part.
    lookup: [u8; 12],
    /// How it was shown: by itself, or as a password.
    by: CredentialKind,
}

impl Known {
    pub(super) const fn by(&self) -> CredentialKind {
        self.by
    }

    pub(super) const fn id(&self) -> KeyId {
        self.id
    }

    /// Whose it is by this configuration, if it is still there, and when it ends.
    pub(super) fn still(&self, tenant: &TenantIndex, endpoint: &EndpointIndex) -> Option<Still> {
        let found = tenant.keys.get(&self.lookup).filter(|found| found.id == self.id)?;
        let still = Still { client: Arc::clone(&found.client), member: None, not_after: found.not_after };
        (accepted(self.by, endpoint) && found.client.enabled).then_some(still)
    }
}

pub(super) fn check(
    presented: &str,
    tenant: &TenantIndex,
    endpoint: &EndpointIndex,
    by: CredentialKind,
    now: Timestamp,
) -> Option<Principal> {
    let presented = key::parse(KeyKind::ApiKey, presented).ok()?;
    let lookup: [u8; 12] = presented.lookup.as_bytes().try_into().ok()?;
    let Some(found) = tenant.keys.get(&lookup) else {
        tenant.dummy_verify(&presented);
        return None;
    };
    let good = found.verify(&tenant.crypto, &presented);
    let live = found.not_after.is_none_or(|end| now < end) && found.client.enabled;
    (good && live && accepted(by, endpoint)).then(|| Principal {
        client: Arc::clone(&found.client),
        member: None,
        credential: Credential::Key(Known { id: found.id, lookup, by }),
        not_after: found.not_after,
    })
}

const fn accepted(by: CredentialKind, endpoint: &EndpointIndex) -> bool {
    match by {
        CredentialKind::ApiKey => endpoint.accepts.api_keys,
        CredentialKind::Basic => endpoint.accepts.basic,
        _ => false,
    }
}
