//! Counters that proxies share: what the store's script does, as pure functions on time that is passed in. The script
//! (`redis-link`, `reserve.lua`) is tested against them; neither is ever changed alone.
//!
//! The store counts time in whole microseconds and arrival times in nanoseconds, in numbers below 2⁵³, which is what its
//! script can calculate with exactly. So a rate is [`Rate::storable`] first.

use std::time::Duration;

use crate::{
    budget::Budget,
    gcra::{NEVER, Rate},
};

/// The longest time in which an empty shared bucket fills: 2⁵² nanoseconds, 52 days.
const LONGEST: u64 = 1 << 52;

/// What a counter admits now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// A bucket; its rate is storable.
    Rate(Rate),
    /// A budget.
    Budget(Budget),
}

/// The least that is taken of a counter, by what one proxy knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floor {
    /// Of a budget: in which window. 0 for a bucket.
    pub window: u64,
    /// As [`Reading::taken`].
    pub least: u64,
}

/// What is asked of one counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// What it is.
    pub of: Of,
    /// Units needed.
    pub cost: u32,
    /// Units to be taken on top, if everything is admitted: up to half of what is left then.
    pub extra: u32,
    /// Units that were admitted while the store could not be asked; of a budget, in the floor's window. Less than 0: given
    /// back.
    pub debt: i64,
    /// Counts only where the store has lost the counter.
    pub floor: Option<Floor>,
}

/// A counter as the store keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Of a bucket: theoretical arrival time, nanoseconds. Of a budget: units used.
    pub value: u64,
    /// Of a bucket: latest time it was taken from, microseconds. Of a budget: its window.
    pub latest: u64,
}

/// What a counter says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Of a bucket: the store's time, microseconds, not before any earlier one. Of a budget: its window.
    pub now: u64,
    /// Of a bucket: nanoseconds until it is full. Of a budget: units used.
    pub taken: u64,
    /// Units taken on top.
    pub granted: u32,
}

impl Rate {
    /// The same rate with a burst that the store can calculate with: at most 52 days' units.
    #[must_use]
    pub fn storable(self) -> Self {
        let Some(interval) = self.interval_nanos() else { return self };
        let most = u32::try_from(LONGEST / interval).unwrap_or(u32::MAX);
        Self { burst: self.burst.min(most), ..self }
    }

    /// What one of `proxies` admits when they cannot count together. Rounded up, so that a small limit does not close.
    #[must_use]
    pub const fn share(self, proxies: u32) -> Self {
        let proxies = if proxies == 0 { 1 } else { proxies };
        Self { per_minute: self.per_minute.div_ceil(proxies), burst: self.burst.div_ceil(proxies) }
    }

    /// Nanoseconds in which a storable burst fills; 0 at rate 0.
    #[must_use]
    pub fn horizon_nanos(self) -> u64 {
        self.interval_nanos().unwrap_or(0).saturating_mul(u64::from(self.burst))
    }
}

impl Of {
    const fn unit(self) -> u64 {
        match self {
            Self::Rate(rate) => match rate.interval_nanos() {
                Some(interval) => interval,
                None => 0,
            },
            Self::Budget(_) => 1,
        }
    }

    /// The most that can be taken, as [`Reading::taken`] counts.
    fn whole(self) -> u64 {
        match self {
            Self::Rate(rate) => rate.horizon_nanos(),
            Self::Budget(budget) => u64::from(budget.units),
        }
    }
}

impl Reading {
    /// Whole units left at this reading.
    #[must_use]
    pub fn remaining(&self, of: Of) -> u32 {
        let left = of.whole().saturating_sub(self.taken);
        left.checked_div(of.unit()).map_or(0, |units| u32::try_from(units).unwrap_or(u32::MAX))
    }

    /// How long to wait until `cost` is there; [`NEVER`] if no time is enough.
    #[must_use]
    pub fn retry_after(&self, of: Of, cost: u32, unix_seconds: u64) -> Duration {
        match of {
            Of::Rate(rate) if rate.per_minute > 0 && cost <= rate.burst => {
                let wanted = self.taken.saturating_add(of.unit().saturating_mul(u64::from(cost)));
                Duration::from_nanos(wanted.saturating_sub(of.whole()))
            }
            Of::Budget(budget) if cost <= budget.units => budget.wait(self.now, unix_seconds),
            Of::Rate(_) | Of::Budget(_) => NEVER,
        }
    }

