//! One bucket: two atomic numbers, no lock.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::gcra::{self, Decision, Rate};

/// A bucket shared by threads. Its rate is not part of it: it comes with every take, from the current configuration.
#[derive(Debug, Default)]
pub struct Bucket {
    /// Theoretical arrival time, nanoseconds.
    tat: AtomicU64,
    /// Latest time any thread brought. A thread whose time is earlier, for whatever reason, is given this one: time that
    /// steps back must neither refill a bucket twice nor be paid back by anyone.
    latest: AtomicU64,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub const fn new() -> Self {
        Self { tat: AtomicU64::new(0), latest: AtomicU64::new(0) }
    }

    /// Takes `cost` units at `now_nanos` if there are so many.
    pub fn try_take(&self, now_nanos: u64, rate: Rate, cost: u32) -> Decision {
        let now = self.clamp(now_nanos);
        let mut seen = self.tat.load(Ordering::Acquire);
        loop {
            let decision = gcra::decide(seen, now, rate, cost);
            let Decision::Admit { new_tat, .. } = decision else {
                return decision;
            };
            match self.tat.compare_exchange_weak(seen, new_tat, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return decision,
                Err(current) => seen = current,
            }
        }
    }

    /// What [`Self::try_take`] would answer, taking nothing.
    #[must_use]
    pub fn peek(&self, now_nanos: u64, rate: Rate, cost: u32) -> Decision {
        let now = now_nanos.max(self.latest.load(Ordering::Acquire));
        gcra::decide(self.tat.load(Ordering::Acquire), now, rate, cost)
    }

    /// Gives back what a take that ended in `taken_tat` took ([`Decision::Admit`]).
    ///
    /// As much comes back as is still missing because of that take: where the bucket has filled since, nothing is, and
    /// giving the whole cost back would let more than `burst` be taken at once.
    pub fn refund(&self, rate: Rate, cost: u32, taken_tat: u64) {
        let Some(interval) = rate.interval_nanos() else { return };
        let taken = interval.saturating_mul(u64::from(cost));
        let mut seen = self.tat.load(Ordering::Acquire);
        loop {
            // Read after `tat`: whoever moved `tat` to `seen` had set its time before.
            let latest = self.latest.load(Ordering::Acquire);
            let missing = taken.min(taken_tat.saturating_sub(latest));
            let refunded = seen.saturating_sub(missing);
            match self.tat.compare_exchange_weak(seen, refunded, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(current) => seen = current,
            }
        }
    }

    /// A bucket for a changed rate, holding as many units as this one does now, at most the new burst. Without it, a
    /// bucket emptied under a large burst would stay closed long after a smaller one took over.
    #[must_use]
    pub fn carried_over(&self, now_nanos: u64, from: Rate, to: Rate) -> Self {
        let now = now_nanos.max(self.latest.load(Ordering::Acquire));
        let held = match gcra::decide(self.tat.load(Ordering::Acquire), now, from, 0) {
            Decision::Admit { remaining, .. } | Decision::Refuse { remaining, .. } => remaining,
        };
        let missing = u64::from(to.burst.saturating_sub(held));
        let tat = now.saturating_add(to.interval_nanos().unwrap_or(0).saturating_mul(missing));
        Self { tat: AtomicU64::new(tat), latest: AtomicU64::new(now) }
    }

    fn clamp(&self, now: u64) -> u64 {
        // The plain load spares the common case, where several calls share an instant, a write to a shared line.
        let latest = self.latest.load(Ordering::Acquire);
        if now > latest { self.latest.fetch_max(now, Ordering::AcqRel).max(now) } else { latest }
    }
}
