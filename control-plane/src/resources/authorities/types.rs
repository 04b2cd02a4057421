//! What a certificate authority looks like.

use ids::AuthorityId;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::resources::fields::moment;

/// A certificate authority of the fleet. Proxies and control planes trust each that is not retired.
#[derive(Debug, Serialize, ToSchema)]
pub struct Authority {
    /// Id.
    #[schema(value_type = String, example = "ca_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: AuthorityId,
    /// SHA-256 of its public key (SubjectPublicKeyInfo), hexadecimal; join tokens carry it.
    pub key_sha256: String,
    /// How many proxies that were not revoked have a certificate of it. It can be retired when there are none.
    pub proxies: u64,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
    /// From when on it issues, until a newer one does.
    #[serde(with = "moment")]
    pub issues_from: OffsetDateTime,
    /// When its certificate ends.
    #[serde(with = "moment")]
    pub not_after: OffsetDateTime,
    /// When it was retired; null: it was not.
    #[serde(with = "moment::option")]
    pub retired_at: Option<OffsetDateTime>,
}