    /// What a later refund has to say: of a bucket its theoretical arrival time, of a budget its window.
    #[must_use]
    pub const fn moment(&self, of: Of) -> u64 {
        match of {
            Of::Rate(_) => self.now.saturating_mul(1_000).saturating_add(self.taken),
            Of::Budget(_) => self.now,
        }
    }
}

/// Takes every cost from its counter, or nothing from any, at the store's time `micros`.
///
/// # Errors
/// The place of the first counter that refuses. Debts are booked all the same, and the readings say what is left.
pub fn reserve(
    asks: &[Ask],
    stored: &mut [Option<Stored>],
    micros: u64,
) -> (Result<(), usize>, Vec<Reading>) {
    let before: Vec<_> =
        asks.iter().zip(stored.iter()).map(|(ask, held)| before(ask, *held, micros)).collect();
    let refusing = asks.iter().zip(&before).position(|(ask, reading)| refuses(ask, reading));
    let readings = asks.iter().zip(stored).zip(before).map(|((ask, held), mut reading)| {
        if refusing.is_none() {
            reading.taken += ask.of.unit() * u64::from(ask.cost);
            reading.granted = ask.extra.min(reading.remaining(ask.of) / 2);
            reading.taken += ask.of.unit() * u64::from(reading.granted);
        }
        if refusing.is_none() || ask.debt != 0 {
            let value = match ask.of {
                Of::Rate(_) => reading.now.saturating_mul(1_000).saturating_add(reading.taken),
                Of::Budget(_) => reading.taken,
            };
            *held = Some(Stored { value, latest: reading.now });
        }
        reading
    });
    let readings = readings.collect();
    (refusing.map_or(Ok(()), Err), readings)
}

fn before(ask: &Ask, held: Option<Stored>, micros: u64) -> Reading {
    match ask.of {
        Of::Rate(rate) => {
            let (now, taken) = match held {
                Some(held) => {
                    let now = held.latest.max(micros);
                    (now, held.value.saturating_sub(now.saturating_mul(1_000)))
                }
                None => (micros, ask.floor.map_or(0, |floor| floor.least)),
            };
            // A rate that became smaller finds its bucket empty, not closed for the old burst's time.
            let horizon = rate.horizon_nanos();
            let owed = ask.of.unit().saturating_mul(u64::try_from(ask.debt).unwrap_or(0));
            Reading { now, taken: taken.min(horizon).saturating_add(owed).min(horizon), granted: 0 }
        }
        Of::Budget(budget) => {
            let current = budget.window.number(micros / 1_000_000);
            let known = ask.floor.filter(|floor| floor.window == current);
            let (now, used) = match held {
                Some(held) if held.latest >= current => (held.latest, held.value),
                Some(_) => (current, 0),
                None => (current, known.map_or(0, |floor| floor.least)),
            };
            let debt = if ask.floor.is_some_and(|floor| floor.window == now) { ask.debt } else { 0 };
            Reading { now, taken: used.saturating_add_signed(debt), granted: 0 }
        }
    }
}

fn refuses(ask: &Ask, reading: &Reading) -> bool {
    match ask.of {
        Of::Rate(rate) if rate.per_minute == 0 => true,
        _ => ask.cost > 0 && reading.remaining(ask.of) < ask.cost,
    }
}

/// Gives back what a take took, whose reading said `moment` ([`Reading::moment`]); see [`crate::Bucket::refund`].
pub fn refund(of: Of, units: u32, moment: u64, held: &mut Stored, micros: u64) {
    match of {
        Of::Rate(_) => {
            let now = held.latest.max(micros);
            let taken = of.unit().saturating_mul(u64::from(units));
            let back = taken.min(moment.saturating_sub(now.saturating_mul(1_000)));
            let missing = held.value.saturating_sub(now.saturating_mul(1_000)).saturating_sub(back);
            *held = Stored { value: now.saturating_mul(1_000).saturating_add(missing), latest: now };
        }
        Of::Budget(_) if held.latest == moment => held.value = held.value.saturating_sub(u64::from(units)),
        Of::Budget(_) => {}
    }
}
