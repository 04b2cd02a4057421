//! A tenant's configuration as plain rows, as the database has them: the compiler's whole input.
//!
//! Nothing here knows SQL, so that compiling is a pure function. Order does not matter: the compiler sorts.

use std::fmt;

use super::subject::LimitSubject;
use ids::{
    AttachmentId, ClientAuthorityId, ClientId, CredentialId, DataKeyId, DomainId, EndpointId,
    ExternalIssuerId, KeyId, LimitId, MemberId, RoleId, TenantId, ToolId, UpstreamId,
};

use crate::resources::{client_authorities::types::ClientAuthority, external_issuers::types::ExternalIssuer};
use policy::{Class, GrantSpec};
use seams::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wire::v1::{Timeouts, UpstreamConcurrency};

pub use super::{
    identity::{CredentialKind, IssuerRow, MemberRow},
    outward::{AssertionsRow, AuthRow},
};

/// Everything of one tenant that a proxy needs, read in one transaction.
#[derive(Debug, Clone)]
pub struct TenantRows {
    /// When the transaction read them: keys that ended before are left out.
    pub as_of: Timestamp,
    /// The tenant itself.
    pub tenant: TenantRow,
    /// Private destinations an operator allowed.
    pub egress: Vec<EgressRow>,
    /// Hosted endpoints.
    pub endpoints: Vec<EndpointRow>,
    /// Which upstreams stand behind which endpoint.
    pub attachments: Vec<AttachmentRow>,
    /// MCP servers.
    pub upstreams: Vec<UpstreamRow>,
    /// Header credentials presented to upstreams.
    pub headers: Vec<SealedHeaderRow>,
    /// Clients.
    pub clients: Vec<ClientRow>,
    /// Which client may use which endpoint.
    pub client_endpoints: Vec<(ClientId, EndpointId)>,
    /// Which client has which role.
    pub client_roles: Vec<(ClientId, RoleId)>,
    /// Members.
    pub members: Vec<MemberRow>,
    /// Which member has which role.
    pub member_roles: Vec<(MemberId, RoleId)>,
    /// API keys.
    pub api_keys: Vec<ApiKeyRow>,
    /// Roles, by id alone: their names are for people.
    pub roles: Vec<RoleId>,
    /// Grants.
    pub grants: Vec<GrantSpec>,
    /// The catalogue.
    pub tools: Vec<ToolRow>,
    /// Configured limits.
    pub limits: Vec<LimitRow>,
    /// Domains that are proven.
    pub domains: Vec<DomainRow>,
    /// Issuers of others, as they are stored; disabled ones too.
    pub external_issuers: Vec<ExternalIssuer>,
    /// Authorities of callers' certificates, as they are stored; disabled ones too.
    pub client_authorities: Vec<ClientAuthority>,
    /// The gateway's origin, without a slash at its end.
    pub gateway: String,
    /// What proxies know of its issuer; `None`: it has no keys.
    pub issuer: Option<IssuerRow>,
    /// With what proxies sign what they assert to upstreams; `None`: there are no keys.
    pub assertions: Option<AssertionsRow>,
}

/// `tenants`.
#[derive(Debug, Clone)]
pub struct TenantRow {
    /// Id.
    pub id: TenantId,
    /// First path segment of its endpoints.
    pub slug: String,
    /// Suspended tenants are published without endpoints.
    pub suspended: bool,
    /// Seconds for which unconfirmed configuration is enforced; `None`: as long as the proxy allows.
    pub max_stale_seconds: Option<u32>,
}

/// A private destination that an operator allowed, exactly.
#[derive(Debug, Clone)]
pub struct EgressRow {
    /// CIDR text; a bare address is taken as its single-address network.
    pub network: String,
    /// TCP port.
    pub port: u16,
}

/// What a proxy does about a tool nobody has reviewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownTools {
    /// Refuses it.
    Block,
    /// Takes the first definition seen as approved.
    ApproveFirstSeen,
}

