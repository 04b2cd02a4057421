//! One tenant's configuration in the form in which requests use it. Immutable; every part is found by the name a request
//! brings.

mod accepts;
mod key;
mod limit;
mod of_use;
mod restrictions;

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use crypto::Presented;
use http::{HeaderName, HeaderValue};
use ids::{
    AttachmentId, ClientAuthorityId, ClientId, EndpointId, ExternalIssuerId, MemberId, RoleId, TenantId,
    ToolId, UpstreamId,
};
use ipnet::IpNet;
use rustls::sign::CertifiedKey;
use url::Url;
use wire::{
    identifier,
    v1::{GrantedAction, ToolClass, ToolState, UnknownTools},
};

use crate::upstream::{BreakerLimits, GateLimits, Guard, Timeouts, ToolTimeouts};

pub use accepts::Accepts;
pub use key::KeyIndex;
pub use limit::{Buckets, NearEnds, REFUSALS_RECORDED, SubjectLimit};
pub(super) use of_use::OfUse;
pub use restrictions::Restrictions;

pub use super::{
    auth::{AssertionsIndex, UpstreamAssertion, UpstreamAuth},
    authorities::ClientAuthorityIndex,
    external::ExternalIssuerIndex,
    issuer::IssuerIndex,
    members::MemberIndex,
    secrets::{CredentialUnavailable, DataKeys, TenantKeys},
    tools::Tools,
};

/// A map with a fast, keyed hash: its keys come from callers.
pub type Map<K, V> = hashbrown::HashMap<K, V, ahash::RandomState>;

/// One tenant at one revision.
pub struct TenantIndex {
    /// Its id.
    pub id: TenantId,
    /// Its name in URLs.
    pub slug: Box<str>,
    /// Revision.
    pub rev: u64,
    /// Digest of the revision's content.
    pub digest: [u8; 32],
    /// Suspended tenants have no endpoints; this says why.
    pub suspended: bool,
    /// Seconds for which configuration that nobody confirms is enforced; `None`: as long as the proxy allows.
    pub max_stale_secs: Option<u64>,
    /// Private destinations an operator allowed.
    pub egress: egress::Rules,
    /// By slug.
    pub endpoints: Map<Box<str>, Arc<EndpointIndex>>,
    /// By name, in lower case.
    pub domains: Map<Box<str>, DomainIndex>,
    /// Of access tokens; `None`: there are none.
    pub issuer: Option<IssuerIndex>,
    /// Issuers of others, by id.
    pub external: Map<ExternalIssuerId, Arc<ExternalIssuerIndex>>,
    /// Authorities that issue certificates to callers, by id.
    pub authorities: Map<ClientAuthorityId, Arc<ClientAuthorityIndex>>,
    /// The gateway's origin, without a slash at its end, after which resource identifiers are made; `None` where nobody issues tokens.
    pub gateway: Option<Box<str>>,
    /// With what proxies sign what they assert to upstreams; `None`: they do not.
    pub assertions: Option<AssertionsIndex>,
    /// By id.
    pub upstreams: Map<UpstreamId, Arc<UpstreamIndex>>,
    /// By id.
    pub clients: Map<ClientId, Arc<ClientIndex>>,
    /// By id.
    pub members: Map<MemberId, Arc<MemberIndex>>,
    /// By the key's public part.
    pub keys: Map<[u8; 12], KeyIndex>,
    /// Parsed when first needed.
    pub policies: policy::PolicyIndex,
    /// For what is not a tool.
    pub methods: Box<[MethodSliceIndex]>,
    /// Of the tenant as a whole; `None` when it has none.
    pub limit: Option<Arc<SubjectLimit>>,
    /// What opens and seals for this tenant.
    pub crypto: TenantKeys,
}

/// A host name of the tenant's own.
#[derive(Debug)]
pub struct DomainIndex {
    /// Slug of the endpoint that it stands for; `None`: all of the tenant's.
    pub endpoint: Option<Box<str>>,
    /// What whoever asks for its name is shown; `None`: what the proxy has of its own.
    pub certificate: Option<DomainCertificate>,
}

/// A domain's certificate, with its key.
#[derive(Debug, Clone)]
pub struct DomainCertificate {
    /// What it was made from, to know it again in the next revision: a key takes longer to read than to recognise.
    pub(super) source: [u8; 32],
    /// For handshakes.
    pub shown: Arc<CertifiedKey>,
}

