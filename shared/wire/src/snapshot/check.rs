//! One pass that collects what exists, one that checks each resource against it.

use std::collections::HashSet;

use super::{
    Invalid, SCHEMA,
    body::{self, Known},
    bounds::{
        MAX_BYTES, MAX_DOMAIN_NAME, MAX_DOMAINS, MAX_ENDPOINTS, MAX_RESOURCES, MAX_TOOLS, MAX_UPSTREAMS,
    },
};
use crate::v1::{TenantSnapshot, resource::Body};
use prost::Message as _;

/// Checks a snapshot's bounds, enums, order, uniqueness and references.
///
/// What it does not check, because it needs more than this crate: that networks, URLs, certificates, definitions and policies
/// parse.
///
/// # Errors
/// The first resource at fault.
pub fn validate(snapshot: &TenantSnapshot) -> Result<(), Invalid> {
    let whole = |detail| Err(Invalid::new("snapshot", detail));
    if snapshot.schema != SCHEMA {
        return whole("schema version is not known");
    }
    if !is_id(&snapshot.tenant_id) {
        return whole("tenant id is not 16 bytes");
    }
    if snapshot.rev == 0 {
        return whole("revision is zero");
    }
    if snapshot.resources.len() > MAX_RESOURCES {
        return whole("has too many resources");
    }
    if snapshot.encoded_len() > MAX_BYTES {
        return whole("is larger than 16 MiB");
    }
    if let Some(pair) = snapshot.resources.windows(2).find(|pair| pair[0].id >= pair[1].id) {
        return Err(Invalid::new(&pair[1].id, "is out of order, or its id occurs twice"));
    }
    let known = collect(snapshot)?;
    for resource in &snapshot.resources {
        let checked = resource.body.as_ref().map_or(Ok(()), |found| body::check(found, &known));
        checked.map_err(|detail| Invalid::new(&resource.id, detail))?;
    }
    if known.tenants != 1 || known.methods != 1 {
        return whole("must have `tenant` and `methods` once each");
    }
    Ok(())
}

fn collect(snapshot: &TenantSnapshot) -> Result<Known<'_>, Invalid> {
    let mut known = Known::default();
    let mut slugs = HashSet::new();
    let mut upstream_slugs = HashSet::new();
    let mut lookups = HashSet::new();
    let mut tool_names = HashSet::new();
    let mut attachments = HashSet::new();
    let mut limits = HashSet::new();
    let mut domains = HashSet::new();
    let mut issuers = HashSet::new();
    for resource in &snapshot.resources {
        let Some(found) = &resource.body else {
            return Err(Invalid::new(&resource.id, "has no body, or one of an unknown kind"));
        };
        if !body::names_itself(&resource.id, found) {
            return Err(Invalid::new(&resource.id, "does not carry its own id"));
        }
        let unique = match found {
            Body::Tenant(tenant) => {
                known.tenants += 1;
                known.suspended |= tenant.suspended;
                true
            }
            Body::Methods(_) => {
                known.methods += 1;
                true
            }
            // They name themselves, and ids are unique.
            Body::Issuer(_) | Body::Assertions(_) => true,
            Body::Member(member) => known.members.insert(&member.id),
            Body::Endpoint(endpoint) => {
                slugs.insert(endpoint.slug.as_str())
                    & known.endpoints.insert(&endpoint.id)
                    & endpoint.attachments.iter().all(|attachment| attachments.insert(&attachment.id))
            }
            Body::Upstream(upstream) => {
                upstream_slugs.insert(upstream.slug.as_str()) & known.upstreams.insert(&upstream.id)
            }
            Body::Client(client) => known.clients.insert(&client.id),
            Body::ClientAuthority(authority) => known.authorities.insert(&authority.id),
            Body::ExternalIssuer(issuer) => {
                known.external.insert(&issuer.id) & issuers.insert(issuer.issuer.as_str())
            }
            Body::ApiKey(key) => lookups.insert(key.lookup.as_str()) & known.keys.insert(&key.id),
            Body::Tool(tool) => {
                tool_names.insert((&tool.upstream_id, tool.name.as_str())) & known.tools.insert(&tool.id)
            }
            Body::Policy(policy) => known.policies.insert(policy.id.as_str()),
            Body::Limit(limit) => limits.insert((limit.subject, &limit.subject_id)),
            Body::Domain(domain) => domains.insert(domain.name.as_str()),
        };
        if !unique {
            return Err(Invalid::new(
                &resource.id,
                "repeats an id, slug, name or subject of another resource",
            ));
        }
    }
    let too_many = known.endpoints.len() > MAX_ENDPOINTS
        || known.upstreams.len() > MAX_UPSTREAMS
        || known.tools.len() > MAX_TOOLS
        || domains.len() > MAX_DOMAINS;
    if too_many {
        return Err(Invalid::new("snapshot", "has too many endpoints, upstreams, tools or domains"));
    }
    Ok(known)
}

/// Whether these are the 16 bytes of an id.
pub(super) fn is_id(bytes: &[u8]) -> bool {
    bytes.len() == 16
}

/// Whether a text has the shape of a slug. Reserved words are refused at admission only: a word reserved later must not
/// invalidate what exists.
#[must_use]
pub fn is_slug_shape(text: &str) -> bool {
    !matches!(text.parse::<ids::Slug>(), Err(ids::SlugError::Shape))
}

/// Whether a text is the name of a host that DNS can have (RFC 1123 section 2.1), in its one spelling: lower case, two labels at
/// least, the last of them not a number, as an address would have it.
#[must_use]
pub fn is_domain_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last_is_no_number =
        text.rsplit_once('.').is_some_and(|(_, last)| last.bytes().any(|b| b.is_ascii_lowercase()));
    text.len() <= MAX_DOMAIN_NAME && last_is_no_number && text.split('.').all(label)
}

/// Whether a text is the public part of an API key: 12 base-62 characters.
#[must_use]
pub fn is_lookup(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Whether a credential may be put into this header: a lower-case field name (RFC 9110 section 5.1) that neither frames
/// the message, nor routes it, nor belongs to MCP.
#[must_use]
pub fn is_credential_header(name: &str) -> bool {
    const TAKEN: [&str; 18] = [
        "accept",
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "last-event-id",
        "origin",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "traceparent",
        "tracestate",
    ];
    (1..=128).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b))
        && !TAKEN.contains(&name)
        && !name.starts_with("mcp-")
}
