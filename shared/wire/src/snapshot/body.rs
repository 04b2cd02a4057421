//! The rules of each kind of resource.

mod external;

use std::collections::HashSet;

use ids::{GrantId, Id, Kind, Scope, Scopes, Uuid};

use super::{
    auth,
    bounds::*,
    check::{is_credential_header, is_domain_name, is_id, is_lookup, is_slug_shape},
};
use crate::v1::{
    self, CredentialKind, GrantedAction, LimitSubject, SignatureAlgorithm, ToolClass, ToolState,
    UnknownTools, resource::Body,
};

/// What a snapshot has, for references.
#[derive(Debug, Default)]
pub(super) struct Known<'a> {
    pub(super) tenants: usize,
    pub(super) methods: usize,
    pub(super) suspended: bool,
    pub(super) endpoints: HashSet<&'a Vec<u8>>,
    pub(super) upstreams: HashSet<&'a Vec<u8>>,
    pub(super) clients: HashSet<&'a Vec<u8>>,
    pub(super) external: HashSet<&'a Vec<u8>>,
    pub(super) authorities: HashSet<&'a Vec<u8>>,
    pub(super) tools: HashSet<&'a Vec<u8>>,
    pub(super) members: HashSet<&'a Vec<u8>>,
    pub(super) keys: HashSet<&'a Vec<u8>>,
    pub(super) policies: HashSet<&'a str>,
}

pub(super) type Check = Result<(), &'static str>;

pub(super) fn need(holds: bool, detail: &'static str) -> Check {
    if holds { Ok(()) } else { Err(detail) }
}

/// Whether a resource's text id is that of its body.
pub(super) fn names_itself(id: &str, body: &Body) -> bool {
    match body {
        Body::Tenant(_) => id == "tenant",
        Body::Methods(_) => id == "methods",
        Body::Issuer(_) => id == "issuer",
        Body::Assertions(_) => id == "assertions",
        Body::Endpoint(endpoint) => named::<ids::kind::Endpoint>(id, &endpoint.id),
        Body::Upstream(upstream) => named::<ids::kind::Upstream>(id, &upstream.id),
        Body::Client(client) => named::<ids::kind::Client>(id, &client.id),
        Body::Member(member) => named::<ids::kind::Member>(id, &member.id),
        Body::ApiKey(key) => named::<ids::kind::Key>(id, &key.id),
        Body::Tool(tool) => named::<ids::kind::Tool>(id, &tool.id),
        Body::Limit(limit) => named::<ids::kind::Limit>(id, &limit.id),
        Body::Domain(domain) => named::<ids::kind::Domain>(id, &domain.id),
        Body::ClientAuthority(authority) => named::<ids::kind::ClientAuthority>(id, &authority.id),
        Body::ExternalIssuer(issuer) => named::<ids::kind::ExternalIssuer>(id, &issuer.id),
        Body::Policy(policy) => id == policy.id && id.parse::<GrantId>().is_ok(),
    }
}

pub(super) fn check(body: &Body, known: &Known<'_>) -> Check {
    match body {
        Body::Tenant(tenant) => check_tenant(tenant),
        Body::Methods(methods) => check_methods(methods, known),
        Body::Endpoint(endpoint) => check_endpoint(endpoint, known),
        Body::Upstream(upstream) => check_upstream(upstream),
        Body::Client(client) => check_client(client, known),
        Body::Member(member) => relations(&member.role_ids),
        Body::ApiKey(key) => check_key(key, known),
        Body::Tool(tool) => check_tool(tool, known),
        Body::Policy(policy) => check_policy(policy),
        Body::Limit(limit) => check_limit(limit, known),
        Body::Domain(domain) => check_domain(domain, known),
        Body::Issuer(issuer) => check_issuer(issuer),
        Body::ExternalIssuer(issuer) => external::check(issuer),
        Body::Assertions(assertions) => auth::check_assertions(assertions),
        Body::ClientAuthority(authority) => external::check_authority(authority),
    }
}

fn named<K: Kind>(text: &str, bytes: &[u8]) -> bool {
    Uuid::from_slice(bytes).is_ok_and(|uuid| text.parse() == Ok(Id::<K>::from_uuid(uuid)))
}