/// `endpoints`.
#[derive(Debug, Clone)]
pub struct EndpointRow {
    /// Id.
    pub id: EndpointId,
    /// Second path segment.
    pub slug: String,
    /// Accepted `Host` values beside the gateway's own.
    pub hosts: Vec<String>,
    /// Accepted `Origin` values.
    pub origins: Vec<String>,
    /// Caller networks accepted (CIDR text); empty accepts all.
    pub allow: Vec<String>,
    /// Caller networks refused (CIDR text); wins over `allow`.
    pub deny: Vec<String>,
    /// JSON-RPC methods switched off.
    pub closed_methods: Vec<String>,
    /// By what callers may show who they are.
    pub accepts: Vec<CredentialKind>,
    /// Whose tokens of others.
    pub external_issuers: Vec<ExternalIssuerId>,
    /// Whose certificates.
    pub client_authorities: Vec<ClientAuthorityId>,
    /// What to do about unreviewed tools.
    pub unknown_tools: UnknownTools,
    /// Largest request body, bytes.
    pub max_request_bytes: u32,
    /// Largest response message, bytes.
    pub max_response_bytes: u32,
    /// Whether it answers at all.
    pub enabled: bool,
}

/// `endpoint_upstreams`.
#[derive(Debug, Clone)]
pub struct AttachmentRow {
    /// Id.
    pub id: AttachmentId,
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// The upstream behind it.
    pub upstream_id: UpstreamId,
    /// Put before every exposed name; may be empty.
    pub prefix: String,
}

/// `domains`, of those that are proven.
#[derive(Debug, Clone)]
pub struct DomainRow {
    /// Id.
    pub id: DomainId,
    /// Host name, lower case.
    pub name: String,
    /// The endpoint it stands for; `None`: all of them.
    pub endpoint_id: Option<EndpointId>,
    /// What proxies show under it.
    pub certificate: Option<SealedCertificateRow>,
}

/// `domain_certificates`, the key sealed under the tenant's data key.
#[derive(Clone)]
pub struct SealedCertificateRow {
    /// DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// Which data key opens `sealed`.
    pub data_key_id: DataKeyId,
    /// The sealed key.
    pub sealed: Vec<u8>,
}

impl fmt::Debug for SealedCertificateRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedCertificateRow").field("data_key_id", &self.data_key_id).finish_non_exhaustive()
    }
}

/// `upstreams`.
#[derive(Debug, Clone)]
pub struct UpstreamRow {
    /// Id.
    pub id: UpstreamId,
    /// Name for people.
    pub slug: String,
    /// Where its MCP endpoint is.
    pub url: String,
    /// Milliseconds to a connection.
    pub connect_timeout_ms: u32,
    /// Milliseconds from the request's last byte to the response's first.
    pub first_byte_timeout_ms: u32,
    /// Milliseconds between two reads of a response.
    pub idle_timeout_ms: u32,
    /// Milliseconds for a whole call.
    pub total_timeout_ms: u32,
    /// DER certificates trusted instead of the public roots; empty means the public roots.
    pub ca_der: Vec<Vec<u8>>,
    /// Name to verify instead of the URL's host; empty means the URL's host.
    pub server_name: String,
    /// SHA-256 of the keys it may have; empty means any.
    pub pins: Vec<[u8; 32]>,
    /// When it is left alone.
    pub breaker: wire::v1::Breaker,
    /// How many calls it is given at once.
    pub concurrency: UpstreamConcurrency,
    /// What it is shown beside static headers.
    pub auth: AuthRow,
    /// Whether calls are forwarded to it.
    pub enabled: bool,
}

/// A header credential, sealed under the tenant's data key.
#[derive(Clone)]
pub struct SealedHeaderRow {
    /// Id.
    pub credential_id: CredentialId,
    /// The upstream it is presented to.
    pub upstream_id: UpstreamId,
    /// Header name.
    pub name: String,
    /// Which data key opens `sealed`.
    pub data_key_id: DataKeyId,
    /// The sealed value.
    pub sealed: Vec<u8>,
}

