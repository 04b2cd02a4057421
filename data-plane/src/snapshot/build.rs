//! From a checked snapshot to its index.

mod catalogue;
mod domains;
mod former;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use ids::{Id, Kind, TenantId, UpstreamId, Uuid};
use ipnet::IpNet;
use redis_link::counters::Subject;
use seams::{Monotonic, Timestamp};
use wire::v1::{self, resource::Body};

use catalogue::{Catalogue, slices, tools};
use domains::domains;
use former::{Former, fingerprint};

use super::{
    auth::{AssertionsIndex, UpstreamAuth},
    authorities::authorities,
    decode::DecodeError,
    definitions::Definitions,
    external::external,
    index::{
        Accepts, AttachmentIndex, ClientIndex, EndpointIndex, KeyIndex, Map, MethodSliceIndex, Restrictions,
        TenantIndex, TenantKeys, UpstreamIndex,
    },
    issuer::IssuerIndex,
    left::Left,
    limits::Limits,
    members::members,
};
use crate::upstream::{BreakerLimits, GateLimits, Timeouts};

/// The resources of a snapshot by kind.
#[derive(Default)]
struct Parts {
    tenant: v1::Tenant,
    endpoints: Vec<(String, v1::Endpoint)>,
    upstreams: Vec<(String, v1::Upstream)>,
    clients: Vec<(String, v1::Client)>,
    members: Vec<(String, v1::Member)>,
    keys: Vec<(String, v1::ApiKey)>,
    tools: Vec<(String, v1::Tool)>,
    policies: Vec<v1::Policy>,
    limits: Vec<(String, v1::Limit)>,
    domains: Vec<(String, v1::Domain)>,
    issuer: Option<v1::Issuer>,
    external: Vec<(String, v1::ExternalIssuer)>,
    assertions: Option<v1::Assertions>,
    authorities: Vec<(String, v1::ClientAuthority)>,
    methods: Vec<v1::MethodSlice>,
}

/// A resource that cannot be indexed, while it is being built.
pub(super) struct At<'a>(pub(super) &'a str);

impl At<'_> {
    pub(super) fn fault(&self, field: &'static str) -> DecodeError {
        DecodeError::Index { resource: self.0.to_owned(), field }
    }

    pub(super) fn id<K: Kind>(&self, bytes: &[u8], field: &'static str) -> Result<Id<K>, DecodeError> {
        Uuid::from_slice(bytes).map(Id::from_uuid).map_err(|_| self.fault(field))
    }

    fn network(&self, text: &str, field: &'static str) -> Result<IpNet, DecodeError> {
        text.parse().map_err(|_| self.fault(field))
    }

    fn networks(&self, texts: &[String], field: &'static str) -> Result<Box<[IpNet]>, DecodeError> {
        texts.iter().map(|text| self.network(text, field)).collect()
    }

    fn digest(&self, bytes: &[u8], field: &'static str) -> Result<[u8; 32], DecodeError> {
        bytes.try_into().map_err(|_| self.fault(field))
    }
}

/// What outlives an index.
#[derive(Debug, Default)]
pub(super) struct Lasting {
    pub(super) definitions: Definitions,
    pub(super) left: Left,
}

/// The index of `snapshot`. `previous` is the tenant's index so far: what its limits have counted goes on.
pub(super) fn build(
    tenant: TenantId,
    snapshot: v1::TenantSnapshot,
    digest: [u8; 32],
    keys: &[v1::TenantKey],
    previous: Option<&TenantIndex>,
    lasting: &mut Lasting,
    now: Monotonic,
) -> Result<TenantIndex, DecodeError> {
    let Lasting { definitions, left } = lasting;
    let rev = snapshot.rev;
    let parts = sort(snapshot);
    let crypto = TenantKeys::new(keys)?;
    let policies = policy::PolicyIndex::new(parts.policies.into_iter().map(|each| (each.id, each.text)));
    let limits = Limits::new(tenant, &parts.limits, (previous, &*left), now)?;
    let clients = clients(parts.clients, &limits)?;
    let api_keys = api_keys(parts.keys, &clients, &limits)?;
    let former = Former::of(&parts.upstreams, previous);
    let mut tools = tools(parts.tools, &policies, &limits, definitions, &former)?;
    let mut upstreams = Map::default();
    for (id, upstream) in parts.upstreams {
        let index = self::upstream(&At(&id), tenant, upstream, &crypto, &mut tools, &former)?;
        upstreams.insert(index.id, Arc::new(index));
    }
    let mut endpoints = Map::default();
    for (id, endpoint) in parts.endpoints {
        let index = self::endpoint(&At(&id), endpoint, &upstreams, &limits)?;
        endpoints.insert(index.slug.clone(), Arc::new(index));
    }
    let domains = domains(tenant, parts.domains, &endpoints, &crypto, previous)?;
    let at = At("methods");
    let methods = parts.methods.into_iter().map(|each| {
        let upstream = at.id(&each.upstream_id, "upstream_id")?;
        let action = each.action();
        Ok(MethodSliceIndex {
            action,
            upstream,
            slices: policy::Slices::new(slices(&at, each.slices, &policies)?),
        })
    });
    let methods = methods.collect::<Result<_, DecodeError>>()?;
    let at = At("tenant");
    let egress = parts
        .tenant
        .egress
        .iter()
        .map(|rule| egress::Rule::new(&rule.network, rule.port).map_err(|_| at.fault("egress")));
    let egress = egress.collect::<Result<Vec<_>, DecodeError>>()?;
    let gateways = parts.external.iter().map(|(_, issuer)| &issuer.gateway);
    let gateway = parts.issuer.iter().map(|issuer| &issuer.gateway).chain(gateways).next();
    Ok(TenantIndex {
        id: tenant,
        slug: parts.tenant.slug.into(),
        rev,
        digest,
        suspended: parts.tenant.suspended,
        max_stale_secs: Some(parts.tenant.max_stale_seconds).filter(|secs| *secs > 0).map(u64::from),
        egress: egress::Rules::new(egress),
        endpoints,
        domains,
        gateway: gateway.map(|gateway| gateway.as_str().into()),
        issuer: parts.issuer.as_ref().map(IssuerIndex::new).transpose()?,
        external: external(&parts.external, previous)?,
        assertions: parts
            .assertions
            .as_ref()
            .map(|assertions| AssertionsIndex::new(tenant, assertions, &crypto))
            .transpose()?,
        authorities: authorities(parts.authorities)?,
        upstreams,
        clients,
        members: members(parts.members, &limits)?,
        keys: api_keys,
        policies,
        methods,
        limit: limits.of(Subject::Tenant),
        crypto,
    })
}

