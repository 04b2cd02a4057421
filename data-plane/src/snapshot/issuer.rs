//! A tenant's issuer of access tokens, as requests use it.

use crypto::jwt::{Algorithm, PublicKey};
use ids::{Scopes, SigningKeyId};
use seams::Timestamp;
use wire::v1::{self, SignatureAlgorithm};

use super::{build::At, decode::DecodeError};

/// The issuer.
#[derive(Debug)]
pub struct IssuerIndex {
    /// Exactly as in `iss`.
    pub url: Box<str>,
    /// Scopes that callers are told to ask for at first.
    pub baseline: Scopes,
    keys: Box<[IssuerKey]>,
}

#[derive(Debug)]
struct IssuerKey {
    id: SigningKeyId,
    public: PublicKey,
    /// What it signed is refused from then on.
    not_after: Option<Timestamp>,
}

impl IssuerIndex {
    pub(super) fn new(issuer: &v1::Issuer) -> Result<Self, DecodeError> {
        let at = At("issuer");
        let keys = issuer.keys.iter().map(|key| {
            let algorithm = match key.algorithm() {
                SignatureAlgorithm::Rs256 => Algorithm::Rs256,
                SignatureAlgorithm::Es256 => Algorithm::Es256,
                SignatureAlgorithm::Eddsa => Algorithm::EdDsa,
                SignatureAlgorithm::Unspecified => return Err(at.fault("keys.algorithm")),
            };
            Ok(IssuerKey {
                id: at.id(&key.id, "keys.id")?,
                public: PublicKey::new(algorithm, &key.public_key)
                    .map_err(|_| at.fault("keys.public_key"))?,
                not_after: (key.not_after_micros > 0).then(|| Timestamp::from_micros(key.not_after_micros)),
            })
        });
        let baseline = issuer.baseline_scopes.iter().map(|scope| scope.parse());
        let baseline = baseline.collect::<Result<Vec<_>, _>>().map_err(|_| at.fault("baseline_scopes"))?;
        Ok(Self {
            baseline: Scopes::new(baseline).map_err(|_| at.fault("baseline_scopes"))?,
            url: issuer.url.as_str().into(),
            keys: keys.collect::<Result<_, _>>()?,
        })
    }

    /// The key with this id, while what it signed is accepted, and until when that is.
    #[must_use]
    pub fn key(&self, id: SigningKeyId, now: Timestamp) -> Option<(&PublicKey, Option<Timestamp>)> {
        let found = self.keys.iter().find(|key| key.id == id)?;
        found.not_after.is_none_or(|end| now < end).then_some((&found.public, found.not_after))
    }
}
