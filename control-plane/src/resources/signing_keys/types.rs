//! What a signing key looks like.

use crypto::jwt::{Algorithm, Jwk};
use ids::SigningKeyId;
use seams::Timestamp;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    oauth::keys::{State, StoredKey},
    resources::fields::moment,
};

/// A signing key, without its private half.
#[derive(Debug, Serialize, ToSchema)]
pub struct SigningKey {
    /// Id; also its `kid` in tokens and in the key set.
    #[schema(value_type = String, example = "sig_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: SigningKeyId,
    /// How it signs.
    pub algorithm: SigningAlgorithm,
    /// Where it stands.
    pub state: SigningKeyState,
    /// Its public half (RFC 7517).
    #[schema(value_type = Object)]
    pub public_key: Jwk,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
    /// When it begins to sign: it is published before.
    #[serde(with = "moment")]
    pub activates_at: OffsetDateTime,
    /// When what it signed is accepted no more; null: nothing follows it yet.
    #[serde(with = "moment::option")]
    pub retires_at: Option<OffsetDateTime>,
    /// When it was revoked; null: it was not.
    #[serde(with = "moment::option")]
    pub revoked_at: Option<OffsetDateTime>,
}

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum SigningAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA with P-256 and SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SigningKeyState {
    /// Published, signs nothing yet.
    Upcoming,
    /// Signs.
    Active,
    /// Signs no more; what it signed is accepted.
    Retiring,
    /// What it signed is refused.
    Retired,
}

/// How keys are rotated.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SigningKeyRotation {
    /// How the new key signs; absent: as the present one, or ES256.
    #[serde(default)]
    pub algorithm: Option<SigningAlgorithm>,
    /// Sign with the new key at once instead of publishing it first: for when the present one has leaked. Whoever has kept the key
    /// set may refuse new tokens for five minutes.
    #[serde(default)]
    #[schema(default = false)]
    pub at_once: bool,
}

impl SigningKey {
    /// One of `all`.
    #[must_use]
    pub fn new(key: &StoredKey, all: &[StoredKey], now: Timestamp) -> Self {
        Self {
            id: key.id,
            algorithm: key.public.algorithm().into(),
            state: key.state(all, now).into(),
            public_key: Jwk::new(&key.id.to_string(), &key.public),
            created_at: key.created_at.to_offset(),
            activates_at: key.activates_at.to_offset(),
            retires_at: key.retires_at.map(Timestamp::to_offset),
            revoked_at: key.revoked_at.map(Timestamp::to_offset),
        }
    }
}

impl From<State> for SigningKeyState {
    fn from(state: State) -> Self {
        match state {
            State::Upcoming => Self::Upcoming,
            State::Active => Self::Active,
            State::Retiring => Self::Retiring,
            State::Retired => Self::Retired,
        }
    }
}

impl From<Algorithm> for SigningAlgorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Rs256 => Self::Rs256,
            Algorithm::Es256 => Self::Es256,
            Algorithm::EdDsa => Self::EdDsa,
        }
    }
}

impl From<SigningAlgorithm> for Algorithm {
    fn from(algorithm: SigningAlgorithm) -> Self {
        match algorithm {
            SigningAlgorithm::Rs256 => Self::Rs256,
            SigningAlgorithm::Es256 => Self::Es256,
            SigningAlgorithm::EdDsa => Self::EdDsa,
        }
    }
}