fn sort(snapshot: v1::TenantSnapshot) -> Parts {
    let mut parts = Parts::default();
    for v1::Resource { id, body } in snapshot.resources {
        match body {
            Some(Body::Tenant(tenant)) => parts.tenant = tenant,
            Some(Body::Endpoint(endpoint)) => parts.endpoints.push((id, endpoint)),
            Some(Body::Upstream(upstream)) => parts.upstreams.push((id, upstream)),
            Some(Body::Client(client)) => parts.clients.push((id, client)),
            Some(Body::Member(member)) => parts.members.push((id, member)),
            Some(Body::ApiKey(key)) => parts.keys.push((id, key)),
            Some(Body::Tool(tool)) => parts.tools.push((id, tool)),
            Some(Body::Policy(policy)) => parts.policies.push(policy),
            Some(Body::Limit(limit)) => parts.limits.push((id, limit)),
            Some(Body::Domain(domain)) => parts.domains.push((id, domain)),
            Some(Body::Issuer(issuer)) => parts.issuer = Some(issuer),
            Some(Body::ExternalIssuer(issuer)) => parts.external.push((id, issuer)),
            Some(Body::Assertions(assertions)) => parts.assertions = Some(assertions),
            Some(Body::ClientAuthority(authority)) => parts.authorities.push((id, authority)),
            Some(Body::Methods(methods)) => parts.methods = methods.slices,
            // Exact decoding has refused an empty body.
            None => {}
        }
    }
    parts
}

fn endpoint(
    at: &At<'_>,
    endpoint: v1::Endpoint,
    upstreams: &Map<UpstreamId, Arc<UpstreamIndex>>,
    limits: &Limits<'_>,
) -> Result<EndpointIndex, DecodeError> {
    let attachments = endpoint.attachments.iter().map(|attachment| {
        let upstream = at.id(&attachment.upstream_id, "attachments.upstream_id")?;
        Ok(AttachmentIndex {
            id: at.id(&attachment.id, "attachments.id")?,
            upstream: upstreams.get(&upstream).cloned().ok_or_else(|| at.fault("attachments.upstream_id"))?,
            prefix: attachment.prefix.as_str().into(),
        })
    });
    let id = at.id(&endpoint.id, "id")?;
    let external = endpoint.external_issuer_ids.iter().map(|id| at.id(id, "external_issuer_ids"));
    let mut external = external.collect::<Result<Vec<_>, DecodeError>>()?;
    external.sort_unstable();
    let authorities = endpoint.client_authority_ids.iter().map(|id| at.id(id, "client_authority_ids"));
    let mut authorities = authorities.collect::<Result<Vec<_>, DecodeError>>()?;
    authorities.sort_unstable();
    Ok(EndpointIndex {
        id,
        limit: limits.of(Subject::Endpoint(id)),
        hosts: boxed(&endpoint.hosts),
        origins: boxed(&endpoint.origins),
        allow: at.networks(&endpoint.allow, "allow")?,
        deny: at.networks(&endpoint.deny, "deny")?,
        closed_methods: boxed(&endpoint.closed_methods),
        accepts: Accepts::of(&endpoint),
        external: external.into(),
        authorities: authorities.into(),
        unknown_tools: endpoint.unknown_tools(),
        max_request_bytes: endpoint.max_request_bytes as usize,
        max_response_bytes: endpoint.max_response_bytes as usize,
        attachments: attachments.collect::<Result<_, DecodeError>>()?,
        enabled: endpoint.enabled,
        slug: endpoint.slug.as_str().into(),
    })
}

