//! Row 2, endpoint: exact (host, path) look-up. Nothing has a meaning before it.
//!
//! At the gateway's own names it is `/{tenant}/{endpoint}/mcp`; at `{tenant}.` and one of these, and at a domain that a tenant
//! has proven to be its own, `/{endpoint}/mcp`; at a domain that stands for one endpoint, `/mcp`.
//!
//! Before each of these stands `/.well-known/oauth-protected-resource` where its metadata is asked for (RFC 9728 section 3.1).
//!
//! An unknown host, tenant or endpoint, an endpoint that is switched off and a path that is none of ours all give the
//! same 404, so that nobody learns which tenants exist.

use std::sync::Arc;

use limits::Rate;

use super::Exchange;
use crate::{
    refuse::Refusal,
    snapshot::{
        fleet::{Fleet, Holder},
        global::Global,
        index::{EndpointIndex, TenantIndex},
    },
};

/// Where a protected resource's metadata is, before the resource's own path.
pub(crate) const METADATA: &str = "/.well-known/oauth-protected-resource";

/// Host names under which this gateway is reached.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts {
    /// Lower case, with port where it is not the default.
    names: Box<[Box<str>]>,
    /// Whether every loopback name is accepted, whatever the port: on a listener that only this machine can reach. A
    /// rebinding page cannot use such a name, and port mappings and test proxies change the port.
    loopback: bool,
}

impl Hosts {
    pub(crate) fn new<'a>(names: impl IntoIterator<Item = &'a str>, loopback: bool) -> Self {
        Self { names: names.into_iter().map(|name| name.to_ascii_lowercase().into()).collect(), loopback }
    }

    fn are_own(&self, host: &str) -> bool {
        self.names.iter().any(|known| known.eq_ignore_ascii_case(host))
            || (self.loopback && is_loopback_name(host))
    }

    /// What stands before one of the names, as in `acme.gateway.example`.
    fn tenant<'h>(&self, host: &'h str) -> Option<&'h str> {
        self.names.iter().find_map(|known| {
            let tenant = host.len().checked_sub(known.len()).filter(|at| host.is_char_boundary(*at));
            let (tenant, rest) = host.split_at_checked(tenant?)?;
            rest.eq_ignore_ascii_case(known).then_some(tenant)?.strip_suffix('.')
        })
    }
}

fn is_loopback_name(host: &str) -> bool {
    ["localhost", "127.0.0.1", "[::1]"].into_iter().any(|name| {
        let port = host
            .get(..name.len())
            .filter(|start| start.eq_ignore_ascii_case(name))
            .map(|_| &host[name.len()..]);
        port.is_some_and(|port| {
            port.is_empty()
                || port.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
        })
    })
}

/// Evidence: the endpoint, and hence the tenant, that the request is for.
#[derive(Debug, Clone)]
pub(crate) struct EndpointEvidence {
    tenant: Arc<TenantIndex>,
    endpoint: Arc<EndpointIndex>,
    /// What the fleet's configuration says at this moment.
    global: Global,
    metadata: bool,
}

impl EndpointEvidence {
    pub(crate) fn tenant(&self) -> &Arc<TenantIndex> {
        &self.tenant
    }

    pub(crate) fn endpoint(&self) -> &Arc<EndpointIndex> {
        &self.endpoint
    }

    /// Whether the request is for the endpoint's metadata instead of the endpoint.
    pub(crate) const fn is_for_metadata(&self) -> bool {
        self.metadata
    }

    /// Cap of the request's body: the tenant's, or the fleet's if that is less.
    pub(crate) fn max_request_bytes(&self) -> usize {
        let own = self.endpoint.max_request_bytes;
        self.global.max_request_bytes.map_or(own, |most| own.min(most))
    }

    /// Cap of one message of the response: the tenant's, or the fleet's if that is less.
    pub(crate) fn max_response_bytes(&self) -> usize {
        let own = self.endpoint.max_response_bytes;
        self.global.max_response_bytes.map_or(own, |most| own.min(most))
    }

    /// How much an address may, where that is not as the proxy was started.
    pub(crate) const fn address_rate(&self) -> Option<Rate> {
        self.global.address
    }
}

/// Finds the endpoint.
pub(crate) fn check(exchange: &Exchange, fleet: &Fleet, hosts: &Hosts) -> Result<EndpointEvidence, Refusal> {
    let host = exchange.host()?;
    let path = exchange.head().uri.path();
    let (path, metadata) = path.strip_prefix(METADATA).map_or((path, false), |path| (path, true));
    let (tenant, endpoint) = find(fleet, hosts, host, path).ok_or(Refusal::EndpointNotFound)?;
    let has_metadata = tenant.issues_tokens_for(endpoint);
    if tenant.suspended || !endpoint.enabled || (metadata && !has_metadata) {
        return Err(Refusal::EndpointNotFound);
    }
    Ok(EndpointEvidence {
        tenant: Arc::clone(tenant),
        endpoint: Arc::clone(endpoint),
        global: *fleet.global(),
        metadata,
    })
}

