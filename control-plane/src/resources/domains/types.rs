//! What a domain looks like.

use ids::{DomainId, EndpointId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::resources::fields::moment;

/// A host name of the tenant's own.
#[derive(Debug, Serialize, ToSchema)]
pub struct Domain {
    /// Id.
    #[schema(value_type = String, example = "dom_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: DomainId,
    /// Lower case; never changes.
    #[schema(example = "mcp.example.com")]
    pub name: String,
    /// The endpoint it stands for; `null`: all of the tenant's.
    #[schema(value_type = Option<String>, example = "ep_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub endpoint_id: Option<EndpointId>,
    /// Where endpoints are found once it is served, with `{endpoint}` for the slug of one of them.
    #[schema(example = "https://mcp.example.com/{endpoint}/mcp")]
    pub url: String,
    /// Whether it is served.
    pub state: DomainState,
    /// What has to be in DNS before `verify_domain`.
    pub record: DomainRecord,
    /// What proxies show under it; `null`: what they have of their own.
    pub certificate: Option<DomainCertificate>,
    /// When it was proven.
    #[serde(with = "moment::option")]
    pub proven_at: Option<OffsetDateTime>,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
    /// When one of these fields last changed.
    #[serde(with = "moment")]
    pub updated_at: OffsetDateTime,
}

/// Whether a domain is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DomainState {
    /// Nobody has shown that it is the tenant's; it is not served.
    Unproven,
    /// It is the tenant's, and served.
    Proven,
}

/// The DNS record by which a tenant shows that a domain is its own.
#[derive(Debug, Serialize, ToSchema)]
pub struct DomainRecord {
    /// Its owner name.
    #[schema(example = "_portcullis.mcp.example.com")]
    pub name: String,
    /// Its type.
    #[schema(example = "TXT")]
    pub r#type: &'static str,
    /// Its text. Nothing secret.
    pub value: String,
}

/// A domain's certificate, without its key.
#[derive(Debug, Serialize, ToSchema)]
pub struct DomainCertificate {
    /// SHA-256 of the certificate's DER, hexadecimal.
    pub fingerprint: String,
    /// Host names it is for.
    #[schema(example = json!(["mcp.example.com"]))]
    pub names: Vec<String>,
    /// When it expires. Give the domain another one before.
    #[serde(with = "moment")]
    pub not_after: OffsetDateTime,
    /// When the domain was given it.
    #[serde(with = "moment")]
    pub updated_at: OffsetDateTime,
}

/// A certificate for a domain.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DomainCertificateNew {
    /// PEM: the domain's certificate, and after it those that lead to one that callers trust.
    #[schema(max_length = 262144)]
    pub chain: String,
    /// PEM: the certificate's private key. Never shown again.
    #[schema(value_type = String, max_length = 16384)]
    pub key: secrecy::SecretString,
}

/// A domain to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DomainNew {
    /// A host name, in its ASCII form, without a port.
    #[schema(example = "mcp.example.com", max_length = 241)]
    pub name: String,
    /// The endpoint it is to stand for, at `/mcp`; without it all of the tenant's, at `/{endpoint}/mcp`.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "ep_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub endpoint_id: Option<EndpointId>,
}
