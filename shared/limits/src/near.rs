//! The near end of a shared bucket: what one proxy knows of it, holds of it, and does without it.
//!
//! Most takes are spent from a *lease*: units taken from the shared bucket ahead of need. All leases of all proxies
//! together hold at most a tenth of the limit, and that is all by which any window may see more than the bucket allows
//! (performance.md §3b). How much a lease holds follows the demand, from nothing upwards, so that a bucket that is used now
//! and then strands nothing. After a refusal nothing is leased until the bucket is half full again.
//!
//! In any time T, all proxies together admit at most burst + rate · T, and beside it
//! - what leases hold: a tenth of the limit, nothing for limits under 20 units a proxy;
//! - where the store loses the bucket: what others took since the proxy that asks first asked last, at most a burst;
//! - where none of N proxies has the store for a time t: their shares, N · ⌈burst / N⌉, and what flowed back in the store
//!   meanwhile, rate · t, at most a burst; less what they tell it afterwards. One proxy alone that is cut off: its share;
//! - where another server takes over: what the former one had not passed on, rate · lag, at most a burst;
//! - where the store's clock steps forward by t: rate · t, at most a burst. Where it steps back, nothing flows until it has
//!   caught up. Clocks of proxies decide nothing.
//!
//! No lock, no clock: times are nanoseconds of the proxy's own clock that does not step back.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use crate::{
    bucket::Bucket,
    gcra::{self, Decision, NEVER, Rate},
    shared::{Ask, Floor, Of, Reading},
};

/// Units of a lease are spent within this time, or are lost.
pub const LEASE: Duration = Duration::from_secs(5);
/// What the store answered is taken for true so long without asking again. Refunds, leases that ran out and a store that
/// lost the bucket may have made room since.
pub(crate) const FRESH: Duration = Duration::from_secs(1);
/// A bucket that is asked again within this time is in demand: its next lease holds twice as much.
const DEMAND: Duration = Duration::from_secs(1);
/// Limits under so many units a proxy are never leased: every take is a call to the store.
const LEAST_PER_PROXY: u32 = 20;

/// What holds for a bucket now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How much the shared bucket admits; storable.
    pub rate: Rate,
    /// Proxies that live, at least 1.
    pub proxies: u32,
}

impl Terms {
    /// Units one proxy may hold at most: a tenth of the limit, divided among the proxies; 0 where each take is a call.
    #[must_use]
    pub fn most_held(self) -> u32 {
        let limit = self.rate.per_minute.min(self.rate.burst);
        let proxies = self.proxies.max(1);
        if limit < LEAST_PER_PROXY.saturating_mul(proxies) { 0 } else { limit / 10 / proxies }
    }
}

/// What became of a take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Spent from the lease.
    Spent,
    /// The shared bucket would refuse: nothing is asked.
    Refused {
        /// As in [`Decision::Refuse`].
        retry_after: Duration,
        /// Whole units left.
        remaining: u32,
    },
    /// The store has to be asked.
    Ask,
}

/// What is asked, until it is [`Near::answered`] or [`Near::unanswered`].
#[must_use = "the lease waits for the answer"]
#[derive(Debug)]
pub struct Asking {
    /// For the store.
    pub ask: Ask,
    at: u64,
    /// Whether this one may bring a lease.
    leasing: bool,
    owed: u64,
}

/// The near end.
#[derive(Debug, Default)]
pub struct Near {
    /// The shared bucket's theoretical arrival time, as the store last said, and when that was asked.
    known: AtomicU64,
    told: AtomicU64,
    /// Proxies that lived when the store could last not be asked, or answered.
    proxies: AtomicU32,
    /// Units of the lease, and until when.
    units: AtomicU32,
    until: AtomicU64,
    /// Units a lease holds at present demand, and when the store was last asked.
    size: AtomicU32,
    asked: AtomicU64,
    /// Somebody asks for a lease.
    leasing: AtomicBool,
    /// Refused, and not half full again since.
    strict: AtomicBool,
    /// This proxy's share: what it took lately, by itself or together.
    share: Bucket,
    /// What it admitted without the store and has not told it.
    owed: Bucket,
}

