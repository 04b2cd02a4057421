//! Row 7, protocol: one JSON-RPC message of a revision we speak. The body is read and parsed only now, for someone known.
//!
//! Revisions 2025-06-18 and 2025-11-25 ("legacy": POST, GET for the server's stream, DELETE for the session) and
//! 2026-07-28 ("modern": POST only, headers that equal the body). Every other one gets a defined error.

use ::mcp::{
    Method, ProtocolError, Revision, Target, classify,
    envelope::{self, Message},
    headers,
};
use http::{HeaderMap, header};

use super::{Exchange, Principal, ReadBody};
use crate::refuse::Refusal;

/// HTTP methods of the streamable HTTP transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// A message.
    Post,
    /// The server's own stream, legacy.
    Get,
    /// End of a session, legacy.
    Delete,
}

/// What kind of exchange a message opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Answered with a JSON-RPC response, perhaps after a stream of other messages.
    Request,
    /// Accepted with 202.
    Notification,
    /// The caller's answer to a request of the server; accepted with 202.
    Response,
    /// GET: a stream of what the server sends by itself.
    OpenStream,
    /// DELETE: the session ends.
    EndSession,
}

/// Evidence: a message, well formed in its revision; borrowed from its body.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    kind: Kind,
    revision: Revision,
    method: Option<Method>,
    message: Option<Message<'a>>,
    target: Target<'a>,
}

impl<'a> Call<'a> {
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// `None` for responses, GET and DELETE.
    pub(crate) fn method(&self) -> Option<Method> {
        self.method
    }

    /// `None` for GET and DELETE.
    pub(crate) fn message(&self) -> Option<&Message<'a>> {
        self.message.as_ref()
    }

    pub(crate) fn target(&self) -> &Target<'a> {
        &self.target
    }

    /// What a request asks for; `None` of a message that asks for nothing.
    pub(crate) fn awaited(&self) -> Option<Method> {
        self.method.filter(|_| self.kind == Kind::Request)
    }

    /// Whether the caller keeps the exchange open as long as it likes.
    pub(crate) fn keeps_open(&self) -> bool {
        self.kind == Kind::OpenStream || self.method == Some(Method::SubscriptionsListen)
    }

    /// As audited: the JSON-RPC method, or the HTTP method where there is none.
    pub(crate) fn method_name(&self) -> &'static str {
        match (self.kind, self.method) {
            (_, Some(method)) => method.as_str(),
            (Kind::OpenStream, None) => "GET",
            (Kind::EndSession, None) => "DELETE",
            (_, None) => "response",
        }
    }
}

/// Checks what the head says about the body, before it is read.
pub(crate) fn verb(exchange: &Exchange, _principal: &Principal) -> Result<Verb, Refusal> {
    let headers = exchange.headers();
    let modern =
        matches!(version(headers), Ok(Some(text)) if Revision::parse(text).is_some_and(Revision::is_modern));
    let allow = if modern { "POST" } else { "POST, GET, DELETE" };
    match exchange.head().method {
        http::Method::POST => {
            if !is_json(headers) {
                return Err(Refusal::ContentType);
            }
            if !(accepts(headers, "application/json") && accepts(headers, "text/event-stream")) {
                return Err(Refusal::NotAcceptable);
            }
            Ok(Verb::Post)
        }
        http::Method::GET if !modern => {
            if accepts(headers, "text/event-stream") {
                Ok(Verb::Get)
            } else {
                Err(Refusal::NotAcceptable)
            }
        }
        http::Method::DELETE if !modern => Ok(Verb::Delete),
        _ => Err(Refusal::MethodNotAllowed { allow }),
    }
}

/// A body that was parsed, and what became of it. Split from [`check`], because a refusal by the revision's rules is
/// answered to the message's id, and that needs the message.
pub(crate) fn parse<'a>(verb: Verb, body: &'a ReadBody) -> Result<Option<Message<'a>>, Refusal> {
    match verb {
        Verb::Post => envelope::parse(body.bytes()).map(Some).map_err(Refusal::Unparsable),
        Verb::Get | Verb::Delete => Ok(None),
    }
}