/// A hosted URL.
#[derive(Debug)]
pub struct EndpointIndex {
    /// Its id.
    pub id: EndpointId,
    /// Its name in the URL.
    pub slug: Box<str>,
    /// `Host` values accepted beside the gateway's own, lower case.
    pub hosts: Box<[Box<str>]>,
    /// `Origin` values accepted, exactly.
    pub origins: Box<[Box<str>]>,
    /// Networks of callers; empty allows every address.
    pub allow: Box<[IpNet]>,
    /// Networks refused even if allowed.
    pub deny: Box<[IpNet]>,
    /// JSON-RPC methods switched off.
    pub closed_methods: Box<[Box<str>]>,
    /// By what callers may show who they are.
    pub accepts: Accepts,
    /// Whose tokens of others are accepted, where these are; sorted.
    pub external: Box<[ExternalIssuerId]>,
    /// Whose certificates are accepted, where these are; sorted.
    pub authorities: Box<[ClientAuthorityId]>,
    /// What happens to tools nobody has reviewed.
    pub unknown_tools: UnknownTools,
    /// Cap of a request's body.
    pub max_request_bytes: usize,
    /// Cap of one message of a response.
    pub max_response_bytes: usize,
    /// The servers behind it.
    pub attachments: Box<[AttachmentIndex]>,
    /// Disabled endpoints answer like unknown ones.
    pub enabled: bool,
    /// Its own limit.
    pub limit: Option<Arc<SubjectLimit>>,
}

/// An upstream as one endpoint shows it.
#[derive(Debug)]
pub struct AttachmentIndex {
    /// Its id.
    pub id: AttachmentId,
    /// The server.
    pub upstream: Arc<UpstreamIndex>,
    /// Put before every exposed name.
    pub prefix: Box<str>,
}

/// An MCP server.
#[derive(Debug)]
pub struct UpstreamIndex {
    /// Its id.
    pub id: UpstreamId,
    /// Its name.
    pub slug: Box<str>,
    /// Where it is.
    pub url: Url,
    /// How long a call may take, where its tool says nothing else.
    pub timeouts: Timeouts,
    /// DER certificates trusted instead of the public roots; empty means the public roots.
    pub ca_der: Box<[Vec<u8>]>,
    /// Server name to verify instead of the URL's host.
    pub server_name: Option<Box<str>>,
    /// Credentials to send. One that cannot be opened makes the upstream unusable, not the tenant.
    pub headers: Result<Box<[(HeaderName, HeaderValue)]>, CredentialUnavailable>,
    /// What else it is shown.
    pub auth: UpstreamAuth,
    /// Disabled upstreams are not called.
    pub enabled: bool,
    /// By the upstream's own name.
    pub tools: Tools,
    /// When it is left alone.
    pub breaker: BreakerLimits,
    /// How many calls it is given at once.
    pub concurrency: GateLimits,
    /// SHA-256 of the subject public keys it may have; empty: any.
    pub pins: Box<[[u8; 32]]>,
    /// What workers know of it; kept while the fingerprint is the same.
    pub guard: Arc<Guard>,
    /// Changes with where it is and how it is reached: connections made under another one are not used again.
    pub fingerprint: [u8; 32],
}

/// A catalogue entry.
#[derive(Debug)]
pub struct ToolIndex {
    /// Its id.
    pub id: ToolId,
    /// Whose tool.
    pub upstream: UpstreamId,
    /// The upstream's own name for it.
    pub name: Box<str>,
    /// Whether it may be called.
    pub state: ToolState,
    /// What it does, by the administrator's word.
    pub class: ToolClass,
    /// Of the approved definition.
    pub digest: Option<[u8; 32]>,
    /// The approved definition's raw bytes; empty when none was ever approved.
    pub definition: Bytes,
    /// Policies that can bear on it.
    pub slices: policy::Slices,
    /// Units a call costs, at least 1.
    pub cost: u32,
    /// Capabilities, by the administrator's word.
    pub labels: Box<[Box<str>]>,
    /// Its own limit.
    pub limit: Option<Arc<SubjectLimit>>,
    /// Its own time-outs. Boxed: there are many tools, and most have none.
    pub timeouts: Option<Box<ToolTimeouts>>,
    /// Made when first needed, and boxed: there are many tools, and most are not called for long.
    pub(super) of_use: OnceLock<Box<OfUse>>,
}