fn check_tenant(tenant: &v1::Tenant) -> Check {
    need(is_slug_shape(&tenant.slug), "slug is malformed")?;
    need(tenant.egress.len() <= MAX_EGRESS, "has too many private destinations")?;
    let rules = tenant.egress.iter().map(|rule| (rule.network.as_str(), rule.port));
    need(sorted(rules), "private destinations are out of order or repeat")?;
    for rule in &tenant.egress {
        need(is_network(&rule.network), "a private destination's network is malformed")?;
        need((1..=65_535).contains(&rule.port), "a private destination's port is malformed")?;
    }
    let stale = tenant.max_stale_seconds;
    need(
        stale == 0 || (MIN_STALE_SECONDS..=MAX_STALE_SECONDS).contains(&stale),
        "how old configuration may be is out of bounds",
    )
}

fn check_endpoint(endpoint: &v1::Endpoint, known: &Known<'_>) -> Check {
    need(!known.suspended, "is an endpoint of a suspended tenant")?;
    need(is_slug_shape(&endpoint.slug), "slug is malformed")?;
    for list in [&endpoint.hosts, &endpoint.origins, &endpoint.closed_methods] {
        texts(list, MAX_ENDPOINT_LIST, MAX_ENDPOINT_TEXT)?;
    }
    for list in [&endpoint.allow, &endpoint.deny] {
        texts(list, MAX_ENDPOINT_LIST, MAX_NETWORK_TEXT)?;
        need(list.iter().all(|network| is_network(network)), "a network is malformed")?;
    }
    need(
        !endpoint.hosts.iter().any(|host| host.bytes().any(|b| b.is_ascii_uppercase())),
        "a host is not in lower case",
    )?;
    need(!endpoint.origins.iter().any(|origin| origin == "*"), "`*` is not an origin")?;
    known_enum(UnknownTools::try_from(endpoint.unknown_tools).ok(), UnknownTools::Unspecified)?;
    for bytes in [endpoint.max_request_bytes, endpoint.max_response_bytes] {
        need((1..=MAX_MESSAGE_BYTES).contains(&bytes), "a size limit is out of bounds")?;
    }
    for kind in &endpoint.accepts {
        known_enum(CredentialKind::try_from(*kind).ok(), CredentialKind::Unspecified)?;
    }
    need(sorted(endpoint.accepts.iter()), "kinds of credentials are out of order or repeat")?;
    let external = &endpoint.external_issuer_ids;
    need(external.len() <= MAX_EXTERNAL_ISSUERS, "names too many external issuers")?;
    need(sorted(external.iter()), "external issuers are out of order or repeat")?;
    need(
        external.iter().all(|id| known.external.contains(id)),
        "refers to an external issuer that is not there",
    )?;
    let authorities = &endpoint.client_authority_ids;
    need(authorities.len() <= MAX_EXTERNAL_ISSUERS, "names too many client authorities")?;
    need(sorted(authorities.iter()), "client authorities are out of order or repeat")?;
    need(
        authorities.iter().all(|id| known.authorities.contains(id)),
        "refers to a client authority that is not there",
    )?;
    need(endpoint.attachments.len() <= MAX_ENDPOINT_LIST, "has too many upstreams")?;
    need(
        sorted(endpoint.attachments.iter().map(|attachment| &attachment.id)),
        "upstreams are out of order or repeat",
    )?;
    let mut prefixes = HashSet::new();
    for attachment in &endpoint.attachments {
        need(is_id(&attachment.id), "an attachment's id is not 16 bytes")?;
        need(known.upstreams.contains(&attachment.upstream_id), "refers to an upstream that is not there")?;
        need(
            attachment.prefix.len() <= MAX_PREFIX && attachment.prefix.bytes().all(|b| b.is_ascii_graphic()),
            "a prefix is malformed",
        )?;
        need(prefixes.insert(&attachment.prefix), "two upstreams have the same prefix")?;
    }
    Ok(())
}