/// Checks the message against the revision that headers and body name.
pub(crate) fn check<'a>(
    exchange: &Exchange,
    verb: Verb,
    message: Option<Message<'a>>,
) -> Result<Call<'a>, Refusal> {
    let headers = exchange.headers();
    let Some(message) = message else {
        let kind = if verb == Verb::Delete { Kind::EndSession } else { Kind::OpenStream };
        let revision = stream_revision(headers)?;
        return Ok(Call { kind, revision, method: None, message: None, target: Target::Nothing });
    };
    // A session exists only after an `initialize` that passed here, hence in a legacy revision we speak. Which one does
    // not matter to any check: the newest has every method of the others.
    let in_session =
        headers.contains_key(headers::SESSION_ID) && !headers.contains_key(headers::PROTOCOL_VERSION);
    let session = in_session.then_some(Revision::NEWEST_LEGACY);
    let call = classify(headers, &message, session).map_err(Refusal::Protocol)?;
    let kind = match &message {
        Message::Request(_) => Kind::Request,
        Message::Notification(_) => Kind::Notification,
        Message::Response(_) => Kind::Response,
    };
    Ok(Call {
        kind,
        revision: call.revision,
        method: call.method,
        target: call.target,
        message: Some(message),
    })
}

/// GET and DELETE carry no message that could name a revision beside the header.
fn stream_revision(headers: &HeaderMap) -> Result<Revision, Refusal> {
    let Some(text) = version(headers)? else { return Ok(Revision::NEWEST_LEGACY) };
    Revision::parse(text).ok_or_else(|| Refusal::Protocol(ProtocolError::unsupported_header(text)))
}

fn version(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    headers::single(headers, &headers::PROTOCOL_VERSION)
        .map_err(|_| Refusal::Protocol(ProtocolError::legacy_header("MCP-Protocol-Version malformed")))
}

/// `application/json`, exactly once. A `charset` must be UTF-8: a server that believes another one (`utf-7` has other
/// quotes) would read another message in the same bytes.
fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let Some(value) = values.next().and_then(|value| value.to_str().ok()) else { return false };
    let is_utf8 = value.split(';').skip(1).all(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        !name.trim().eq_ignore_ascii_case("charset")
            || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
    });
    values.next().is_none() && is_utf8 && essence(value).eq_ignore_ascii_case("application/json")
}

/// Whether `Accept` covers a media type (RFC 9110 section 12.5.1). Absent, it accepts everything; `q=0` takes a type out.
fn accepts(headers: &HeaderMap, wanted: &str) -> bool {
    let mut listed = false;
    for value in headers.get_all(header::ACCEPT) {
        listed = true;
        let Ok(text) = value.to_str() else { continue };
        // As every client writes it, which asks for both.
        if text == EVERY_CLIENTS || text.split(',').any(|range| covers(range, wanted)) {
            return true;
        }
    }
    !listed
}

/// What the specification tells clients to send.
const EVERY_CLIENTS: &str = "application/json, text/event-stream";

fn covers(range: &str, wanted: &str) -> bool {
    let named = essence(range);
    let kind = wanted.split('/').next().unwrap_or_default();
    let matches = named == "*/*"
        || named.eq_ignore_ascii_case(wanted)
        || named.strip_suffix("/*").is_some_and(|named| named.eq_ignore_ascii_case(kind));
    let refused = range.split(';').skip(1).any(|parameter| {
        let zero =
            parameter.trim().strip_prefix(['q', 'Q']).and_then(|rest| rest.trim_start().strip_prefix('='));
        zero.is_some_and(|weight| weight.trim().parse::<f32>().is_ok_and(|weight| weight <= 0.0))
    });
    matches && !refused
}

/// A media type without its parameters.
fn essence(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests;
