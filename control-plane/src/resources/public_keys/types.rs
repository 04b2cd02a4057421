//! What a client's public key looks like.

use crypto::jwt::Jwk;
use ids::{ClientId, PublicKeyId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::resources::fields::{Name, moment};

/// A public key of a client.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicKey {
    /// Id.
    #[schema(value_type = String, example = "pub_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: PublicKeyId,
    /// Whose it is.
    #[schema(value_type = String, example = "cl_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub client_id: ClientId,
    /// Name for people.
    #[schema(value_type = String)]
    pub name: Name,
    /// The key (RFC 7517).
    #[schema(value_type = Object)]
    pub key: Jwk,
    /// When it was made known.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
    /// When it stops being accepted; null: never.
    #[serde(with = "moment::option")]
    pub not_after: Option<OffsetDateTime>,
}

/// A public key to be made known.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublicKeyNew {
    /// Name for people.
    #[schema(value_type = String, max_length = 100)]
    pub name: Name,
    /// The key (RFC 7517), public half alone: RSA of 2048 to 4096 bits for RS256, P-256 for ES256, or Ed25519 for EdDSA. Without a `kid`
    /// it gets its id as that.
    #[schema(value_type = Object)]
    pub key: Jwk,
    /// When it stops being accepted.
    #[serde(default, with = "moment::option")]
    pub not_after: Option<OffsetDateTime>,
}
