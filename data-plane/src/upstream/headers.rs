//! What travels from caller to upstream beside the body: a short list, everything else stays here.
//!
//! The caller's `Authorization`, cookies, `Host`, forwarding and hop-by-hop headers are not on it. The upstream's own
//! credential is put on last, so nothing a caller sends can stand in its place.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{error::UpstreamError, proof::Proof};

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

/// The header fields of a request, without those that frame it or say whom it is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    /// Of which some travel.
    pub(super) caller: &'a HeaderMap,
    pub(super) describing: Describing,
    pub(super) replaced: Replaced<'a>,
    pub(super) proof: Proof<'a>,
}

impl Fields<'_> {
    /// Gives each field to `put`, and no name twice but what the caller repeated. What the credential names comes from the
    /// credential alone. `body` is what is sent with them.
    pub(super) fn each<F: FnMut(&str, &[u8])>(&self, body: &[u8], mut put: F) -> Result<(), UpstreamError> {
        let Self { caller, describing, replaced, proof } = *self;
        let credential = proof.upstream.headers.as_ref().map_err(|error| *error)?;
        let is_own = |name: &str| proof.owns(name) || credential.iter().any(|(own, _)| own.as_str() == name);
        let put_unless_own = |put: &mut F, name: &str, value: &[u8]| {
            if !is_own(name) && is_sendable(value) {
                put(name, value);
            }
        };
        let name = replaced.name.filter(|_| describing.named).map(::mcp::headers::encode);
        for (field, value) in caller {
            let text = field.as_str();
            let travels = FORWARDED.contains(&text)
                || (describing.has(text) && !(name.is_some() && text == ::mcp::headers::NAME));
            if travels {
                put_unless_own(&mut put, text, value.as_bytes());
            }
        }
        if describing.body {
            put_unless_own(&mut put, "content-type", b"application/json");
        }
        if let Some(name) = &name {
            put_unless_own(&mut put, ::mcp::headers::NAME.as_str(), name.as_bytes());
        }
        if let Some(session) = replaced.session {
            put_unless_own(&mut put, ::mcp::headers::SESSION_ID.as_str(), session.as_bytes());
        }
        if let Some(event) = replaced.last_event {
            put_unless_own(&mut put, ::mcp::headers::LAST_EVENT_ID.as_str(), event.as_bytes());
        }
        put("accept-encoding", b"identity");
        put_unless_own(&mut put, "user-agent", USER_AGENT.as_bytes());
        for (name, value) in credential {
            if !FRAMING.contains(name) {
                put(name.as_str(), value.as_bytes());
            }
        }
        proof.each(body, &mut put)
    }
}

/// Whether a field may have this value (RFC 9110 section 5.5): nothing that ends a line.
fn is_sendable(value: &[u8]) -> bool {
    value.iter().all(|byte| (*byte >= b' ' && *byte != 0x7f) || *byte == b'\t')
}

const USER_AGENT: &str = concat!("portcullis/", env!("CARGO_PKG_VERSION"));

/// What every request to an upstream carries: no compression, who asks, the credential.
pub(crate) fn finish(headers: &mut HeaderMap, proof: &Proof<'_>, body: &[u8]) -> Result<(), UpstreamError> {
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    for (name, value) in proof.upstream.headers.as_ref().map_err(|error| *error)? {
        if !FRAMING.contains(name) {
            headers.insert(name.clone(), value.clone());
        }
    }
    for (name, value) in proof.headers(body)? {
        if let Ok(mut value) = HeaderValue::from_bytes(&value) {
            value.set_sensitive(true);
            headers.insert(name, value);
        }
    }
    Ok(())
}
