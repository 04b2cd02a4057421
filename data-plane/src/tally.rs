//! How many requests this run has answered, and how: the control plane compares the proxies that have a new revision of the
//! fleet's configuration with how they did before.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use errors::ErrorCode;
use parking_lot::Mutex;

/// Of one worker: nobody else writes it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    answers: AtomicU64,
    refusals: AtomicU64,
    failures: AtomicU64,
    turned_away: AtomicU64,
}

/// Of all workers.
#[derive(Debug, Default)]
pub(crate) struct Tallies(Mutex<Vec<Arc<Tally>>>);

/// Sums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) answers: u64,
    pub(crate) refusals: u64,
    pub(crate) failures: u64,
    pub(crate) turned_away: u64,
}

impl Tally {
    /// One more request of a known caller ended so: no stranger is to decide whether a revision goes on. Nor do kills and
    /// drains say anything of it.
    pub(crate) fn count(&self, code: Option<ErrorCode>) {
        if matches!(code, Some(ErrorCode::Killed | ErrorCode::Draining)) {
            return;
        }
        let status = code.map(|code| code.entry().status);
        self.answers.fetch_add(1, Ordering::Relaxed);
        match status {
            Some(500..) => self.failures.fetch_add(1, Ordering::Relaxed),
            Some(_) => self.refusals.fetch_add(1, Ordering::Relaxed),
            None => 0,
        };
    }
}

impl Tally {
    /// A connection was one too many of its address. Apart from the rest, for it may be a stranger's.
    pub(crate) fn turn_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }
}

impl Tallies {
    /// For one more worker.
    pub(crate) fn seat(&self) -> Arc<Tally> {
        let tally = Arc::<Tally>::default();
        self.0.lock().push(Arc::clone(&tally));
        tally
    }

    pub(crate) fn sum(&self) -> Counts {
        let mut sum = Counts::default();
        for tally in &*self.0.lock() {
            sum.answers += tally.answers.load(Ordering::Relaxed);
            sum.refusals += tally.refusals.load(Ordering::Relaxed);
            sum.failures += tally.failures.load(Ordering::Relaxed);
            sum.turned_away += tally.turned_away.load(Ordering::Relaxed);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_count_for_themselves_and_kills_for_nothing() {
        let tallies = Tallies::default();
        let (one, other) = (tallies.seat(), tallies.seat());
        one.count(None);
        one.count(Some(ErrorCode::RateLimited));
        other.count(Some(ErrorCode::ConfigStale));
        other.count(Some(ErrorCode::Killed));
        other.count(Some(ErrorCode::Draining));
        other.turn_away();
        assert_eq!(tallies.sum(), Counts { answers: 3, refusals: 1, failures: 1, turned_away: 1 });
    }
}
