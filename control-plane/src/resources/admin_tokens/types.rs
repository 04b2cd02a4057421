//! What an admin token looks like.

use ids::AdminTokenId;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    http::scope::ScopeName,
    resources::fields::{Name, moment},
};

/// An admin token, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdminToken {
    /// Id.
    #[schema(value_type = String, example = "adm_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: AdminTokenId,
    /// Name for people.
    #[schema(value_type = String)]
    pub name: Name,
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
    /// When it stops working; null: never.
    #[serde(with = "moment::option")]
    pub not_after: Option<OffsetDateTime>,
    /// When it was revoked; null: it was not.
    #[serde(with = "moment::option")]
    pub revoked_at: Option<OffsetDateTime>,
}

/// An admin token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdminTokenNew {
    /// Name for people.
    #[schema(value_type = String, max_length = 100)]
    pub name: Name,
    /// What it may do: `*`, `*:read`, or scopes such as `endpoints:write`. Never more than its maker may.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 32, example = json!(["endpoints:read"]))]
    pub scopes: Vec<ScopeName>,
    /// When it stops working.
    #[serde(default, with = "moment::option")]
    pub not_after: Option<OffsetDateTime>,
}

/// A token just made. The secret is shown this once.
#[derive(Serialize, ToSchema)]
pub struct AdminTokenMade {
    /// The token's other fields.
    #[serde(flatten)]
    pub made: AdminToken,
    /// `pat_…`, to be presented as `Authorization: Bearer`.
    pub token: String,
}

impl std::fmt::Debug for AdminTokenMade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminTokenMade").field("made", &self.made).finish_non_exhaustive()
    }
}
