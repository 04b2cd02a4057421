//! API keys: looked up by their public part inside the endpoint's tenant, so that another tenant's key is an unknown one. Unknown ones
//! cost the same HMAC; the comparison takes constant time.

use std::{net::IpAddr, sync::Arc};

use crypto::key::{self, KeyKind};
use ids::KeyId;
use seams::Timestamp;

use super::{Credential, Principal, Still};
use crate::{
    refuse::Refusal,
    snapshot::index::{EndpointIndex, KeyIndex, SubjectLimit, TenantIndex},
};

/// A key that was presented and was good.
#[derive(Debug, Clone)]
pub(super) struct Known {
    id: KeyId,
    /// Its public part.
    lookup: [u8; 12],
    limit: Option<Arc<SubjectLimit>>,
}

impl Known {
    pub(super) const fn id(&self) -> KeyId {
        self.id
    }

    /// Its own limit.
    pub(super) const fn limit(&self) -> Option<&Arc<SubjectLimit>> {
        self.limit.as_ref()
    }

    /// Whose it is by this configuration, if it is still there and accepted from `address` now, and when it ends.
    pub(super) fn still<'t>(
        &self,
        tenant: &'t TenantIndex,
        endpoint: &EndpointIndex,
        (address, now): (IpAddr, Timestamp),
    ) -> Option<Still<'t>> {
        let found = tenant.keys.get(&self.lookup).filter(|found| found.id == self.id)?;
        let not_after = accepted(found, address, now)?;
        let still = Still { client: &found.client, member: None, not_after };
        (endpoint.accepts.api_keys && found.client.enabled).then_some(still)
    }
}

/// Until when a key is accepted from `address`; `None`: it is not now.
fn accepted(key: &KeyIndex, address: IpAddr, now: Timestamp) -> Option<Option<Timestamp>> {
    let Some(restrictions) = &key.restrictions else { return Some(key.not_after) };
    let until = restrictions.admit(address, now)?;
    Some([until, key.not_after].into_iter().flatten().min())
}

/// Only whoever has a good key learns that it is not accepted from there, or now.
pub(super) fn check(
    presented: &str,
    tenant: &TenantIndex,
    endpoint: &EndpointIndex,
    (address, now): (IpAddr, Timestamp),
) -> Result<Principal, Refusal> {
    let (found, lookup) = good(presented, tenant, endpoint, now).ok_or(Refusal::CredentialInvalid)?;
    let not_after = accepted(found, address, now).ok_or(Refusal::CredentialRestricted)?;
    let credential = Credential::Key(Known { id: found.id, lookup, limit: found.limit.clone() });
    Ok(Principal { client: Arc::clone(&found.client), member: None, credential, not_after })
}

fn good<'t>(
    presented: &str,
    tenant: &'t TenantIndex,
    endpoint: &EndpointIndex,
    now: Timestamp,
) -> Option<(&'t KeyIndex, [u8; 12])> {
    let presented = key::parse(KeyKind::ApiKey, presented).ok()?;
    let lookup: [u8; 12] = presented.lookup.as_bytes().try_into().ok()?;
    let Some(found) = tenant.keys.get(&lookup) else {
        tenant.dummy_verify(&presented);
        return None;
    };
    let good = found.verify(&tenant.crypto, &presented);
    let live = found.not_after.is_none_or(|end| now < end) && found.client.enabled;
    (good && live && endpoint.accepts.api_keys).then_some((found, lookup))
}
