//! What a tenant's upstreams are shown beside static headers, as requests use it.

use std::sync::Arc;

use crypto::{assertion::AssertionSigner, digest::sha256, jwt::Algorithm};
use ids::{AssertionKeyId, TenantId, UpstreamId};
use prost::Message as _;
use seams::Timestamp;
use wire::v1;

use super::{build::At, decode::DecodeError, secrets::TenantKeys};
use crate::upstream::{At as TokensAt, Oauth, OauthSettings, Shown};

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
    /// Access tokens.
    pub(crate) oauth: Option<Arc<Oauth>>,
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
    /// `former` is what the same upstream was shown before: tokens that it has go on, under the same settings.
    pub(super) fn new(
        (tenant, upstream): (TenantId, UpstreamId),
        auth: Option<&v1::UpstreamAuth>,
        crypto: &TenantKeys,
        former: Option<&Self>,
    ) -> Result<Self, DecodeError> {
        let Some(auth) = auth else { return Ok(Self::default()) };
        let assertion = auth.assertion.as_ref().map(|assertion| UpstreamAssertion {
            audience: assertion.audience.as_str().into(),
            bearer: assertion.bearer,
            body_digest: assertion.body_digest,
        });
        let former = former.and_then(|former| former.oauth.as_ref());
        let oauth = auth.oauth.as_ref().map(|said| {
            let source = sha256(&said.encode_to_vec());
            match former.filter(|former| former.source == source) {
                Some(former) => Ok(former.clone()),
                None => settings((tenant, upstream), said, crypto).map(|it| Arc::new(Oauth::new(it, source))),
            }
        });
        Ok(Self { assertion, oauth: oauth.transpose()? })
    }
}

fn settings(
    (tenant, upstream): (TenantId, UpstreamId),
    said: &v1::UpstreamOauth,
    crypto: &TenantKeys,
) -> Result<OauthSettings, DecodeError> {
    let resource = upstream.to_string();
    let at = At(&resource);
    let endpoint = match &*said.token_endpoint {
        "" => TokensAt::Issuer(said.issuer.as_str().into()),
        url => TokensAt::Endpoint(url.parse().map_err(|_| at.fault("auth.oauth.token_endpoint"))?),
    };
    let secret = crypto.open(tenant, "upstream_oauth", upstream.uuid(), &said.data_key_id, &said.sealed);
    let shown = match (secret, said.authentication()) {
        // As with headers, it makes the upstream unusable, and not the tenant.
        (None, _) => Shown::Nothing,
        (Some(secret), v1::ClientAuthentication::SecretBasic) => Shown::Basic(secret),
        (Some(secret), v1::ClientAuthentication::SecretPost) => Shown::Post(secret),
        (Some(key), v1::ClientAuthentication::PrivateKeyJwt) => {
            let algorithm = match said.algorithm() {
                v1::SignatureAlgorithm::Es256 => Algorithm::Es256,
                v1::SignatureAlgorithm::Eddsa => Algorithm::EdDsa,
                _ => return Err(at.fault("auth.oauth.algorithm")),
            };
            Shown::key(&said.key_id, algorithm, key)
        }
        (_, v1::ClientAuthentication::Unspecified) => return Err(at.fault("auth.oauth.authentication")),
    };
    Ok(OauthSettings {
        at: endpoint,
        client_id: said.client_id.as_str().into(),
        shown,
        scope: said.scope.as_str().into(),
        resource: said.resource.as_str().into(),
        ca_der: said.ca_der.clone().into(),
    })
}