fn check_upstream(upstream: &v1::Upstream) -> Check {
    need(is_slug_shape(&upstream.slug), "slug is malformed")?;
    need(is_http(&upstream.url), "URL is malformed")?;
    for timeout in [
        upstream.connect_timeout_ms,
        upstream.first_byte_timeout_ms,
        upstream.idle_timeout_ms,
        upstream.total_timeout_ms,
    ] {
        need((1..=MAX_TIMEOUT_MS).contains(&timeout), "a time-out is out of bounds")?;
    }
    if let Some(breaker) = &upstream.breaker {
        need(
            breaker.failures <= MAX_BREAKER_FAILURES
                && (1..=100).contains(&breaker.failure_percent)
                && (1..=MAX_BREAKER_OPEN_MS).contains(&breaker.open_ms),
            "a breaker's setting is out of bounds",
        )?;
    }
    if let Some(concurrency) = &upstream.concurrency {
        need(
            concurrency.max <= MAX_UPSTREAM_CONCURRENCY
                && concurrency.queue <= MAX_UPSTREAM_QUEUE
                && (1..=MAX_UPSTREAM_WAIT_MS).contains(&concurrency.wait_ms),
            "a setting of concurrency is out of bounds",
        )?;
    }
    let Some(tls) = &upstream.tls else { return Err("TLS options are missing") };
    need(tls.ca_der.len() <= MAX_CERTIFICATES, "has too many certificates")?;
    need(
        tls.ca_der.iter().all(|der| (1..=MAX_CERTIFICATE).contains(&der.len())),
        "a certificate is malformed",
    )?;
    need(
        tls.server_name.len() <= 253 && tls.server_name.bytes().all(|b| b.is_ascii_graphic()),
        "server name is malformed",
    )?;
    need(upstream.pins.len() <= MAX_PINS, "has too many pins")?;
    need(upstream.pins.iter().all(|pin| pin.len() == 32), "a pin is not a SHA-256")?;
    need(sorted(upstream.pins.iter()), "pins are out of order or repeat")?;
    // Without TLS nothing would look at them.
    need(upstream.pins.is_empty() || upstream.url.starts_with("https://"), "pins need https")?;
    need(upstream.headers.len() <= MAX_HEADERS, "has too many credentials")?;
    need(
        sorted(upstream.headers.iter().map(|header| &header.name)),
        "credentials are out of order or repeat",
    )?;
    for header in &upstream.headers {
        need(
            is_id(&header.credential_id) && is_id(&header.data_key_id),
            "a credential's id is not 16 bytes",
        )?;
        need(is_credential_header(&header.name), "a credential's header is not allowed")?;
        need((1..=MAX_SEALED).contains(&header.sealed.len()), "a sealed credential's size is out of bounds")?;
    }
    auth::check(upstream)
}

fn check_client(client: &v1::Client, known: &Known<'_>) -> Check {
    need((1..=MAX_NAME).contains(&client.name.len()), "name is empty or too long")?;
    relations(&client.endpoint_ids)?;
    relations(&client.role_ids)?;
    need(
        client.endpoint_ids.iter().all(|id| known.endpoints.contains(id)),
        "refers to an endpoint that is not there",
    )
}

fn relations(list: &[Vec<u8>]) -> Check {
    need(list.len() <= MAX_RELATIONS, "has too many endpoints or roles")?;
    need(sorted(list.iter()), "endpoints or roles are out of order or repeat")?;
    need(list.iter().all(|id| is_id(id)), "an endpoint's or role's id is not 16 bytes")
}

fn check_key(key: &v1::ApiKey, known: &Known<'_>) -> Check {
    need(known.clients.contains(&key.client_id), "refers to a client that is not there")?;
    need(is_lookup(&key.lookup), "lookup part is malformed")?;
    need(key.hash.len() == 32, "hash is not 32 bytes")?;
    need(is_id(&key.data_key_id), "data key id is not 16 bytes")?;
    texts(&key.allow, MAX_KEY_NETWORKS, MAX_NETWORK_TEXT)?;
    need(key.hours.len() <= MAX_KEY_HOURS, "has too many times")?;
    let times = key.hours.iter().map(|hours| (hours.from_minute, hours.until_minute, hours.days));
    need(sorted(times), "times are out of order or repeat")?;
    need(key.hours.iter().all(is_time), "a time is out of bounds")
}

