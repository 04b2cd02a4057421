//! What an upstream may be: refused here, before anything is stored. The compiler checks shapes; this checks where the URL
//! leads.

use std::net::IpAddr;

use egress::Rules;
use http::{HeaderName, HeaderValue};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use url::{Host, Url};
use wire::snapshot::{
    MAX_BREAKER_FAILURES, MAX_BREAKER_OPEN_MS, MAX_PINS, MAX_UPSTREAM_CONCURRENCY, MAX_UPSTREAM_QUEUE,
    MAX_UPSTREAM_WAIT_MS,
};

use super::{pin, types::UpstreamSettings};
use crate::{
    http::problem::{ApiError, FieldError},
    resources::fields::{MAX_CALL_TIMEOUT_MS, MAX_CONNECT_TIMEOUT_MS},
};

const MAX_URL: usize = 2048;
const MAX_PEM: usize = 64 * 1024;
const MAX_HEADER_VALUE: usize = 8192;

/// Refuses settings that cannot be, naming every place.
///
/// # Errors
/// [`ApiError::Invalid`].
pub(super) fn check(settings: &UpstreamSettings, rules: &Rules) -> Result<(), ApiError> {
    let mut errors = Vec::new();
    let mut wrong = |pointer: &str, message: String| {
        errors.push(FieldError { pointer: pointer.to_owned(), message });
    };
    if let Err(message) = destination(&settings.url, rules) {
        wrong("/url", message);
    }
    for (field, value, most) in [
        ("connect_timeout_ms", settings.connect_timeout_ms, MAX_CONNECT_TIMEOUT_MS),
        ("first_byte_timeout_ms", settings.first_byte_timeout_ms, MAX_CALL_TIMEOUT_MS),
        ("idle_timeout_ms", settings.idle_timeout_ms, MAX_CALL_TIMEOUT_MS),
        ("total_timeout_ms", settings.total_timeout_ms, MAX_CALL_TIMEOUT_MS),
    ] {
        if !(1..=most).contains(&value) {
            wrong(&format!("/{field}"), format!("must be 1 to {most}"));
        }
    }
    let breaker = &settings.breaker;
    for (field, value, least, most) in [
        ("failures", breaker.failures, 0, MAX_BREAKER_FAILURES),
        ("failure_percent", breaker.failure_percent, 1, 100),
        ("open_ms", breaker.open_ms, 1, MAX_BREAKER_OPEN_MS),
    ] {
        if !(least..=most).contains(&value) {
            wrong(&format!("/breaker/{field}"), format!("must be {least} to {most}"));
        }
    }
    let concurrency = &settings.concurrency;
    for (field, value, least, most) in [
        ("max", concurrency.max, 0, MAX_UPSTREAM_CONCURRENCY),
        ("queue", concurrency.queue, 0, MAX_UPSTREAM_QUEUE),
        ("wait_ms", concurrency.wait_ms, 1, MAX_UPSTREAM_WAIT_MS),
    ] {
        if !(least..=most).contains(&value) {
            wrong(&format!("/concurrency/{field}"), format!("must be {least} to {most}"));
        }
    }
    if let Some(pem) = &settings.tls.ca_pem
        && let Err(message) = certificates(pem)
    {
        wrong("/tls/ca_pem", message.to_owned());
    }
    if let Some(name) = &settings.tls.server_name
        && rustls::pki_types::ServerName::try_from(name.as_str()).is_err()
    {
        wrong("/tls/server_name", "is not a DNS name or an address".to_owned());
    }
    if let Err(message) = pins(&settings.tls.pins, &settings.url) {
        wrong("/tls/pins", message.to_owned());
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::Invalid(errors)) }
}

pub(crate) fn destination(text: &str, rules: &Rules) -> Result<(), String> {
    if text.len() > MAX_URL {
        return Err(format!("must be at most {MAX_URL} bytes"));
    }
    let url = Url::parse(text).map_err(|_| "is not a URL".to_owned())?;
    let encrypted = match url.scheme() {
        "https" => true,
        "http" => false,
        _ => return Err("must begin with https:// or http://".to_owned()),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not carry a user name or password; make a credential instead".to_owned());
    }
    if url.fragment().is_some() {
        return Err("must not have a fragment".to_owned());
    }
    let port = url.port_or_known_default().filter(|port| *port != 0).ok_or("has no usable port")?;
    let address: IpAddr = match url.host() {
        Some(Host::Ipv4(v4)) => v4.into(),
        Some(Host::Ipv6(v6)) => v6.into(),
        // Where a name leads is checked by the proxy, for the address it is about to dial, at every connection.
        Some(Host::Domain(name)) if encrypted || name == "localhost" => return Ok(()),
        Some(Host::Domain(_)) => {
            return Err("must begin with https://: the credential would travel in the clear".to_owned());
        }
        None => return Err("has no host".to_owned()),
    };
    rules.check(address, port).map_err(|refused| format!("{refused}; an operator can allow this one"))?;
    if !encrypted && egress::classify(address) == egress::Class::Public {
        return Err("must begin with https://: the credential would travel in the clear".to_owned());
    }
    Ok(())
}

