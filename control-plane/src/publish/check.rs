//! Texts that a proxy will parse: whether it can, and their one spelling.

use ipnet::IpNet;
use std::net::IpAddr;
use url::Url;

type Checked<T = ()> = Result<T, &'static str>;

/// The canonical CIDR text of a network; an address alone is its single-address network.
pub(crate) fn network(text: &str) -> Checked<String> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse::<IpNet>().map_err(|_| "is not an address or a network in CIDR form")?,
    };
    if let IpNet::V6(v6) = network
        && v6.addr().to_ipv4_mapped().is_some()
    {
        return Err("is an IPv4 network in IPv6 form; write it as IPv4");
    }
    Ok(network.trunc().to_string())
}

/// A `Host` value, lower case: a name or address, and a port where there is one.
pub(super) fn host(text: &str) -> Checked<String> {
    let lower = text.to_ascii_lowercase();
    let as_http = Url::parse(&format!("http://{lower}/")).ok();
    // 80 is dropped from an http URL and 443 from an https one: either keeps what the other drops.
    let as_https = Url::parse(&format!("https://{lower}/")).ok();
    let same = [as_http, as_https].into_iter().flatten().any(|url| {
        let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
        authority == lower && url.username().is_empty() && url.password().is_none()
    });
    if same { Ok(lower) } else { Err("is not a host name or address with an optional port") }
}

/// An exact origin (RFC 6454 section 6.2).
pub(super) fn origin(text: &str) -> Checked {
    let url = Url::parse(text).map_err(|_| "is not an origin")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with http:// or https://");
    }
    if url.origin().ascii_serialization() == text {
        Ok(())
    } else {
        Err(
            "must be scheme, host and port only, in lower case, without the scheme's own port and without a path",
        )
    }
}

/// An upstream's URL.
pub(super) fn upstream_url(text: &str) -> Checked {
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with http:// or https://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not carry a user name or password; store a header credential instead");
    }
    if url.fragment().is_some() {
        return Err("must not have a fragment");
    }
    if url.host_str().is_none_or(str::is_empty) { Err("has no host") } else { Ok(()) }
}

/// A method that an endpoint may switch off: one that exists and is not decided by grant.
pub(super) fn closable_method(text: &str) -> Checked {
    match mcp::Method::parse(text).map(mcp::Method::decided_by) {
        Some(mcp::Decide::MethodSet) => Ok(()),
        Some(mcp::Decide::Grant(_)) => Err("is decided by grants, not by the endpoint"),
        Some(mcp::Decide::Lifecycle) => Err("belongs to the protocol's lifecycle and cannot be switched off"),
        None => Err("is not a method of MCP"),
    }
}

/// A DER certificate.
pub(super) fn certificate(der: &[u8]) -> Checked {
    match x509_parser::parse_x509_certificate(der) {
        Ok(([], _)) => Ok(()),
        _ => Err("is not a DER certificate"),
    }
}

/// A name to verify in a certificate.
pub(super) fn server_name(text: &str) -> Checked {
    rustls_pki_types::ServerName::try_from(text).map(drop).map_err(|_| "is not a DNS name or an address")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_one_spelling() {
        for (text, canonical) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("127.0.0.1", "127.0.0.1/32"),
            ("::1", "::1/128"),
            ("2001:DB8::1/32", "2001:db8::/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            assert_eq!(network(text).as_deref(), Ok(canonical));
        }
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "localhost",
            "::ffff:10.0.0.1/128",
            "::ffff:10.0.0.1",
            "10.0.0.0/8 ",
        ] {
            assert!(network(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_and_origins() {
        for (text, canonical) in [
            ("MCP.example.com", "mcp.example.com"),
            ("a.example:8443", "a.example:8443"),
            ("a.example:443", "a.example:443"),
            ("a.example:80", "a.example:80"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(host(text).as_deref(), Ok(canonical));
        }
        for bad in [
            "",
            "a b",
            "u@a.example",
            "a.example/",
            "a.example:99999",
            "https://a.example",
            "a#b",
            "a?b",
            "0x7f.1",
        ] {
            assert!(host(bad).is_err(), "{bad}");
        }
        for good in ["https://app.example.com", "http://localhost:3000", "https://[::1]:8443"] {
            assert_eq!(origin(good), Ok(()), "{good}");
        }
        for bad in [
            "*",
            "null",
            "https://app.example.com/",
            "https://App.example.com",
            "https://a.example:443",
            "ws://a.example",
            "",
        ] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn urls_methods_and_names() {
        assert_eq!(upstream_url("https://up.example.com/mcp?x=1"), Ok(()));
        assert_eq!(upstream_url("http://127.0.0.1:9000/mcp"), Ok(()));
        for bad in ["ftp://a", "https://u:p@a.example", "https://a.example/#f", "mcp", "https://"] {
            assert!(upstream_url(bad).is_err(), "{bad}");
        }
        assert_eq!(closable_method("logging/setLevel"), Ok(()));
        for bad in ["tools/call", "initialize", "tools/destroy", ""] {
            assert!(closable_method(bad).is_err(), "{bad}");
        }
        assert!(certificate(b"not a certificate").is_err());
        assert_eq!(server_name("up.example.com"), Ok(()));
        assert!(server_name("a b").is_err());
    }
}