/// An OAuth client or machine identity.
#[derive(Debug)]
pub struct ClientIndex {
    /// Its id.
    pub id: ClientId,
    /// Its name.
    pub name: Box<str>,
    /// Disabled clients are refused.
    pub enabled: bool,
    /// Endpoints it may use, sorted.
    pub endpoints: Box<[EndpointId]>,
    /// Its roles.
    pub roles: Box<[RoleId]>,
    /// Its own limit, or the tenant's for every client.
    pub limit: Arc<SubjectLimit>,
    /// Roles of a token's beside its own.
    pub given: Box<[RoleId]>,
    pub(super) principal: OnceLock<Box<policy::Principal>>,
}

/// Policies for one granted action at one upstream.
#[derive(Debug)]
pub struct MethodSliceIndex {
    /// What is done.
    pub action: GrantedAction,
    /// Where.
    pub upstream: UpstreamId,
    /// By subject.
    pub slices: policy::Slices,
}

impl TenantIndex {
    /// The key with this public part.
    #[must_use]
    pub fn key(&self, lookup: &str) -> Option<&KeyIndex> {
        self.keys.get::<[u8; 12]>(lookup.as_bytes().try_into().ok()?)
    }

    /// The client with this id.
    #[must_use]
    pub fn client(&self, id: ClientId) -> Option<&Arc<ClientIndex>> {
        self.clients.get(&id)
    }

    /// The slug of the endpoint that a resource identifier names; `None`: none of this tenant's, or there are no tokens.
    #[must_use]
    pub fn named_by<'a>(&'a self, identifier: &'a str) -> Option<&'a str> {
        let gateway = self.gateway.as_ref()?;
        identifier::endpoint_of(identifier, gateway, &self.slug, |name| {
            Some(match &self.domains.get(name)?.endpoint {
                Some(endpoint) => identifier::Domain::One(endpoint),
                None => identifier::Domain::All,
            })
        })
    }

    /// Whether an endpoint may want a certificate of its callers.
    #[must_use]
    pub fn wants_certificates(&self) -> bool {
        self.endpoints.values().any(|endpoint| {
            endpoint.enabled && (endpoint.accepts.client_certificates || endpoint.accepts.external_tokens)
        })
    }

    /// Whether anybody issues tokens that the endpoint accepts.
    #[must_use]
    pub fn issues_tokens_for(&self, endpoint: &EndpointIndex) -> bool {
        let own = self.issuer.is_some() && endpoint.accepts.access_tokens;
        own || endpoint.external.iter().any(|issuer| endpoint.trusts(*issuer))
    }

    /// Policies for `action` at `upstream`; `None` when no grant gives it to anyone.
    #[must_use]
    pub fn method_slices(&self, action: GrantedAction, upstream: UpstreamId) -> Option<&policy::Slices> {
        let found = self.methods.iter().find(|slice| slice.action == action && slice.upstream == upstream)?;
        Some(&found.slices)
    }

    /// Does the work of [`KeyIndex::verify`] for a key that does not exist, so that its refusal takes as long.
    pub fn dummy_verify(&self, presented: &Presented<'_>) {
        if let Some(keys) = self.crypto.current() {
            keys.hasher.dummy(presented);
        }
    }
}

impl EndpointIndex {
    /// Whether a caller from `address` may knock at all.
    #[must_use]
    pub fn admits(&self, address: IpAddr) -> bool {
        let within = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
        !within(&self.deny) && (self.allow.is_empty() || within(&self.allow))
    }

    /// Whether it accepts tokens of this issuer of others.
    #[must_use]
    pub fn trusts(&self, issuer: ExternalIssuerId) -> bool {
        self.accepts.external_tokens && self.external.binary_search(&issuer).is_ok()
    }
}

impl ClientIndex {
    /// Whether it may use the endpoint.
    #[must_use]
    pub fn may_use(&self, endpoint: EndpointId) -> bool {
        self.endpoints.binary_search(&endpoint).is_ok()
    }

    /// The client as policies see it.
    #[must_use]
    pub fn principal(&self) -> &policy::Principal {
        let roles = || self.roles.iter().chain(&self.given).copied();
        self.principal.get_or_init(|| Box::new(policy::Principal::new(self.id, roles())))
    }

    /// The same client, with roles that somebody gives it beside its own.
    #[must_use]
    pub fn with_roles(&self, roles: &[RoleId]) -> Self {
        Self {
            id: self.id,
            name: self.name.clone(),
            enabled: self.enabled,
            endpoints: self.endpoints.clone(),
            roles: self.roles.clone(),
            limit: Arc::clone(&self.limit),
            given: roles.into(),
            principal: OnceLock::new(),
        }
    }
}

impl fmt::Debug for TenantIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantIndex").field("id", &self.id).field("rev", &self.rev).finish_non_exhaustive()
    }
}