fn is_time(hours: &v1::KeyHours) -> bool {
    (1..=127).contains(&hours.days)
        && hours.from_minute < hours.until_minute
        && hours.until_minute <= MINUTES_OF_A_DAY
}

fn check_tool(tool: &v1::Tool, known: &Known<'_>) -> Check {
    need(known.upstreams.contains(&tool.upstream_id), "refers to an upstream that is not there")?;
    need((1..=MAX_NAME).contains(&tool.name.len()), "name is empty or too long")?;
    let state = known_enum(ToolState::try_from(tool.state).ok(), ToolState::Unspecified)?;
    known_enum(ToolClass::try_from(tool.class).ok(), ToolClass::Unspecified)?;
    need(matches!(tool.digest.len(), 0 | 32), "digest is not 32 bytes")?;
    need(
        tool.digest.is_empty() == tool.definition.is_empty(),
        "has a digest without a definition, or the reverse",
    )?;
    need(tool.definition.len() <= MAX_DEFINITION, "definition is too large")?;
    need(state != ToolState::Approved || !tool.digest.is_empty(), "is approved without a definition")?;
    need((1..=MAX_UNITS).contains(&tool.cost), "cost is out of bounds")?;
    if let Some(timeouts) = &tool.timeouts {
        let v1::Timeouts { connect_ms, first_byte_ms, idle_ms, total_ms } = *timeouts;
        let longest = [connect_ms, first_byte_ms, idle_ms, total_ms].into_iter().max().unwrap_or_default();
        need((1..=MAX_TIMEOUT_MS).contains(&longest), "a time-out is out of bounds")?;
    }
    texts(&tool.labels, MAX_LABELS, MAX_LABEL)?;
    slices(&tool.slices, known)
}

fn check_methods(methods: &v1::MethodSlices, known: &Known<'_>) -> Check {
    let keys = methods.slices.iter().map(|slice| (slice.action, &slice.upstream_id));
    need(sorted(keys), "slices are out of order or repeat")?;
    for slice in &methods.slices {
        known_enum(GrantedAction::try_from(slice.action).ok(), GrantedAction::Unspecified)?;
        need(known.upstreams.contains(&slice.upstream_id), "refers to an upstream that is not there")?;
        slices(&slice.slices, known)?;
    }
    Ok(())
}

fn check_policy(policy: &v1::Policy) -> Check {
    need((1..=MAX_POLICY_TEXT).contains(&policy.text.len()), "text is empty or too large")
}

fn check_limit(limit: &v1::Limit, known: &Known<'_>) -> Check {
    let subject = known_enum(LimitSubject::try_from(limit.subject).ok(), LimitSubject::Unspecified)?;
    let id = &limit.subject_id;
    let subject_exists = match subject {
        LimitSubject::Unspecified => false,
        LimitSubject::Tenant => id.is_empty(),
        LimitSubject::Client => id.is_empty() || known.clients.contains(id),
        LimitSubject::Member => id.is_empty() || known.members.contains(id),
        LimitSubject::Tool => known.tools.contains(id),
        LimitSubject::Endpoint => known.endpoints.contains(id),
        LimitSubject::Key => known.keys.contains(id),
    };
    need(subject_exists, "is of something that is not there")?;
    need(limit.per_minute <= MAX_UNITS, "units a minute are out of bounds")?;
    need((1..=MAX_UNITS).contains(&limit.burst), "burst is out of bounds")?;
    need(limit.per_day.max(limit.per_month) <= MAX_BUDGET, "a budget is out of bounds")?;
    need(limit.concurrency <= MAX_CONCURRENCY, "concurrency is out of bounds")
}

