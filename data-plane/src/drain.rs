//! Leaving without losing a call: the phases of a proxy's life, and what each means to those who wait.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::watch;

/// Where a proxy is in its life. It only ever moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Takes calls.
    Serving,
    /// Not ready any more; takes what still comes, ends connections after their next response, and ends streams that
    /// callers keep open.
    Draining,
    /// Time is over: what still runs is cut.
    Ending,
}

/// Moves the phase and tells everyone.
#[derive(Debug)]
pub(crate) struct Drain {
    told: watch::Sender<Phase>,
    /// The same, for every request to read.
    phase: AtomicU8,
}

impl Drain {
    pub(crate) fn new() -> Self {
        Self { told: watch::Sender::new(Phase::Serving), phase: AtomicU8::new(Phase::Serving as u8) }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Serving,
            1 => Phase::Draining,
            _ => Phase::Ending,
        }
    }

    /// Moves to a later phase; an earlier one changes nothing.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
        self.told.send_if_modified(|current| {
            let later = phase > *current;
            if later {
                *current = phase;
            }
            later
        });
    }

    /// Changes of the phase.
    pub(crate) fn changes(&self) -> watch::Receiver<Phase> {
        self.told.subscribe()
    }

    /// Resolves when this phase, or a later one, is reached.
    pub(crate) async fn reached(&self, phase: Phase) {
        // The sender is `self`, so waiting ends only with the phase.
        let _ = self.changes().wait_for(|current| *current >= phase).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_phase_only_moves_forward() {
        let drain = Drain::new();
        assert_eq!(drain.phase(), Phase::Serving);
        drain.enter(Phase::Ending);
        drain.enter(Phase::Draining);
        assert_eq!(drain.phase(), Phase::Ending);
        drain.reached(Phase::Draining).await;
    }
}
