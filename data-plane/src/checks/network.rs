//! Row 4, network: address lists and `Origin`. It stops a web page from using a browser inside the company's network
//! (DNS rebinding, cross-site requests) before any secret is looked at.

use http::{HeaderMap, HeaderValue, header};

use super::{EndpointEvidence, Exchange};
use crate::refuse::Refusal;

/// Evidence: address and origin are accepted by the endpoint.
#[derive(Debug)]
pub(crate) struct Reached {
    origin: Option<HeaderValue>,
}

impl Reached {
    /// The accepted origin, to be named in the response (Fetch standard, "CORS protocol"); `None` for callers that
    /// are no browsers.
    pub(crate) fn origin(&self) -> Option<&HeaderValue> {
        self.origin.as_ref()
    }
}

/// Checks address and origin.
pub(crate) fn check(exchange: &Exchange, place: &EndpointEvidence) -> Result<Reached, Refusal> {
    let endpoint = place.endpoint();
    if !endpoint.admits(exchange.address()) {
        return Err(Refusal::AddressRefused);
    }
    Ok(Reached { origin: accepted_origin(exchange.headers(), || exchange.host(), &endpoint.origins)? })
}

/// An origin is accepted when the endpoint lists it, byte for byte, or when it is the host the request itself names:
/// that host was accepted at row 2, and the gateway serves no pages that could be foreign. `null` never is.
fn accepted_origin<'a>(
    headers: &HeaderMap,
    host: impl FnOnce() -> Result<&'a str, Refusal>,
    listed: &[Box<str>],
) -> Result<Option<HeaderValue>, Refusal> {
    let mut values = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = values.next() else { return Ok(None) };
    let text = origin.to_str().map_err(|_| Refusal::OriginRefused)?;
    let accepted = values.next().is_none()
        && (listed.iter().any(|known| **known == *text) || is_own_host(text, host()?));
    if accepted { Ok(Some(origin.clone())) } else { Err(Refusal::OriginRefused) }
}

fn is_own_host(origin: &str, host: &str) -> bool {
    origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://")) == Some(host)
}

/// Headers by which a browser may give the response to the page.
pub(crate) fn expose(origin: &HeaderValue, headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
}

const EXPOSED: &str = "Mcp-Session-Id, MCP-Protocol-Version, WWW-Authenticate, DPoP-Nonce, Portcullis-Refusal, Retry-After, X-Request-Id";

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(value: &[&'static str], host: &'static str) -> Result<Option<HeaderValue>, Refusal> {
        let mut headers = HeaderMap::new();
        for value in value {
            headers.append(header::ORIGIN, HeaderValue::from_static(value));
        }
        accepted_origin(&headers, || Ok(host), &["https://app.example.com".into()])
    }

    #[test]
    fn origins_are_compared_exactly() {
        assert_eq!(origin(&[], "gw").unwrap(), None);
        assert!(origin(&["https://app.example.com"], "gw").unwrap().is_some());
        assert!(origin(&["http://gw:8080"], "gw:8080").unwrap().is_some());
        for refused in [
            "null",
            "",
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.example",
            "https://APP.example.com",
            "http://gw:9999",
            "http://",
            "gw:8080",
            "*",
        ] {
            assert!(matches!(origin(&[refused], "gw:8080"), Err(Refusal::OriginRefused)), "{refused}");
        }
        let twice = origin(&["https://app.example.com", "https://app.example.com"], "gw");
        assert!(matches!(twice, Err(Refusal::OriginRefused)));
    }
}
