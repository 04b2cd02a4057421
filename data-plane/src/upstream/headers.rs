//! What travels from caller to upstream beside the body: a short list, everything else stays here.
//!
//! The caller's `Authorization`, cookies, `Host`, forwarding and hop-by-hop headers are not on it. The upstream's own
//! credential is put on last, so nothing a caller sends can stand in its place.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::error::UpstreamError;
use crate::snapshot::index::UpstreamIndex;

/// Header names that are forwarded. Session and event ids are set from what was opened.
const FORWARDED: [&str; 4] = ["accept", "mcp-protocol-version", "traceparent", "tracestate"];

/// Which headers beside the list travel. Whatever says something about the body was compared with it, or stays here: a
/// server, or what routes to it, may believe the header.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Describing {
    /// There is a body. It is JSON in UTF-8, whatever else the caller called it.
    pub(super) body: bool,
    /// The revision mirrors method and parameters into headers.
    pub(super) mirrored: bool,
    /// The method mirrors a name.
    pub(super) named: bool,
}

impl Describing {
    fn has(self, name: &str) -> bool {
        match name {
            "mcp-method" => self.mirrored,
            "mcp-name" => self.named,
            _ => self.mirrored && name.starts_with(::mcp::headers::PARAM_PREFIX),
        }
    }
}

/// Names no credential may have: they frame the message, or say whom it is for.
const FRAMING: [HeaderName; 8] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::ACCEPT_ENCODING,
];

/// Values that replace what the caller sent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Replaced<'a> {
    /// `Mcp-Name`, plain text.
    pub(super) name: Option<&'a str>,
    /// `Mcp-Session-Id` of the upstream.
    pub(super) session: Option<&'a str>,
    /// `Last-Event-ID` of the upstream.
    pub(super) last_event: Option<&'a str>,
}

/// The headers of a request to `upstream`, without `Host`.
pub(super) fn outgoing(
    caller: &HeaderMap,
    describing: Describing,
    replaced: Replaced<'_>,
    upstream: &UpstreamIndex,
) -> Result<HeaderMap, UpstreamError> {
    let mut headers = HeaderMap::with_capacity(12);
    for (name, value) in caller {
        let text = name.as_str();
        if FORWARDED.contains(&text) || describing.has(text) {
            headers.append(name, value.clone());
        }
    }
    if describing.body {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if let Some(name) = replaced.name.filter(|_| describing.named) {
        // Encoding leaves nothing that a header cannot carry.
        if let Ok(value) = HeaderValue::from_str(&::mcp::headers::encode(name)) {
            headers.insert(::mcp::headers::NAME, value);
        }
    }
    for (name, value) in
        [(::mcp::headers::SESSION_ID, replaced.session), (::mcp::headers::LAST_EVENT_ID, replaced.last_event)]
    {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(name, value);
        }
    }
    finish(&mut headers, upstream)?;
    Ok(headers)
}

/// What every request to an upstream carries: no compression, who asks, the credential.
pub(crate) fn finish(headers: &mut HeaderMap, upstream: &UpstreamIndex) -> Result<(), UpstreamError> {
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!("portcullis/", env!("CARGO_PKG_VERSION"))),
    );
    for (name, value) in upstream.headers.as_ref().map_err(|error| *error)? {
        if !FRAMING.contains(name) {
            headers.insert(name.clone(), value.clone());
        }
    }
    Ok(())
}
