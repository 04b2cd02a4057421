//! What a proxy looks like.

use ids::ProxyId;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::resources::fields::moment;

/// A proxy that enrolled.
#[derive(Debug, Serialize, ToSchema)]
pub struct Proxy {
    /// Id.
    #[schema(value_type = String, example = "px_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: ProxyId,
    /// Slug of its pool.
    pub pool: String,
    /// Version of its program, as it says.
    pub build: String,
    /// Whether it counts: not revoked, and its lease has not run out.
    pub live: bool,
    /// How many tenants of its pool have a revision that it has not applied.
    pub tenants_behind: u64,
    /// When it enrolled.
    #[serde(with = "moment")]
    pub enrolled_at: OffsetDateTime,
    /// When its certificate ends. A proxy renews it at half its life.
    #[serde(with = "moment")]
    pub certificate_not_after: OffsetDateTime,
    /// Until when it counts as live unless it is heard of again; null: it never took configuration.
    #[serde(with = "moment::option")]
    pub lease_until: Option<OffsetDateTime>,
    /// When it was revoked; null: it was not.
    #[serde(with = "moment::option")]
    pub revoked_at: Option<OffsetDateTime>,
}
