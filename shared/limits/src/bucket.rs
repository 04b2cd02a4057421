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

    /// Takes `cost` units whether they are there or not, as far as the bucket has any: it is empty then, and owes
    /// nothing. Returns the arrival time, for [`Self::refund`].
    pub fn charge(&self, now_nanos: u64, rate: Rate, cost: u32) -> u64 {
        let now = self.clamp(now_nanos);
        let interval = rate.interval_nanos().unwrap_or(0);
        let empty = now.saturating_add(interval.saturating_mul(u64::from(rate.burst)));
        let taken = interval.saturating_mul(u64::from(cost));
        let charged = |tat: u64| tat.max(now).saturating_add(taken).min(empty.max(tat));
        let mut seen = self.tat.load(Ordering::Acquire);
        loop {
            let tat = charged(seen);
            match self.tat.compare_exchange_weak(seen, tat, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return tat,
                Err(current) => seen = current,
            }
        }
    }

    /// A bucket in which `units` are missing.
    #[must_use]
    pub(crate) fn missing(now_nanos: u64, rate: Rate, units: u32) -> Self {
        let missing = rate.interval_nanos().unwrap_or(0).saturating_mul(u64::from(units));
        let tat = if missing == 0 { 0 } else { now_nanos.saturating_add(missing) };
        Self { tat: AtomicU64::new(tat), latest: AtomicU64::new(now_nanos) }
    }

    /// The arrival time, as [`Self::take_all`] would return it.
    pub(crate) fn peek_all(&self) -> u64 {
        self.tat.load(Ordering::Acquire)
    }

    /// Makes the bucket full; returns the arrival time it had, for [`Self::put_back`].
    pub fn take_all(&self) -> u64 {
        // The plain load spares the common case a write to a shared line.
        if self.tat.load(Ordering::Acquire) == 0 { 0 } else { self.tat.swap(0, Ordering::AcqRel) }
    }

    /// Undoes [`Self::take_all`].
    pub fn put_back(&self, tat: u64) {
        self.tat.fetch_max(tat, Ordering::AcqRel);
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
