//! Headers by which a browser protects whoever is at the other end.

use http::{HeaderMap, HeaderValue, header};

const ONLY_DATA: &str = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// For every answer. A page says itself what it may load; everything else is data, and may load nothing.
pub fn protect(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::X_XSS_PROTECTION, HeaderValue::from_static("0"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(ONLY_DATA));
}

/// For every answer over TLS: from now on this host is called no other way (RFC 6797 section 7.2 forbids saying so over
/// plain HTTP).
pub fn stay_encrypted(headers: &mut HeaderMap) {
    let year = HeaderValue::from_static("max-age=31536000; includeSubDomains");
    headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
}