fn check_domain(domain: &v1::Domain, known: &Known<'_>) -> Check {
    need(!known.suspended, "is a domain of a suspended tenant")?;
    need(is_domain_name(&domain.name), "name is not a host name in lower case")?;
    need(
        domain.endpoint_id.is_empty() || known.endpoints.contains(&domain.endpoint_id),
        "refers to an endpoint that is not there",
    )?;
    let Some(certificate) = &domain.certificate else { return Ok(()) };
    need((1..=MAX_CHAIN).contains(&certificate.chain.len()), "has no certificate, or too many")?;
    need(
        certificate.chain.iter().all(|der| (1..=MAX_CERTIFICATE).contains(&der.len())),
        "a certificate is malformed",
    )?;
    let bytes: usize = certificate.chain.iter().map(|der| der.len()).sum();
    need(bytes <= MAX_CHAIN_BYTES, "a certificate's chain is too long")?;
    need(is_id(&certificate.data_key_id), "data key id is not 16 bytes")?;
    need((1..=MAX_SEALED).contains(&certificate.sealed.len()), "a sealed key's size is out of bounds")
}

fn check_issuer(issuer: &v1::Issuer) -> Check {
    for url in [&issuer.url, &issuer.gateway] {
        need(is_http(url), "a URL is malformed")?;
    }
    need(is_origin(&issuer.gateway), "the gateway is more than an origin")?;
    need(issuer.baseline_scopes.len() <= Scopes::MOST, "has too many scopes")?;
    need(sorted(issuer.baseline_scopes.iter()), "scopes are out of order or repeat")?;
    need(issuer.baseline_scopes.iter().all(|scope| scope.parse::<Scope>().is_ok()), "a scope is malformed")?;
    need(issuer.keys.len() <= MAX_ISSUER_KEYS, "has too many keys")?;
    need(sorted(issuer.keys.iter().map(|key| &key.id)), "keys are out of order or repeat")?;
    for key in &issuer.keys {
        need(is_id(&key.id), "a key's id is not 16 bytes")?;
        let algorithm = SignatureAlgorithm::try_from(key.algorithm).ok();
        let size = match known_enum(algorithm, SignatureAlgorithm::Unspecified)? {
            SignatureAlgorithm::Rs256 => 256..=MAX_PUBLIC_KEY,
            SignatureAlgorithm::Es256 => 65..=65,
            _ => 32..=32,
        };
        need(size.contains(&key.public_key.len()), "a public key's size is out of bounds")?;
    }
    Ok(())
}

fn is_origin(text: &str) -> bool {
    text.split_once("://")
        .is_some_and(|(_, rest)| !rest.is_empty() && !rest.contains(['/', '?', '#', '@', '"', '\\']))
}

fn slices(slices: &[v1::Slice], known: &Known<'_>) -> Check {
    need(sorted(slices.iter().map(|slice| &slice.subject_id)), "slices are out of order or repeat")?;
    for slice in slices {
        need(is_id(&slice.subject_id), "a slice's subject is not 16 bytes")?;
        need(!slice.policies.is_empty(), "a slice is empty")?;
        need(sorted(slice.policies.iter()), "a slice's policies are out of order or repeat")?;
        let there = slice.policies.iter().all(|id| known.policies.contains(id.as_str()));
        need(there, "refers to a policy that is not there")?;
    }
    Ok(())
}

fn known_enum<E: PartialEq + Copy>(value: Option<E>, unspecified: E) -> Result<E, &'static str> {
    value.filter(|value| *value != unspecified).ok_or("has an unknown enum number")
}

fn texts(list: &[String], most: usize, longest: usize) -> Check {
    need(list.len() <= most, "a list is too long")?;
    need(
        list.iter().all(|text| (1..=longest).contains(&text.len())),
        "a list has an empty or too long text",
    )?;
    need(sorted(list.iter()), "a list is out of order or repeats")
}

/// Strictly: no value twice.
pub(super) fn sorted<T: PartialOrd>(values: impl Iterator<Item = T>) -> bool {
    values.is_sorted_by(|a, b| a < b)
}

/// What it begins with, and its characters; whoever uses a URL parses it.
pub(super) fn is_http(url: &str) -> bool {
    (url.starts_with("https://") || url.starts_with("http://"))
        && url.len() <= MAX_URL
        && url.bytes().all(|b| b.is_ascii_graphic())
}

/// Only the characters of CIDR text; whoever uses a network parses it.
fn is_network(text: &str) -> bool {
    (1..=MAX_NETWORK_TEXT).contains(&text.len())
        && text.contains('/')
        && text.bytes().all(|b| b.is_ascii_hexdigit() || b"./:".contains(&b))
}
