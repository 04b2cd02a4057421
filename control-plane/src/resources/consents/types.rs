//! What a consent looks like.

use ids::{ClientId, ConsentId, MemberId};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::resources::fields::moment;

/// What a member has let a client do for them.
#[derive(Debug, Serialize, ToSchema)]
pub struct Consent {
    /// Id.
    #[schema(value_type = String, example = "cns_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: ConsentId,
    /// Who.
    #[schema(value_type = String, example = "mem_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub member_id: MemberId,
    /// Whom.
    #[schema(value_type = String, example = "cl_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub client_id: ClientId,
    /// At which endpoint, by the identifier under which it was asked for.
    pub resource: String,
    /// With which scopes.
    pub scopes: Vec<String>,
    /// Since when.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
    /// When they last agreed.
    #[serde(with = "moment")]
    pub updated_at: OffsetDateTime,
}