impl fmt::Debug for SealedHeaderRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedHeaderRow")
            .field("credential_id", &self.credential_id)
            .field("upstream_id", &self.upstream_id)
            .finish_non_exhaustive()
    }
}

/// `clients`.
#[derive(Debug, Clone)]
pub struct ClientRow {
    /// Id.
    pub id: ClientId,
    /// Name for people and for the audit log.
    pub name: String,
    /// Whether its keys are accepted.
    pub enabled: bool,
}

/// `api_keys`.
#[derive(Clone)]
pub struct ApiKeyRow {
    /// Id.
    pub id: KeyId,
    /// Whose it is.
    pub client_id: ClientId,
    /// Public part: 12 base-62 characters.
    pub lookup: String,
    /// Keyed hash of the key.
    pub hash: [u8; 32],
    /// Data key under which `hash` was made.
    pub data_key_id: DataKeyId,
    /// When it stops working; `None` means no end.
    pub not_after: Option<Timestamp>,
    /// Revoked keys are not published.
    pub revoked: bool,
    /// Networks that it is accepted from (CIDR text); empty accepts every address.
    pub allow: Vec<String>,
    /// When it is accepted; empty: always.
    pub hours: Vec<HoursRow>,
}

/// A time of some days of the week, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HoursRow {
    /// Minutes since midnight: from this one,
    pub from: u16,
    /// until before that one.
    pub until: u16,
    /// A bit each, from Monday.
    pub days: u8,
}

impl fmt::Debug for ApiKeyRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyRow")
            .field("id", &self.id)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// Where a tool's review stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToolState {
    /// Seen, not reviewed.
    Pending,
    /// Its approved definition may be called.
    Approved,
    /// Its definition changed after approval.
    Quarantined,
    /// An administrator refused it.
    Rejected,
    /// The upstream no longer offers it. Not published; what names it goes inert.
    Retired,
}

/// `tools`.
#[derive(Debug, Clone)]
pub struct ToolRow {
    /// Id.
    pub id: ToolId,
    /// The upstream that offers it.
    pub upstream_id: UpstreamId,
    /// The upstream's own name for it.
    pub name: String,
    /// Where its review stands.
    pub state: ToolState,
    /// Class given by an administrator.
    pub class: Class,
    /// Digest of the approved definition.
    pub digest: Option<[u8; 32]>,
    /// Raw bytes of the approved definition; present exactly when `digest` is.
    pub definition: Option<Vec<u8>>,
    /// Units a call costs; at least 1.
    pub cost: u32,
    /// Capability labels.
    pub labels: Vec<String>,
    /// Its own time-outs; 0: as the upstream's.
    pub timeouts: Timeouts,
}

/// `limits`.
#[derive(Debug, Clone)]
pub struct LimitRow {
    /// Id.
    pub id: LimitId,
    /// What it counts.
    pub subject: LimitSubject,
    /// Units of tool-call cost a minute; 0 refuses everything.
    pub per_minute: u32,
    /// Units that may be taken at once; at least 1.
    pub burst: u32,
    /// Calls in flight at once; 0 means not limited.
    pub concurrency: u32,
    /// Units a day; 0 means no budget.
    pub per_day: u32,
    /// Units a month; 0 means no budget.
    pub per_month: u32,
}

impl UnknownTools {
    /// As stored and as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::ApproveFirstSeen => "approve_first_seen",
        }
    }

    /// From its stored name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Block, Self::ApproveFirstSeen].into_iter().find(|value| value.name() == name)
    }
}

impl ToolState {
    /// As stored and as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Quarantined => "quarantined",
            Self::Rejected => "rejected",
            Self::Retired => "retired",
        }
    }

    /// From its stored name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Pending, Self::Approved, Self::Quarantined, Self::Rejected, Self::Retired]
            .into_iter()
            .find(|value| value.name() == name)
    }
}
