//! Row 2, endpoint: exact (host, path) look-up. Nothing has a meaning before it.
//!
//! An unknown host, tenant or endpoint, an endpoint that is switched off and a path that is none of ours all give the
//! same 404, so that nobody learns which tenants exist.

use std::sync::Arc;

use limits::Rate;

use super::Exchange;
use crate::{
    refuse::Refusal,
    snapshot::{
        global::Global,
        index::{EndpointIndex, TenantIndex},
        store::Fleet,
    },
};

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

    fn accept(&self, host: &str, endpoint: &EndpointIndex) -> bool {
        self.names.iter().chain(endpoint.hosts.iter()).any(|known| known.eq_ignore_ascii_case(host))
            || (self.loopback && is_loopback_name(host))
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
}

impl EndpointEvidence {
    pub(crate) fn tenant(&self) -> &Arc<TenantIndex> {
        &self.tenant
    }

    pub(crate) fn endpoint(&self) -> &Arc<EndpointIndex> {
        &self.endpoint
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
    let (tenant_slug, endpoint_slug) =
        split_path(exchange.head().uri.path()).ok_or(Refusal::EndpointNotFound)?;
    let (tenant, endpoint) = fleet.endpoint(tenant_slug, endpoint_slug).ok_or(Refusal::EndpointNotFound)?;
    if tenant.suspended || !endpoint.enabled || !hosts.accept(host, endpoint) {
        return Err(Refusal::EndpointNotFound);
    }
    Ok(EndpointEvidence {
        tenant: Arc::clone(tenant),
        endpoint: Arc::clone(endpoint),
        global: *fleet.global(),
    })
}

/// `/{tenant}/{endpoint}/mcp`, byte for byte: no decoding, no trailing slash, no dot segments.
fn split_path(path: &str) -> Option<(&str, &str)> {
    let (tenant, rest) = path.strip_prefix('/')?.split_once('/')?;
    let endpoint = rest.strip_suffix("/mcp")?;
    (!tenant.is_empty() && !endpoint.is_empty() && !endpoint.contains('/')).then_some((tenant, endpoint))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::testing;

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
}
