//! API keys: looked up by their public part inside the endpoint's tenant, so that another tenant's key is an unknown one. Unknown ones
//! cost the same HMAC; the comparison takes constant time.

use std::{net::IpAddr, sync::Arc};

use crypto::key::{self, KeyKind};
use ids::KeyId;
use seams::Timestamp;
use wire::v1::CredentialKind;

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
    /// How it was shown: by itself, or as a password.
    by: CredentialKind,
    limit: Option<Arc<SubjectLimit>>,
}

impl Known {
    pub(super) const fn by(&self) -> CredentialKind {
        self.by
    }

    pub(super) const fn id(&self) -> KeyId {
        self.id
    }

    /// Its own limit.
    pub(super) const fn limit(&self) -> Option<&Arc<SubjectLimit>> {
        self.limit.as_ref()
    }

    /// Whose it is by this configuration, if it is still there and accepted from `address` now, and when it ends.
    pub(super) fn still(
        &self,
        tenant: &TenantIndex,
        endpoint: &EndpointIndex,
        (address, now): (IpAddr, Timestamp),
    ) -> Option<Still> {
        let found = tenant.keys.get(&self.lookup).filter(|found| found.id == self.id)?;
        let not_after = lasts(found, address, now)?;
        let still = Still { client: Arc::clone(&found.client), member: None, not_after };
        (accepted(self.by, endpoint) && found.client.enabled).then_some(still)
    }
}

/// Until when a key is accepted from `address`; `None`: it is not now.
fn lasts(key: &KeyIndex, address: IpAddr, now: Timestamp) -> Option<Option<Timestamp>> {
    let Some(restrictions) = &key.restrictions else { return Some(key.not_after) };
    let until = restrictions.admit(address, now)?;
    Some([until, key.not_after].into_iter().flatten().min())
}

/// Who it is, if the key is good. Only whoever has a good one learns that it is not accepted from there, or now.
pub(super) fn check(
    presented: &str,
    tenant: &TenantIndex,
    endpoint: &EndpointIndex,
    by: CredentialKind,
    (address, now): (IpAddr, Timestamp),
) -> Result<Option<Principal>, Refusal> {
    let good = good(presented, tenant, now).filter(|_| accepted(by, endpoint));
    let Some((found, lookup)) = good else { return Ok(None) };
    let not_after = lasts(found, address, now).ok_or(Refusal::CredentialRestricted)?;
    let credential = Credential::Key(Known { id: found.id, lookup, by, limit: found.limit.clone() });
    Ok(Some(Principal { client: Arc::clone(&found.client), member: None, credential, not_after }))
}

fn good<'t>(presented: &str, tenant: &'t TenantIndex, now: Timestamp) -> Option<(&'t KeyIndex, [u8; 12])> {
    let presented = key::parse(KeyKind::ApiKey, presented).ok()?;
    let lookup: [u8; 12] = presented.lookup.as_bytes().try_into().ok()?;
    let Some(found) = tenant.keys.get(&lookup) else {
        tenant.dummy_verify(&presented);
        return None;
    };
    let good = found.verify(&tenant.crypto, &presented);
    let live = found.not_after.is_none_or(|end| now < end) && found.client.enabled;
    (good && live).then_some((found, lookup))
}

const fn accepted(by: CredentialKind, endpoint: &EndpointIndex) -> bool {
    match by {
        CredentialKind::ApiKey => endpoint.accepts.api_keys,
        CredentialKind::Basic => endpoint.accepts.basic,
        _ => false,
    }
}
