//! The Model Context Protocol as the gateway reads and rewrites it: JSON-RPC envelope, methods as a closed enum,
//! revisions, mirrored headers, list filtering and the event-stream codec.
//!
//! Pure: bytes in, decisions and bytes out; no I/O and no clock. Nothing is deserialised into an owned tree and
//! serialised again, because that would lose unknown members, large numbers and duplicate keys: one strict pass
//! ([`raw::Raw::parse`], [`envelope::parse`]) yields borrowed spans, and a rewrite splices the spans it changes
//! ([`raw::Edits`]).

pub mod call;
pub mod envelope;
mod error;
pub mod headers;
pub mod list;
pub mod method;
pub mod raw;
pub mod revision;
mod scan;
pub mod sse;
#[cfg(test)]
mod testing;

pub use call::{Call, Target, classify};
pub use error::ProtocolError;
pub use method::{Decide, Direction, GrantKind, Method, NameMember, Shape};
pub use revision::{Era, Revision};
