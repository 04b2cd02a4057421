//! What a key of assertions looks like.

use crypto::jwt::Jwk;
use ids::AssertionKeyId;
use seams::Timestamp;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    assertions::keys::AssertionKey as Stored,
    resources::{fields::moment, signing_keys::types::SigningKeyState},
};

/// A key that signs what is asserted to upstreams, without its private half.
#[derive(Debug, Serialize, ToSchema)]
pub struct AssertionKey {
    /// Id; also its `kid` in assertions and in the key set.
    #[schema(value_type = String, example = "ask_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: AssertionKeyId,
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
    /// When it is published no more; null: nothing follows it yet. A proxy that hears of no control plane may sign with it for as long
    /// as it enforces old configuration.
    #[serde(with = "moment::option")]
    pub retires_at: Option<OffsetDateTime>,
    /// When it was revoked; null: it was not.
    #[serde(with = "moment::option")]
    pub revoked_at: Option<OffsetDateTime>,
}

/// How keys of assertions are rotated.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AssertionKeyRotation {
    /// Sign with the new key at once instead of publishing it first: for when the present one has leaked. A server that has kept the
    /// key set and does not look again may refuse calls for five minutes.
    #[serde(default)]
    #[schema(default = false)]
    pub at_once: bool,
}

impl AssertionKey {
    /// One of `all`.
    #[must_use]
    pub fn new(key: &Stored, all: &[Stored], now: Timestamp) -> Self {
        Self {
            id: key.id,
            state: key.state(all, now).into(),
            public_key: Jwk::new(&key.id.to_string(), &key.public),
            created_at: key.created_at.to_offset(),
            activates_at: key.activates_at.to_offset(),
            retires_at: key.retires_at.map(Timestamp::to_offset),
            revoked_at: key.revoked_at.map(Timestamp::to_offset),
        }
    }
}