type Found<'a> = (&'a Arc<TenantIndex>, &'a Arc<EndpointIndex>);

/// By the host first: each serves what it stands for, and nothing else. So nobody's endpoint is reached under a name that is
/// another tenant's, whatever hosts it lists.
fn find<'a>(fleet: &'a Fleet, hosts: &Hosts, host: &str, path: &str) -> Option<Found<'a>> {
    let by_path = || {
        let (tenant, endpoint) = split_path(path)?;
        fleet.endpoint(tenant, endpoint)
    };
    // The same name to DNS and TLS as without it, and another one to whoever compares: nobody's.
    if without_port(host).ends_with('.') {
        return None;
    }
    if hosts.are_own(host) {
        return by_path();
    }
    if let Some(tenant) = hosts.tenant(host) {
        // Slugs are in lower case, names of hosts in any.
        return fleet.endpoint(&tenant.to_ascii_lowercase(), only_endpoint(path)?);
    }
    match fleet.domain(&without_port(host).to_ascii_lowercase()) {
        Holder::One(tenant, domain) => {
            let endpoint = match &domain.endpoint {
                Some(endpoint) => (path == "/mcp").then_some(&**endpoint)?,
                None => only_endpoint(path)?,
            };
            Some((tenant, tenant.endpoints.get(endpoint)?))
        }
        Holder::Contested => None,
        Holder::Nobody => by_path()
            .filter(|(_, endpoint)| endpoint.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))),
    }
}

/// A domain is its owner's at every port; which one is open is the operator's business.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// `/{tenant}/{endpoint}/mcp`, byte for byte: no decoding, no trailing slash, no dot segments.
fn split_path(path: &str) -> Option<(&str, &str)> {
    let (tenant, rest) = path.strip_prefix('/')?.split_once('/')?;
    let endpoint = rest.strip_suffix("/mcp")?;
    (!tenant.is_empty() && !endpoint.is_empty() && !endpoint.contains('/')).then_some((tenant, endpoint))
}

/// `/{endpoint}/mcp`, the same, where the host says which tenant.
fn only_endpoint(path: &str) -> Option<&str> {
    let endpoint = path.strip_prefix('/')?.strip_suffix("/mcp")?;
    (!endpoint.is_empty() && !endpoint.contains('/')).then_some(endpoint)
}

#[cfg(test)]
mod tests {
    use http::Request;
    use wire::v1::{Domain, resource::Body};

    use super::*;
    use crate::testing::{self, World};

    fn look_up(request: http::request::Builder, hosts: &Hosts) -> Result<EndpointEvidence, Refusal> {
        check(&testing::raw_exchange(request), &testing::World::new().fleet(), hosts)
    }

    fn gateway() -> Hosts {
        Hosts::new(["gw.example.com"], false)
    }

    #[test]
    fn the_exact_path_under_a_known_host_is_found() {
        let found =
            look_up(Request::post("/tenant-1/tools/mcp").header("host", "GW.example.com"), &gateway())
                .unwrap();
        assert_eq!(&*found.tenant().slug, "tenant-1");
        assert_eq!(&*found.endpoint().slug, "tools");
    }

    #[test]
    fn everything_unknown_is_the_same_refusal() {
        for (path, host) in [
            ("/tenant-1/tools/mcp", "evil.example"),
            ("/other/tools/mcp", "gw.example.com"),
            ("/tenant-1/other/mcp", "gw.example.com"),
            ("/tenant-1/tools/mcp/", "gw.example.com"),
            ("/tenant-1/tools", "gw.example.com"),
            ("/tenant-1//tools/mcp", "gw.example.com"),
            ("/TENANT-1/tools/mcp", "gw.example.com"),
            ("/tenant-1/%74ools/mcp", "gw.example.com"),
            ("/", "gw.example.com"),
            ("/livez", "gw.example.com"),
        ] {
            let refused = look_up(Request::post(path).header("host", host), &gateway());
            assert!(matches!(refused, Err(Refusal::EndpointNotFound)), "{path} at {host}");
        }
    }

    #[test]
    fn a_host_that_can_be_read_in_two_ways_is_refused() {
        let path = "/tenant-1/tools/mcp";
        for request in [
            Request::post(path),
            Request::post(path).header("host", "gw.example.com").header("host", "gw.example.com"),
            Request::post(path).header("host", "user@gw.example.com"),
            Request::post(path).header("host", "gw example com"),
            Request::post("http://other.example/tenant-1/tools/mcp").header("host", "gw.example.com"),
        ] {
            assert!(matches!(look_up(request, &gateway()), Err(Refusal::HostRefused)));
        }
    }