impl Near {
    /// A bucket of which nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes `cost` units as far as that is possible without asking.
    pub fn spend(&self, now: u64, terms: Terms, cost: u32) -> Step {
        if !self.strict.load(Ordering::Relaxed) && self.spend_lease(now, cost) {
            return Step::Spent;
        }
        match gcra::decide(self.known.load(Ordering::Relaxed), now, terms.rate, cost) {
            Decision::Refuse { retry_after, remaining }
                if retry_after == NEVER || is_fresh(now, self.told.load(Ordering::Relaxed)) =>
            {
                Step::Refused { retry_after, remaining }
            }
            Decision::Refuse { .. } | Decision::Admit { .. } => Step::Ask,
        }
    }

    /// Whether the lease is half spent and nobody has asked for more: time to do so, while calls go on.
    #[must_use]
    pub fn wants_more(&self, now: u64, terms: Terms) -> bool {
        let size = self.size.load(Ordering::Relaxed);
        size > 0
            && self.units.load(Ordering::Relaxed) <= size / 2
            && terms.most_held() > 0
            && !self.strict.load(Ordering::Relaxed)
            && !self.leasing.load(Ordering::Relaxed)
            && now < self.until.load(Ordering::Relaxed)
    }

    /// What to ask the store for: `cost` units, or none where only the lease is filled up.
    pub fn ask(&self, now: u64, terms: Terms, cost: u32) -> Asking {
        let most = terms.most_held();
        let leasing =
            most > 0 && !self.strict.load(Ordering::Acquire) && !self.leasing.swap(true, Ordering::AcqRel);
        let extra = if leasing { self.next_size(now, most).saturating_sub(self.held(now)) } else { 0 };
        let owed = self.owed.take_all();
        let debt = i64::from(owed_units(owed, now, terms));
        let known = self.known.load(Ordering::Acquire);
        let floor = (known > now).then(|| Floor { window: 0, least: known - now });
        Asking { ask: Ask { of: Of::Rate(terms.rate), cost, extra, debt, floor }, at: now, leasing, owed }
    }

    /// The store answered. `admitted`: the whole request was; `refusing`: this bucket is why it was not.
    pub fn answered(&self, asking: &Asking, terms: Terms, reading: Reading, admitted: bool, refusing: bool) {
        // What was read of the store's bucket was so at the earliest when it was asked.
        self.known.store(asking.at.saturating_add(reading.taken), Ordering::Release);
        self.told.store(asking.at, Ordering::Release);
        self.proxies.store(terms.proxies, Ordering::Relaxed);
        if refusing {
            self.strict.store(true, Ordering::Release);
            self.size.store(0, Ordering::Relaxed);
        } else if reading.remaining(Of::Rate(terms.rate)) >= terms.rate.burst / 2 {
            self.strict.store(false, Ordering::Release);
        }
        if admitted {
            let units = asking.ask.cost.saturating_add(reading.granted);
            self.share.charge(asking.at, terms.rate.share(terms.proxies), units);
        }
        if reading.granted > 0 {
            if asking.at >= self.until.load(Ordering::Acquire) {
                self.units.store(0, Ordering::Release);
            }
            self.until.store(asking.at.saturating_add(nanos(LEASE)), Ordering::Release);
            self.units.fetch_add(reading.granted, Ordering::AcqRel);
        }
        if asking.leasing {
            self.leasing.store(false, Ordering::Release);
        }
    }

    /// The store did not answer.
    pub fn unanswered(&self, asking: &Asking) {
        self.owed.put_back(asking.owed);
        if asking.leasing {
            self.leasing.store(false, Ordering::Release);
        }
    }

    /// Takes `cost` units without the store: from the lease, or else from this proxy's share.
    ///
    /// # Errors
    /// As in [`Decision::Refuse`].
    pub fn spend_alone(&self, now: u64, terms: Terms, cost: u32) -> Result<Alone, (Duration, u32)> {
        if self.spend_lease(now, cost) {
            return Ok(Alone::Lease);
        }
        let share = terms.rate.share(terms.proxies);
        self.proxies.store(terms.proxies, Ordering::Relaxed);
        match self.share.try_take(now, share, cost) {
            Decision::Admit { new_tat, .. } => {
                let owed_tat = self.owed.charge(now, share, cost);
                Ok(Alone::Share { tat: new_tat, owed_tat })
            }
            // A share may be too small for what the whole is large enough for; that ends with the outage.
            Decision::Refuse { retry_after, remaining } if retry_after == NEVER && share.per_minute > 0 => {
                Err((share.fill_time().unwrap_or(NEVER), remaining))
            }
            Decision::Refuse { retry_after, remaining } => Err((retry_after, remaining)),
        }
    }

