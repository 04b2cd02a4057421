//! What one connection may make a listener hold. The same for both planes, so that neither is the softer way in.

use std::time::Duration;

/// Bytes of a request's head that are buffered; above the bound that a plane enforces itself, so that the refusal is its own.
pub const HEAD_BUFFER: usize = 64 * 1024;
/// The same for HTTP/2, over all of a request's HEADERS and CONTINUATION frames.
pub const HEADER_LIST: u32 = 64 * 1024;
/// HTTP/2 requests at once on one connection.
pub const STREAMS: u32 = 128;
/// Streams that the other end opened and reset before anybody looked at them (CVE-2023-44487); one more ends the connection.
pub const PENDING_RESETS: usize = 20;
/// Streams that were reset here because the other end broke the protocol on them (CVE-2025-8671), or had more open than it
/// may; one more ends the connection. Twice what a client may open before it has heard how many.
pub const ERROR_RESETS: usize = 256;
/// Bytes of one request's body that are sent before they are asked for.
pub const STREAM_WINDOW: u32 = 256 * 1024;
/// The same of all requests of a connection: what a caller can make a listener hold without its reading any of it.
pub const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Largest frame that is taken; the least that RFC 9113 section 4.2 allows.
pub const FRAME: u32 = 16 * 1024;
/// Bytes of one answer that wait to be sent, where the other end gives no window for them.
pub const SEND_BUFFER: usize = 64 * 1024;
/// How often the other end of an HTTP/2 connection is asked whether it is still there,
pub const PING_EVERY: Duration = Duration::from_secs(30);
/// and how long it has to say so.
pub const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// An answer of which the other end takes nothing for so long is given up.
pub const UNREAD: Duration = Duration::from_secs(60);
