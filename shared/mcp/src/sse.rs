//! Server-sent events (WHATWG HTML, "Server-sent events"): an incremental decoder with a bound, and an encoder.
//!
//! The decoder yields whole blocks, also those that carry no data (an `id` to resume from, a comment that keeps the
//! connection alive), each with its raw bytes, so that a relay can pass on exactly what came or decide not to.

mod decoder;

use std::{borrow::Cow, fmt};

pub use decoder::Decoder;

/// Why a stream cannot be decoded further without losing something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// An event has more bytes than allowed. It is skipped to its end; the events after it are decoded.
    #[error("event larger than the limit")]
    TooLarge,
}

/// One block of a stream: what stands between two blank lines.
#[derive(Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// The bytes as received, the ending blank line included; a byte order mark at the stream's start is left out.
    pub raw: &'a [u8],
    /// `event:`; `None` means `message`.
    pub event: Option<&'a [u8]>,
    /// `id:` (ignored, as the standard says, when it contains a NUL).
    pub id: Option<&'a [u8]>,
    /// `data:` lines joined by LF; `None` when there is none, in which case clients see no event.
    pub data: Option<Cow<'a, [u8]>>,
    /// `retry:` in milliseconds.
    pub retry: Option<u64>,
    /// Whether the block has a comment line.
    pub comment: bool,
}

/// Data is a caller's or a server's, so only its length is shown.
impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = self.data.as_ref().map(|data| data.len());
        f.debug_struct("Event")
            .field("raw_bytes", &self.raw.len())
            .field("data_bytes", &data)
            .finish_non_exhaustive()
    }
}

/// What an event is made of for [`encode`].
#[derive(Clone, Copy, Default)]
pub struct Frame<'a> {
    /// `event:`; left out when `None`.
    pub event: Option<&'a str>,
    /// `id:`; left out when `None`.
    pub id: Option<&'a str>,
    /// `retry:` in milliseconds; left out when `None`.
    pub retry: Option<u64>,
    /// One `data:` line for each line of it.
    pub data: &'a [u8],
}

/// Data is a caller's or a server's, so only its length is shown.
impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame").field("data_bytes", &self.data.len()).finish_non_exhaustive()
    }
}

/// Appends an event. Line ends inside `event` and `id` would start other fields, so they are left out.
pub fn encode(out: &mut Vec<u8>, frame: Frame<'_>) {
    for (name, value) in [("event", frame.event), ("id", frame.id)] {
        if let Some(value) = value {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend(value.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)));
            out.push(b'\n');
        }
    }
    if let Some(retry) = frame.retry {
        out.extend_from_slice(format!("retry: {retry}\n").as_bytes());
    }
    let mut rest = frame.data;
    loop {
        let end = memchr::memchr2(b'\r', b'\n', rest);
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
        out.push(b'\n');
        let Some(end) = end else { break };
        let crlf = rest[end..].starts_with(b"\r\n");
        rest = &rest[end + if crlf { 2 } else { 1 }..];
    }
    out.push(b'\n');
}

/// Appends a comment block, which keeps a connection alive and carries nothing.
pub fn encode_comment(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b": ");
    out.extend(text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')));
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests;
