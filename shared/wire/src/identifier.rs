//! Resource identifiers of endpoints (RFC 8707 section 2, RFC 9728 section 1.2): what a token's `aud` names.
//!
//! An endpoint is called by its URL, in each of the forms under which it is served: `{gateway}/{tenant}/{endpoint}/mcp`, the tenant's
//! own host `{tenant}.{gateway's host}/{endpoint}/mcp`, and `/{endpoint}/mcp` or `/mcp` at domains that the tenant has proven.
//! Identifiers are compared as they are spelt: scheme and host in lower case, no default port, no slash at the end.

/// What a domain of the tenant stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain<'a> {
    /// One endpoint, by its slug.
    One(&'a str),
    /// All of them.
    All,
}

/// The slug of the endpoint that `identifier` names at `gateway` (an origin, without a slash at its end); `None`: none of the tenant's.
/// Whether there is such an endpoint is not looked at. `domain` knows the tenant's domains by their names.
pub fn endpoint_of<'a>(
    identifier: &'a str,
    gateway: &str,
    tenant: &str,
    domain: impl FnOnce(&str) -> Option<Domain<'a>>,
) -> Option<&'a str> {
    let (scheme, own) = gateway.split_once("://")?;
    let rest = identifier.strip_prefix(scheme)?.strip_prefix("://")?;
    let (authority, path) = rest.split_at_checked(rest.find('/')?)?;
    if authority == own {
        return only_endpoint(path.strip_prefix('/')?.strip_prefix(tenant)?);
    }
    if let Some(before) = authority.strip_suffix(own).and_then(|before| before.strip_suffix('.')) {
        return only_endpoint(path).filter(|_| before == tenant);
    }
    let port = own.rfind(':').filter(|colon| !own[*colon..].contains(']')).map_or("", |colon| &own[colon..]);
    let name = authority.strip_suffix(port).filter(|name| !name.contains(':'))?;
    match domain(name)? {
        Domain::One(endpoint) => (path == "/mcp").then_some(endpoint),
        Domain::All => only_endpoint(path),
    }
}

/// `/{endpoint}/mcp`, byte for byte.
fn only_endpoint(path: &str) -> Option<&str> {
    let endpoint = path.strip_prefix('/')?.strip_suffix("/mcp")?;
    (!endpoint.is_empty() && !endpoint.contains('/')).then_some(endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named<'a>(identifier: &'a str, gateway: &str) -> Option<&'a str> {
        endpoint_of(identifier, gateway, "acme", |name| match name {
            "all.acme.example" => Some(Domain::All),
            "one.acme.example" => Some(Domain::One("tools")),
            _ => None,
        })
    }

    #[test]
    fn an_endpoint_is_named_by_each_url_under_which_it_is_served() {
        for (gateway, port) in [("https://gw.example.com", ""), ("https://gw.example.com:8443", ":8443")] {
            for identifier in [
                format!("https://gw.example.com{port}/acme/tools/mcp"),
                format!("https://acme.gw.example.com{port}/tools/mcp"),
                format!("https://all.acme.example{port}/tools/mcp"),
                format!("https://one.acme.example{port}/mcp"),
            ] {
                assert_eq!(named(&identifier, gateway), Some("tools"), "{identifier}");
            }
        }
        // A name that ends like the gateway's is not below it.
        let ending = "https://example";
        assert_eq!(named("https://one.acme.example/mcp", ending), None);
        assert_eq!(named("https://all.acme.example/tools/mcp", "https://cme.example"), Some("tools"));
        assert_eq!(named("http://[::1]/acme/tools/mcp", "http://[::1]"), Some("tools"));
        assert_eq!(named("http://127.0.0.1:80/acme/tools/mcp", "http://127.0.0.1:80"), Some("tools"));
    }

    #[test]
    fn whatever_is_spelt_otherwise_names_nothing() {
        for identifier in [
            "",
            "https://gw.example.com",
            "https://gw.example.com/",
            "https://gw.example.com/acme/tools",
            "https://gw.example.com/acme/tools/mcp/",
            "https://gw.example.com/acme/tools/mcp#x",
            "https://gw.example.com/acme/tools/mcp?x",
            "https://gw.example.com//acme/tools/mcp",
            "https://gw.example.com/acme//mcp",
            "https://gw.example.com/acmes/tools/mcp",
            "https://gw.example.com/other/tools/mcp",
            "https://gw.example.com/tools/mcp",
            "http://gw.example.com/acme/tools/mcp",
            "HTTPS://gw.example.com/acme/tools/mcp",
            "https://GW.example.com/acme/tools/mcp",
            "https://gw.example.com:443/acme/tools/mcp",
            "https://user@gw.example.com/acme/tools/mcp",
            "https://gw.example.com.evil.example/acme/tools/mcp",
            "https://other.gw.example.com/tools/mcp",
            "https://x.acme.gw.example.com/tools/mcp",
            "https://acmegw.example.com/tools/mcp",
            "https://acme.gw.example.com/acme/tools/mcp",
            "https://all.acme.example/mcp",
            "https://all.acme.example:8443/tools/mcp",
            "https://one.acme.example/tools/mcp",
            "https://evil.example/tools/mcp",
        ] {
            assert_eq!(named(identifier, "https://gw.example.com"), None, "{identifier}");
        }
        assert_eq!(named("https://all.acme.example/tools/mcp", "https://gw.example.com:8443"), None);
    }
}