fn pins(pins: &[String], url: &str) -> Result<(), &'static str> {
    if pins.is_empty() {
        return Ok(());
    }
    if pins.len() > MAX_PINS {
        return Err("must be at most 8");
    }
    let mut parsed = pin::parse_all(pins).ok_or(pin::EXPECTED)?;
    parsed.sort_unstable();
    if parsed.windows(2).any(|two| matches!(two, [one, other] if one == other)) {
        return Err("repeat");
    }
    // Nothing shows a key there.
    if !url.starts_with("https://") { Err("need a URL that begins with https://") } else { Ok(()) }
}

pub(crate) fn certificates(pem: &str) -> Result<(), &'static str> {
    if pem.len() > MAX_PEM {
        return Err("must be at most 65536 bytes");
    }
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|_| "is not PEM")?;
        roots.add(certificate).map_err(|_| "holds a certificate that cannot be trusted as a root")?;
    }
    if roots.is_empty() { Err("holds no certificate") } else { Ok(()) }
}

/// Headers that the gateway writes itself, or that would change what the request means.
const RESERVED_HEADERS: &[&str] = &[
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "origin",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

/// The header's name in lower case.
///
/// # Errors
/// [`ApiError::Invalid`].
pub(super) fn header_name(text: &str) -> Result<String, ApiError> {
    let wrong = |message: &str| ApiError::invalid("/header", message);
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| wrong("is not a header name"))?;
    if RESERVED_HEADERS.contains(&name.as_str()) || name.as_str().starts_with("mcp-param-") {
        return Err(wrong("is written by the gateway itself"));
    }
    Ok(name.as_str().to_owned())
}

/// # Errors
/// [`ApiError::Invalid`].
pub(super) fn header_value(text: &str) -> Result<(), ApiError> {
    let wrong = |message: &str| Err(ApiError::invalid("/value", message));
    if text.is_empty() || text.len() > MAX_HEADER_VALUE {
        return wrong("must be 1 to 8192 bytes");
    }
    if text.trim() != text || !text.is_ascii() || HeaderValue::from_str(text).is_err() {
        return wrong("must be visible ASCII without white space at either end");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lead_where_they_may() {
        let rules = Rules::new([egress::Rule::new("127.0.0.1/32", 9000).unwrap()]);
        for good in [
            "https://mcp.example.com/mcp",
            "https://mcp.example.com:8443/mcp?x=1",
            "https://1.1.1.1/mcp",
            "http://127.0.0.1:9000/mcp",
            "http://localhost:9000/mcp",
            "https://127.0.0.1:9000/",
        ] {
            assert_eq!(destination(good, &rules), Ok(()), "{good}");
        }
        for bad in [
            "http://mcp.example.com/mcp",
            "http://1.1.1.1/",
            "https://u@mcp.example.com/",
            "https://u:p@mcp.example.com/",
            "https://mcp.example.com/#f",
            "ftp://mcp.example.com/",
            "http://127.0.0.1:9001/",
            "https://127.0.0.2:9000/",
            "https://169.254.169.254/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]:9001/",
            "https://[64:ff9b::7f00:1]/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://10.0.0.1/",
            "https://[fd00::1]/",
            "https://0.0.0.0/",
            "mcp",
            "",
        ] {
            assert!(destination(bad, &rules).is_err(), "{bad}");
        }
    }

    #[test]
    fn pins_are_hashes_of_keys_and_need_tls() {
        let (one, other) = (pin::text(&[1; 32]), pin::text(&[2; 32]));
        let check =
            |given: &[&str], url| pins(&given.iter().map(|pin| (*pin).to_owned()).collect::<Vec<_>>(), url);
        let tls = "https://mcp.example.com/";
        assert_eq!(check(&[], "http://127.0.0.1/"), Ok(()));
        assert_eq!(check(&[&one], tls), Ok(()));
        assert_eq!(check(&[&other, &one], tls), Ok(()));
        assert!(check(&[&one, &other, &one], tls).is_err());
        assert!(check(&[&one], "http://127.0.0.1/").is_err());
        let nine: Vec<_> = (0..9).map(|n| pin::text(&[n; 32])).collect();
        assert!(pins(&nine, tls).is_err());
        let short = one.trim_end_matches('=').to_owned();
        for bad in ["", "sha256/", "sha1/AQ==", &one["sha256/".len()..], &short, "sha256/AQ=="] {
            assert_eq!(check(&[bad], tls), Err(pin::EXPECTED), "{bad}");
        }
    }

    #[test]
    fn headers_that_are_ours_are_refused() {
        assert_eq!(header_name("Authorization").unwrap(), "authorization");
        assert_eq!(header_name("X-Api-Key").unwrap(), "x-api-key");
        for bad in ["Host", "content-length", "Mcp-Session-Id", "mcp-param-x", "a b", ""] {
            assert!(header_name(bad).is_err(), "{bad}");
        }
        assert!(header_value("Bearer abc").is_ok());
        for bad in ["", " a", "a\r\nb", "ä", &"x".repeat(8193)] {
            assert!(header_value(bad).is_err());
        }
    }
}
