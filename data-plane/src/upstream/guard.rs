//! What stands between an admitted call and its server: nothing is sent to a server that does not answer, or that has enough to
//! do.
//!
//! The machines in here have no I/O and take the time as an argument. Their state is shared by all workers and outlives
//! revisions, as long as the server stays the same; on a healthy call it costs a few atomic operations.

mod breaker;
mod gate;
mod outcome;
mod passage;
mod priority;
#[cfg(test)]
mod tests;

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use gate::Gate;
use ids::ToolId;

pub(crate) use breaker::{Breaker, Limits as BreakerLimits};
pub(crate) use gate::{Crowded, Limits as GateLimits};
pub(crate) use outcome::Outcome;
pub(crate) use passage::{Passage, Shut};
pub(crate) use priority::{Priority, is_repeatable};

/// What is known of one server, by all workers.
#[derive(Debug, Default)]
pub struct Guard {
    breaker: Breaker,
    /// Only where it is given a bounded number of calls.
    gate: OnceLock<Arc<Gate>>,
    /// The tool whose failure was counted last; 0 for none.
    blamed: AtomicU64,
}

impl Guard {
    /// Its configuration says so now. Calls that wait hear of it, and not only the next one that comes.
    pub(crate) fn configure(&self, limits: GateLimits) {
        if let Some(gate) = self.gate.get() {
            gate.allow(limits);
        }
    }

    /// Whether a failure of a call, to this tool, says something new of the server. One tool that fails again and again does
    /// not: it has a breaker of its own, and the others go on.
    fn is_news(&self, tool: Option<ToolId>) -> bool {
        let name = tool.map_or(0, |tool| tool.uuid().as_u64_pair().1 | 1);
        self.blamed.swap(name, Ordering::Relaxed) != name || tool.is_none()
    }
}
