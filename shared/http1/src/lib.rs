//! Responses over HTTP/1.1, as a client reads them: what a head says, and where the body ends (RFC 9112).
//!
//! Strict where leniency would let two readers of the same bytes disagree: that is how a response becomes two. Pure:
//! bytes in, meaning out. Heads are taken apart by `httparse`; what they mean together is decided here.

mod framing;
mod head;

pub use framing::{Chunk, Framing, Malformed, Step};
pub use head::{Head, MAX_HEAD, NotHttp, parse};