    /// Gives units back that were spent from the lease. Those of a lease that has ended are lost.
    pub fn give_back(&self, now: u64, units: u32) {
        if now < self.until.load(Ordering::Acquire) {
            self.units.fetch_add(units, Ordering::AcqRel);
        }
    }

    /// Gives units back that were taken from the share.
    pub fn give_back_share(&self, terms: Terms, units: u32, tat: u64, owed_tat: u64) {
        let share = terms.rate.share(terms.proxies);
        self.share.refund(share, units, tat);
        self.owed.refund(share, units, owed_tat);
    }

    /// The near end for a changed rate, with what this proxy took and owes. Without it, each change while the store is away
    /// would open the whole share again. A lease was taken under the old rate and is lost.
    #[must_use]
    pub fn carried_over(&self, now: u64, from: Rate, to: Rate) -> Self {
        let proxies = self.proxies.load(Ordering::Relaxed);
        let (from, to) = (from.storable(), to.storable());
        let terms = Terms { rate: from, proxies };
        let owed = owed_units(self.owed.peek_all(), now, terms);
        let (from, to) = (from.share(proxies), to.share(proxies));
        Self {
            known: AtomicU64::new(self.known.load(Ordering::Acquire)),
            proxies: AtomicU32::new(proxies),
            strict: AtomicBool::new(self.strict.load(Ordering::Acquire)),
            share: self.share.carried_over(now, from, to),
            owed: Bucket::missing(now, to, owed),
            ..Self::default()
        }
    }

    fn spend_lease(&self, now: u64, cost: u32) -> bool {
        now < self.until.load(Ordering::Acquire)
            && self
                .units
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |units| units.checked_sub(cost))
                .is_ok()
    }

    fn held(&self, now: u64) -> u32 {
        if now < self.until.load(Ordering::Acquire) { self.units.load(Ordering::Acquire) } else { 0 }
    }

    fn next_size(&self, now: u64, most: u32) -> u32 {
        let asked = self.asked.swap(now, Ordering::AcqRel);
        let since = now.saturating_sub(asked);
        let size = next_size(self.size.load(Ordering::Acquire), (asked > 0).then_some(since));
        let size = size.min(most);
        self.size.store(size, Ordering::Release);
        size
    }
}

/// Whether what was asked at `told` still counts.
pub(crate) fn is_fresh(now: u64, told: u64) -> bool {
    now.saturating_sub(told) <= nanos(FRESH)
}

/// What a lease holds next, of which the last held `size`, and `since` which the store was asked before, nanoseconds.
pub(crate) fn next_size(size: u32, since: Option<u64>) -> u32 {
    match (size, since) {
        // Never asked before, or so long ago that it says nothing.
        (_, None) => 0,
        (_, Some(since)) if since > nanos(LEASE) => 0,
        (0, Some(since)) => u32::from(since <= nanos(DEMAND)),
        (size, Some(since)) if since <= nanos(DEMAND) => size.saturating_mul(2),
        (size, Some(_)) => size,
    }
}

/// From where a take without the store came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alone {
    /// What the store had granted before.
    Lease,
    /// This proxy's share. The numbers are for [`Near::give_back_share`].
    Share {
        /// Arrival time of the share's bucket.
        tat: u64,
        /// Arrival time of the bucket of what is owed.
        owed_tat: u64,
    },
}

/// What was admitted without the store and would not have flown back since.
fn owed_units(tat: u64, now: u64, terms: Terms) -> u32 {
    let share = terms.rate.share(terms.proxies);
    match gcra::decide(tat, now, share, 0) {
        Decision::Admit { remaining, .. } => share.burst.saturating_sub(remaining).min(terms.rate.burst),
        Decision::Refuse { .. } => 0,
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
