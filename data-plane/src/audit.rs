//! What happened, written down: records of calls and refusals, the spool that keeps them, and the order that makes them
//! worth something — intent before the MCP server is called, outcome after.
//!
//! [`record`] builds the records, [`pen`] writes those of calls and [`recorder`] all others, [`spool`] keeps them on disk until the control plane has
//! acknowledged them, [`aggregate`] counts refusals of callers nobody knows.

mod aggregate;
mod digest;
mod pen;
mod record;
mod recorder;
pub(crate) mod spool;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use digest::ResponseDigest;
pub(crate) use pen::{IntentId, Pen};
pub(crate) use record::{CallFacts, End};
pub(crate) use recorder::Recorder;
