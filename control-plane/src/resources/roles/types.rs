//! What a role looks like.

use ids::RoleId;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::resources::fields::{Name, moment};

/// A named set of grants.
#[derive(Debug, Serialize, ToSchema)]
pub struct Role {
    /// Id.
    #[schema(value_type = String, example = "rol_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: RoleId,
    /// What can be changed.
    #[serde(flatten)]
    pub settings: RoleSettings,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
    /// When one of these fields last changed.
    #[serde(with = "moment")]
    pub updated_at: OffsetDateTime,
}

/// What can be changed of a role; also what a new one is made from.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleSettings {
    /// Name for people; unique in the tenant.
    #[schema(value_type = String, max_length = 100)]
    pub name: Name,
}