    #[test]
    fn loopback_names_count_on_a_loopback_listener_only() {
        let request = || Request::post("/tenant-1/tools/mcp").header("host", "localhost:3911");
        assert!(look_up(request(), &Hosts::new([], true)).is_ok());
        assert!(look_up(request(), &gateway()).is_err());
        for outside in
            ["evil.example:3911", "localhost.evil.example", "localhost:1.evil.example", "127.0.0.1evil"]
        {
            let request = Request::post("/tenant-1/tools/mcp").header("host", outside);
            assert!(look_up(request, &Hosts::new([], true)).is_err(), "{outside}");
        }
    }

    /// The sample's tenant with these domains, and where each request leads.
    fn with_domains(domains: &[(&str, bool)]) -> World {
        let mut world = World::new();
        let endpoint = world.tenant().endpoints["tools"].id.uuid().as_bytes().to_vec();
        world.add(domains.iter().enumerate().map(|(n, (name, of_one))| {
            let id = ids::DomainId::from_parts(1, [n as u8; 10]);
            let endpoint_id = if *of_one { endpoint.clone() } else { Vec::new() };
            let domain = Domain {
                id: id.uuid().as_bytes().to_vec(),
                name: (*name).to_owned(),
                endpoint_id,
                certificate: None,
            };
            (id.to_string(), Body::Domain(domain))
        }));
        world
    }

    fn found(world: &World, host: &str, path: &str) -> bool {
        let exchange = testing::raw_exchange(Request::post(path).header("host", host));
        check(&exchange, &world.fleet(), &gateway()).is_ok()
    }

    #[test]
    fn a_host_stands_for_what_it_stands_for_and_nothing_else() {
        let world = with_domains(&[("mcp.acme.example", false), ("one.acme.example", true)]);
        for (host, path) in [
            ("gw.example.com", "/tenant-1/tools/mcp"),
            ("tenant-1.gw.example.com", "/tools/mcp"),
            ("TENANT-1.GW.example.com", "/tools/mcp"),
            ("mcp.acme.example", "/tools/mcp"),
            ("MCP.Acme.Example:8443", "/tools/mcp"),
            ("one.acme.example", "/mcp"),
            ("one.acme.example:443", "/mcp"),
        ] {
            assert!(found(&world, host, path), "{path} at {host}");
        }
        for (host, path) in [
            ("gw.example.com", "/tools/mcp"),
            ("gw.example.com", "/mcp"),
            ("tenant-1.gw.example.com", "/tenant-1/tools/mcp"),
            ("tenant-1.gw.example.com", "/mcp"),
            ("tenant-2.gw.example.com", "/tools/mcp"),
            ("x.tenant-1.gw.example.com", "/tools/mcp"),
            (".gw.example.com", "/tools/mcp"),
            ("tenant-1gw.example.com", "/tools/mcp"),
            ("mcp.acme.example", "/tenant-1/tools/mcp"),
            ("mcp.acme.example", "/mcp"),
            ("mcp.acme.example", "/other/mcp"),
            ("mcp.acme.example", "/tools/mcp/"),
            ("mcp.acme.example.", "/tools/mcp"),
            ("x.mcp.acme.example", "/tools/mcp"),
            ("acme.example", "/tools/mcp"),
            ("one.acme.example", "/tools/mcp"),
            ("one.acme.example", "/tenant-1/tools/mcp"),
        ] {
            assert!(!found(&world, host, path), "{path} at {host}");
        }
    }

    /// A name that an endpoint lists beside the gateway's own is no way in under a domain: that is somebody's alone.
    #[test]
    fn hosts_of_an_endpoint_do_not_reach_into_a_domain() {
        let list = |world: &mut World| {
            world.edit(|body| {
                if let Some(endpoint) = testing::endpoint_of(body) {
                    endpoint.hosts = vec!["mcp.acme.example".to_owned()];
                }
            });
        };
        let mut without = World::new();
        list(&mut without);
        assert!(found(&without, "mcp.acme.example", "/tenant-1/tools/mcp"));
        let mut with = with_domains(&[("mcp.acme.example", false)]);
        list(&mut with);
        assert!(!found(&with, "mcp.acme.example", "/tenant-1/tools/mcp"));
        with.edit(|body| {
            if let Some(endpoint) = testing::endpoint_of(body) {
                endpoint.hosts.extend(["mcp.acme.example.", "mcp.acme.example.:8443"].map(str::to_owned));
            }
        });
        for host in ["mcp.acme.example.", "mcp.acme.example.:8443"] {
            assert!(!found(&with, host, "/tenant-1/tools/mcp"), "{host}");
        }
        assert!(found(&with, "mcp.acme.example", "/tools/mcp"));
    }
}
