//! What an endpoint and its attachments look like.

use ids::{AttachmentId, ClientAuthorityId, EndpointId, ExternalIssuerId, Slug, UpstreamId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    publish::rows::CredentialKind,
    resources::fields::{Name, moment},
};

/// A hosted MCP URL.
#[derive(Debug, Serialize, ToSchema)]
pub struct Endpoint {
    /// Id.
    #[schema(value_type = String, example = "ep_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: EndpointId,
    /// Second path segment of its URL; never changes.
    pub slug: String,
    /// Its URL at the gateway.
    pub url: String,
    /// What can be changed.
    #[serde(flatten)]
    pub settings: EndpointSettings,
    /// Of `accepts`, what is weak: `basic`, whose password is in the hands of whatever keeps passwords.
    pub weak: Vec<CredentialKind>,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
    /// When one of these fields last changed.
    #[serde(with = "moment")]
    pub updated_at: OffsetDateTime,
}

/// What can be changed of an endpoint.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointSettings {
    /// Name for people.
    #[schema(value_type = String, max_length = 100)]
    pub name: Name,
    /// `Host` values accepted beside the gateway's own.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Exact origins accepted in `Origin`.
    #[serde(default)]
    #[schema(example = json!(["https://app.example.com"]))]
    pub origins: Vec<String>,
    /// Caller networks accepted; empty accepts every address.
    #[serde(default)]
    #[schema(example = json!(["203.0.113.0/24"]))]
    pub allow: Vec<String>,
    /// Caller networks refused; wins over `allow`.
    #[serde(default)]
    pub deny: Vec<String>,
    /// JSON-RPC methods switched off, of those that are not decided by grant.
    #[serde(default)]
    #[schema(example = json!(["logging/setLevel"]))]
    pub closed_methods: Vec<String>,
    /// By what callers may show who they are; at least one.
    #[serde(default = "usual_kinds")]
    #[schema(default = json!(["api_key", "access_token"]), min_items = 1)]
    pub accepts: Vec<CredentialKind>,
    /// Whose tokens of others are accepted, where `accepts` has `external_token`.
    #[serde(default)]
    #[schema(value_type = Vec<String>, max_items = 16, example = json!(["exi_01hzy3v5d1f4m8q2w6x9c0b7ka"]))]
    pub external_issuers: Vec<ExternalIssuerId>,
    /// Whose certificates are accepted, where `accepts` has `client_certificate`.
    #[serde(default)]
    #[schema(value_type = Vec<String>, max_items = 16, example = json!(["cca_01hzy3v5d1f4m8q2w6x9c0b7ka"]))]
    pub client_authorities: Vec<ClientAuthorityId>,
    /// What a proxy does about a tool that nobody has reviewed.
    #[serde(default)]
    pub unknown_tools: UnknownTools,
    /// Largest request body, bytes.
    #[serde(default = "one_mebibyte")]
    #[schema(minimum = 1024, maximum = 67108864, default = 1048576)]
    pub max_request_bytes: u32,
    /// Largest response message, bytes.
    #[serde(default = "one_mebibyte")]
    #[schema(minimum = 1024, maximum = 67108864, default = 1048576)]
    pub max_response_bytes: u32,
    /// A disabled endpoint does not answer.
    #[serde(default = "enabled")]
    pub enabled: bool,
}

/// What a proxy does about a tool that nobody has reviewed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnknownTools {
    /// Refuses it.
    #[default]
    Block,
    /// Takes the first definition seen as approved. For development.
    ApproveFirstSeen,
}

fn usual_kinds() -> Vec<CredentialKind> {
    CredentialKind::USUAL.to_vec()
}

const fn one_mebibyte() -> u32 {
    1_048_576
}

const fn enabled() -> bool {
    true
}

/// An endpoint to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointNew {
    /// Second path segment of its URL.
    #[schema(value_type = String, pattern = "^[a-z0-9][a-z0-9-]{1,38}[a-z0-9]$")]
    pub slug: Slug,
    /// Name for people.
    #[schema(value_type = String, max_length = 100)]
    pub name: Name,
    /// `Host` values accepted beside the gateway's own.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Exact origins accepted in `Origin`.
    #[serde(default)]
    #[schema(example = json!(["https://app.example.com"]))]
    pub origins: Vec<String>,
    /// Caller networks accepted; empty accepts every address.
    #[serde(default)]
    #[schema(example = json!(["203.0.113.0/24"]))]
    pub allow: Vec<String>,
    /// Caller networks refused; wins over `allow`.
    #[serde(default)]
    pub deny: Vec<String>,
    /// JSON-RPC methods switched off, of those that are not decided by grant.
    #[serde(default)]
    #[schema(example = json!(["logging/setLevel"]))]
    pub closed_methods: Vec<String>,
    /// By what callers may show who they are; at least one.
    #[serde(default = "usual_kinds")]
    #[schema(default = json!(["api_key", "access_token"]), min_items = 1)]
    pub accepts: Vec<CredentialKind>,
    /// Whose tokens of others are accepted, where `accepts` has `external_token`.
    #[serde(default)]
    #[schema(value_type = Vec<String>, max_items = 16, example = json!(["exi_01hzy3v5d1f4m8q2w6x9c0b7ka"]))]
    pub external_issuers: Vec<ExternalIssuerId>,
    /// Whose certificates are accepted, where `accepts` has `client_certificate`.
    #[serde(default)]
    #[schema(value_type = Vec<String>, max_items = 16, example = json!(["cca_01hzy3v5d1f4m8q2w6x9c0b7ka"]))]
    pub client_authorities: Vec<ClientAuthorityId>,
    /// What a proxy does about a tool that nobody has reviewed.
    #[serde(default)]
    pub unknown_tools: UnknownTools,
    /// Largest request body, bytes.
    #[serde(default = "one_mebibyte")]
    #[schema(minimum = 1024, maximum = 67108864, default = 1048576)]
    pub max_request_bytes: u32,
    /// Largest response message, bytes.
    #[serde(default = "one_mebibyte")]
    #[schema(minimum = 1024, maximum = 67108864, default = 1048576)]
    pub max_response_bytes: u32,
    /// A disabled endpoint does not answer.
    #[serde(default = "enabled")]
    pub enabled: bool,
}

impl EndpointNew {
    /// Slug and settings.
    #[must_use]
    pub fn split(self) -> (Slug, EndpointSettings) {
        let settings = EndpointSettings {
            name: self.name,
            hosts: self.hosts,
            origins: self.origins,
            allow: self.allow,
            deny: self.deny,
            closed_methods: self.closed_methods,
            accepts: self.accepts,
            external_issuers: self.external_issuers,
            client_authorities: self.client_authorities,
            unknown_tools: self.unknown_tools,
            max_request_bytes: self.max_request_bytes,
            max_response_bytes: self.max_response_bytes,
            enabled: self.enabled,
        };
        (self.slug, settings)
    }
}

/// An upstream behind an endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub struct Attachment {
    /// Id.
    #[schema(value_type = String, example = "att_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: AttachmentId,
    /// The endpoint.
    #[schema(value_type = String, example = "ep_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub endpoint_id: EndpointId,
    /// The upstream.
    #[schema(value_type = String, example = "ups_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub upstream_id: UpstreamId,
    /// Put before every name the upstream offers; never changes.
    pub prefix: String,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
}

/// An attachment to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AttachmentNew {
    /// The upstream.
    #[schema(value_type = String, example = "ups_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub upstream_id: UpstreamId,
    /// Put before every name the upstream offers; may be empty, and is chosen once.
    #[schema(example = "")]
    pub prefix: String,
}
