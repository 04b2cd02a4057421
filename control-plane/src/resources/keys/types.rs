//! What an API key looks like.

use ids::{ClientId, KeyId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::resources::fields::{Name, moment};

/// An API key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct Key {
    /// Id.
    #[schema(value_type = String, example = "key_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: KeyId,
    /// Whose it is.
    #[schema(value_type = String, example = "cl_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub client_id: ClientId,
    /// Name for people.
    #[schema(value_type = String)]
    pub name: Name,
    /// The key's public part, by which it can be recognised: the 12 characters after `pck_`.
    pub lookup: String,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
    /// When it stops working; null: never.
    #[serde(with = "moment::option")]
    pub not_after: Option<OffsetDateTime>,
    /// When it was revoked; null: it was not.
    #[serde(with = "moment::option")]
    pub revoked_at: Option<OffsetDateTime>,
    /// The key that takes this one's place.
    #[schema(value_type = Option<String>)]
    pub rotated_to: Option<KeyId>,
}

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyNew {
    /// Name for people.
    #[schema(value_type = String, max_length = 100)]
    pub name: Name,
    /// When it stops working.
    #[serde(default, with = "moment::option")]
    pub not_after: Option<OffsetDateTime>,
}

/// How a key is replaced.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRotation {
    /// How long the old key goes on working beside the new one, seconds.
    #[serde(default = "one_day")]
    #[schema(minimum = 0, maximum = 2592000, default = 86400)]
    pub overlap_seconds: u32,
    /// When the new key stops working.
    #[serde(default, with = "moment::option")]
    pub not_after: Option<OffsetDateTime>,
}

const fn one_day() -> u32 {
    86_400
}

/// A key just made. The secret is shown this once.
#[derive(Serialize, ToSchema)]
pub struct KeyMade {
    /// The key's other fields.
    #[serde(flatten)]
    pub made: Key,
    /// `pck_…`, to be presented as `Authorization: Bearer`.
    pub key: String,
}

impl std::fmt::Debug for KeyMade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyMade").field("made", &self.made).finish_non_exhaustive()
    }
}