fn upstream(
    at: &At<'_>,
    tenant: TenantId,
    upstream: v1::Upstream,
    keys: &TenantKeys,
    tools: &mut Catalogue,
    former: &Former<'_>,
) -> Result<UpstreamIndex, DecodeError> {
    let id = at.id(&upstream.id, "id")?;
    let millis = |value: u32| Duration::from_millis(u64::from(value));
    let tls = upstream.tls.clone().unwrap_or_default();
    let breaker = upstream.breaker.unwrap_or(v1::Breaker::DEFAULT);
    let concurrency = upstream.concurrency.unwrap_or(v1::UpstreamConcurrency::DEFAULT);
    let concurrency = GateLimits {
        max: concurrency.max,
        queue: concurrency.queue,
        wait: millis(concurrency.wait_ms),
        adaptive: concurrency.adaptive,
    };
    let pins = upstream.pins.iter().map(|pin| pin.as_slice().try_into().map_err(|_| at.fault("pins")));
    Ok(UpstreamIndex {
        id,
        url: upstream.url.parse().map_err(|_| at.fault("url"))?,
        timeouts: Timeouts {
            connect: millis(upstream.connect_timeout_ms),
            first_byte: millis(upstream.first_byte_timeout_ms),
            idle: millis(upstream.idle_timeout_ms),
            total: millis(upstream.total_timeout_ms),
        },
        ca_der: tls.ca_der.into(),
        server_name: (!tls.server_name.is_empty()).then(|| tls.server_name.into()),
        headers: keys.open_headers(tenant, &upstream.headers),
        auth: UpstreamAuth::new((tenant, id), upstream.auth.as_ref(), keys, former.auth(id))?,
        enabled: upstream.enabled,
        tools: tools.remove(&id).unwrap_or_default(),
        breaker: BreakerLimits {
            failures: breaker.failures,
            percent: breaker.failure_percent,
            open: millis(breaker.open_ms),
        },
        concurrency,
        pins: pins.collect::<Result<_, _>>()?,
        guard: former.guard(id, concurrency),
        fingerprint: fingerprint(&upstream),
        slug: upstream.slug.as_str().into(),
    })
}

fn clients(
    clients: Vec<(String, v1::Client)>,
    limits: &Limits<'_>,
) -> Result<Map<ids::ClientId, Arc<ClientIndex>>, DecodeError> {
    let mut out = Map::default();
    for (resource, client) in clients {
        let at = At(&resource);
        let id: ids::ClientId = at.id(&client.id, "id")?;
        let mut endpoints = client
            .endpoint_ids
            .iter()
            .map(|bytes| at.id(bytes, "endpoint_ids"))
            .collect::<Result<Vec<_>, DecodeError>>()?;
        endpoints.sort_unstable();
        let roles = client.role_ids.iter().map(|bytes| at.id(bytes, "role_ids"));
        let index = ClientIndex {
            id,
            enabled: client.enabled,
            endpoints: endpoints.into(),
            roles: roles.collect::<Result<_, DecodeError>>()?,
            limit: limits.client(id),
            given: Box::default(),
            principal: OnceLock::new(),
            name: client.name.as_str().into(),
        };
        out.insert(id, Arc::new(index));
    }
    Ok(out)
}

fn api_keys(
    keys: Vec<(String, v1::ApiKey)>,
    clients: &Map<ids::ClientId, Arc<ClientIndex>>,
    limits: &Limits<'_>,
) -> Result<Map<[u8; 12], KeyIndex>, DecodeError> {
    let mut out = Map::with_capacity_and_hasher(keys.len(), ahash::RandomState::default());
    for (resource, key) in keys {
        let at = At(&resource);
        let lookup: [u8; 12] = key.lookup.as_bytes().try_into().map_err(|_| at.fault("lookup"))?;
        let client =
            clients.get(&at.id(&key.client_id, "client_id")?).ok_or_else(|| at.fault("client_id"))?;
        let id = at.id(&key.id, "id")?;
        let index = KeyIndex {
            id,
            limit: limits.of(Subject::Key(id)),
            client: client.clone(),
            hash: at.digest(&key.hash, "hash")?,
            data_key: at.id(&key.data_key_id, "data_key_id")?,
            not_after: (key.not_after_micros > 0).then(|| Timestamp::from_micros(key.not_after_micros)),
            restrictions: Restrictions::new(at.networks(&key.allow, "allow")?, &key.hours).map(Box::new),
        };
        out.insert(lookup, index);
    }
    Ok(out)
}

fn boxed(texts: &[String]) -> Box<[Box<str>]> {
    texts.iter().map(|text| text.as_str().into()).collect()
}
