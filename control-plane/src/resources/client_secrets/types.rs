//! What a client secret looks like.

use ids::{ClientId, ClientSecretId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::resources::fields::{Name, moment};

/// A client secret, without what is secret of it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ClientSecret {
    /// Id.
    #[schema(value_type = String, example = "sec_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: ClientSecretId,
    /// Whose it is.
    #[schema(value_type = String, example = "cl_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub client_id: ClientId,
    /// Name for people.
    #[schema(value_type = String)]
    pub name: Name,
    /// The secret's public part, by which it can be recognised: the 12 characters after `pcs_`.
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
    /// The secret that takes this one's place.
    #[schema(value_type = Option<String>)]
    pub rotated_to: Option<ClientSecretId>,
    /// When it was last presented with success, to within a minute; null: never.
    #[serde(with = "moment::option")]
    pub last_used_at: Option<OffsetDateTime>,
}

/// A secret to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientSecretNew {
    /// Name for people.
    #[schema(value_type = String, max_length = 100)]
    pub name: Name,
    /// When it stops working.
    #[serde(default, with = "moment::option")]
    pub not_after: Option<OffsetDateTime>,
}

/// How a secret is replaced.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientSecretRotation {
    /// How long the old secret goes on working beside the new one, seconds.
    #[serde(default = "one_day")]
    #[schema(minimum = 0, maximum = 2592000, default = 86400)]
    pub overlap_seconds: u32,
    /// When the new secret stops working.
    #[serde(default, with = "moment::option")]
    pub not_after: Option<OffsetDateTime>,
}

const fn one_day() -> u32 {
    86_400
}

/// A secret just made. It is shown this once.
#[derive(Serialize, ToSchema)]
pub struct ClientSecretMade {
    /// The secret's other fields.
    #[serde(flatten)]
    pub made: ClientSecret,
    /// `pcs_…`, to be presented as `client_secret` with the client's id as `client_id`.
    pub secret: String,
}

impl std::fmt::Debug for ClientSecretMade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientSecretMade").field("made", &self.made).finish_non_exhaustive()
    }
}
