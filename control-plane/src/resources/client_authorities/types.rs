//! What a client authority looks like.

use ids::{ClientAuthorityId, ClientId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::resources::fields::{Name, moment};

/// An authority of the tenant's own whose certificates callers show at endpoints that name it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ClientAuthority {
    /// Id.
    #[schema(value_type = String, example = "cca_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: ClientAuthorityId,
    /// What can be changed.
    #[serde(flatten)]
    pub settings: ClientAuthoritySettings,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
    /// When one of these fields last changed.
    #[serde(with = "moment")]
    pub updated_at: OffsetDateTime,
}

/// What can be chosen and changed of a client authority.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientAuthoritySettings {
    /// Name for people.
    #[schema(value_type = String, max_length = 100)]
    pub name: Name,
    /// A disabled one's certificates are refused.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Its certificates, PEM.
    #[schema(max_length = 65536)]
    pub ca_pem: String,
    /// Lists of certificates that it has revoked, PEM (`X509 CRL`). Where there are any, a certificate of an issuer without a list is refused.
    #[serde(default)]
    #[schema(max_length = 524288)]
    pub crl_pem: Option<String>,
    /// What is done when a list should have been replaced by now.
    #[serde(default)]
    pub stale_lists: StaleLists,
    /// Which client a certificate is: the first of these rules that fits says so, and where none does it is refused.
    #[serde(default)]
    #[schema(max_items = 1000)]
    pub callers: Vec<SubjectRule>,
}

/// What is done when a list of revoked certificates should have been replaced by now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StaleLists {
    /// Certificates that it is about are refused.
    #[default]
    Refuse,
    /// It counts as it is.
    Accept,
}

/// A subject alternative name and the client that it is. Exactly one of `uri` and `dns`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubjectRule {
    /// A URI, exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1024, example = "spiffe://acme.example/agent")]
    pub uri: Option<String>,
    /// A host name in lower case, exactly; one with `*` in it is that of a certificate with `*` in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 253)]
    pub dns: Option<String>,
    /// The client.
    #[schema(value_type = String, example = "cl_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub client_id: ClientId,
}

const fn yes() -> bool {
    true
}
