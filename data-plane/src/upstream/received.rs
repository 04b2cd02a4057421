//! A response from an upstream: what of its head is looked at, and its body, whichever protocol it came by.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{error::Break, http1};

/// What a body is said to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Content {
    Json,
    Events,
    #[default]
    Other,
}

/// What of a response's head is looked at. Nothing else of it goes anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) status: StatusCode,
    pub(super) fields: Fields,
}

/// The header fields that mean something here.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Fields {
    /// The first `Content-Type`.
    content: Option<Content>,
    /// Some `Content-Encoding` other than `identity`.
    encoded: bool,
    /// `Mcp-Session-Id`, as it came.
    pub(super) session: Option<HeaderValue>,
    /// `Retry-After`, as it came.
    pub(super) retry_after: Option<HeaderValue>,
    /// How long the server keeps an idle connection, less a second for the way: `Keep-Alive: timeout=5` (RFC 2068 section
    /// 19.7.1.1, still what servers send).
    pub(super) keep_alive: Option<Duration>,
}

impl Fields {
    pub(super) fn content(&self) -> Content {
        self.content.unwrap_or_default()
    }

    /// Whether the body is as it is, not compressed.
    pub(super) const fn is_identity(&self) -> bool {
        !self.encoded
    }

    /// Takes note of one field. Of a field that should not come twice the first counts.
    pub(super) fn note(&mut self, name: &[u8], value: &[u8]) {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        // By length first: most fields are none of these.
        match name.len() {
            12 if is("content-type") => {
                self.content.get_or_insert(content(value));
            }
            16 if is("content-encoding") => self.encoded |= !value.eq_ignore_ascii_case(b"identity"),
            14 if self.session.is_none() && is("mcp-session-id") => {
                self.session = HeaderValue::from_bytes(value).ok();
            }
            11 if self.retry_after.is_none() && is("retry-after") => {
                self.retry_after = HeaderValue::from_bytes(value).ok();
            }
            10 if self.keep_alive.is_none() && is("keep-alive") => self.keep_alive = keep_alive(value),
            _ => {}
        }
    }

    /// Of a map.
    fn of(headers: &HeaderMap) -> Self {
        let mut fields = Self::default();
        for (name, value) in headers {
            fields.note(name.as_str().as_bytes(), value.as_bytes());
        }
        fields
    }
}

fn content(value: &[u8]) -> Content {
    let essence = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if essence.eq_ignore_ascii_case(b"application/json") {
        Content::Json
    } else if essence.eq_ignore_ascii_case(b"text/event-stream") {
        Content::Events
    } else {
        Content::Other
    }
}

fn keep_alive(value: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?;
    let parameters = text.split(',').filter_map(|parameter| parameter.trim().split_once('='));
    let mut timeouts = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"));
    let seconds: u64 = timeouts.next()?.1.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.saturating_sub(1)))
}

/// A response's body.
#[derive(Debug)]
pub(super) enum Inbound {
    One(http1::Body),
    Many(Incoming),
}

impl Inbound {
    /// It is a stream that may last; memory that is not needed for it is given back.
    pub(super) fn slow_down(&self) {
        if let Self::One(body) = self {
            body.slow_down();
        }
    }

    /// A response over HTTP/2.
    pub(super) fn many(response: http::Response<Incoming>) -> (Received, Self) {
        let (head, body) = response.into_parts();
        (Received { status: head.status, fields: Fields::of(&head.headers) }, Self::Many(body))
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = Break;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Break>>> {
        match self.get_mut() {
            Self::One(body) => body.poll_data(cx).map(|data| data.map(|data| data.map(Frame::data))),
            Self::Many(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Break::from)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::One(body) => body.is_done(),
            Self::Many(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::One(body) => body.size_hint(),
            Self::Many(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for Fields {
    /// Session ids are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fields")
            .field("content", &self.content)
            .field("encoded", &self.encoded)
            .field("session", &self.session.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_their_standards_say() {
        let mut fields = Fields::default();
        for (name, value) in [
            ("Content-Type", "application/JSON; charset=utf-8"),
            ("content-type", "text/html"),
            ("Content-Encoding", "Identity"),
            ("MCP-Session-Id", "one"),
            ("mcp-session-id", "two"),
            ("Keep-Alive", "max=5, timeout=7"),
            ("Retry-After", "3"),
        ] {
            fields.note(name.as_bytes(), value.as_bytes());
        }
        assert_eq!(fields.content(), Content::Json);
        assert!(fields.is_identity());
        assert_eq!(fields.session.as_ref().unwrap(), "one");
        assert_eq!(fields.retry_after.as_ref().unwrap(), "3");
        assert_eq!(fields.keep_alive, Some(Duration::from_secs(6)));
        assert!(!format!("{fields:?}").contains("one"));
        fields.note(b"content-encoding", b"gzip");
        assert!(!fields.is_identity());
    }
}
