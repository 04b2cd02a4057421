//! What a pool looks like.

use ids::{PoolId, Slug};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::resources::fields::moment;

/// A group of proxies, and of the tenants that they serve.
#[derive(Debug, Serialize, ToSchema)]
pub struct Pool {
    /// Id.
    #[schema(value_type = String, example = "pool_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: PoolId,
    /// Name by which tenants and join tokens refer to it; never changes.
    pub slug: String,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
}

/// A pool to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PoolNew {
    /// Name by which tenants and join tokens refer to it.
    #[schema(value_type = String, pattern = "^[a-z0-9][a-z0-9-]{1,38}[a-z0-9]$")]
    pub slug: Slug,
}
