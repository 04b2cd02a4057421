//! What a tenant's upstreams are shown beside static headers, as requests use it.

use crypto::assertion::AssertionSigner;
use ids::{AssertionKeyId, TenantId};
use seams::Timestamp;
use wire::v1;

use super::{build::At, decode::DecodeError, secrets::TenantKeys};

/// With what the tenant's proxies sign what they assert.
#[derive(Debug)]
pub struct AssertionsIndex {
    /// Exactly as in `iss`.
    pub issuer: Box<str>,
    /// In the order in which they begin to sign.
    keys: Box<[AssertionKey]>,
}

#[derive(Debug)]
struct AssertionKey {
    activates_at: Timestamp,
    /// `None`: it does not open.
    signer: Option<AssertionSigner>,
}

/// What an upstream is shown beside static headers.
#[derive(Debug, Default)]
pub struct UpstreamAuth {
    /// A signed statement of each request.
    pub assertion: Option<UpstreamAssertion>,
}

/// How requests to an upstream are vouched for.
#[derive(Debug)]
pub struct UpstreamAssertion {
    /// Names the upstream to itself.
    pub audience: Box<str>,
    /// In `Authorization`.
    pub bearer: bool,
    /// With a digest of the body.
    pub body_digest: bool,
}

impl AssertionsIndex {
    pub(super) fn new(
        tenant: TenantId,
        assertions: &v1::Assertions,
        crypto: &TenantKeys,
    ) -> Result<Self, DecodeError> {
        let at = At("assertions");
        let keys = assertions.keys.iter().map(|key| {
            let id: AssertionKeyId = at.id(&key.id, "keys.id")?;
            let opened = crypto.open(tenant, "assertion_keys", id.uuid(), &key.data_key_id, &key.sealed);
            Ok(AssertionKey {
                activates_at: Timestamp::from_micros(key.activates_at_micros),
                signer: opened.and_then(|pkcs8| AssertionSigner::new(id, &pkcs8).ok()),
            })
        });
        let mut keys = keys.collect::<Result<Vec<_>, DecodeError>>()?;
        keys.sort_by_key(|key| key.activates_at);
        Ok(Self { issuer: assertions.issuer.as_str().into(), keys: keys.into() })
    }

    /// The key that signs now. Where the clock is behind, the one that begins first.
    #[must_use]
    pub fn signer(&self, now: Timestamp) -> Option<&AssertionSigner> {
        let begun = self.keys.iter().rev().find(|key| key.activates_at <= now);
        begun.or_else(|| self.keys.first())?.signer.as_ref()
    }
}

impl UpstreamAuth {
    pub(super) fn new(auth: Option<&v1::UpstreamAuth>) -> Self {
        let Some(auth) = auth else { return Self::default() };
        let assertion = auth.assertion.as_ref().map(|assertion| UpstreamAssertion {
            audience: assertion.audience.as_str().into(),
            bearer: assertion.bearer,
            body_digest: assertion.body_digest,
        });
        Self { assertion }
    }
}
