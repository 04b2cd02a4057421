//! Counters that proxies share: what the store's script does, as pure functions on time that is passed in. The script
//! (`redis-link`, `reserve.lua`) is tested against them; neither is ever changed alone.
//!
//! The store counts time in whole microseconds and arrival times in nanoseconds, in numbers below 2⁵³, which is what its
//! script can calculate with exactly. So a rate is [`Rate::storable`] first.

use std::time::Duration;

use crate::gcra::{NEVER, Rate};

/// The longest time in which an empty shared bucket fills: 2⁵² nanoseconds, 52 days.
const LONGEST: u64 = 1 << 52;

/// What is asked of one bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// How much it admits now.
    pub rate: Rate,
    /// Units needed.
    pub cost: u32,
    /// Units to be taken on top, if everything is admitted: up to half of what is left then.
    pub extra: u32,
    /// Units that were admitted while the store could not be asked.
    pub debt: u32,
    /// Nanoseconds that are missing at least until the bucket is full, by what this proxy knows. Counts only where the
    /// store has lost the bucket.
    pub floor: Option<u64>,
}

/// A bucket as the store keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Theoretical arrival time, nanoseconds.
    pub tat: u64,
    /// Latest time it was taken from, microseconds.
    pub latest: u64,
}

/// What a bucket says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The store's time, microseconds; not before any earlier one of the same bucket.
    pub now: u64,
    /// Nanoseconds until the bucket is full.
    pub missing: u64,
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

impl Reading {
    /// Whole units left at this reading.
    #[must_use]
    pub fn remaining(&self, rate: Rate) -> u32 {
        let left = rate.horizon_nanos().saturating_sub(self.missing);
        rate.interval_nanos().map_or(0, |interval| u32::try_from(left / interval).unwrap_or(u32::MAX))
    }

    /// How long to wait until `cost` is there; [`NEVER`] if no time is enough.
    #[must_use]
    pub fn retry_after(&self, rate: Rate, cost: u32) -> Duration {
        match rate.interval_nanos() {
            Some(interval) if cost <= rate.burst => {
                let wanted = self.missing + interval.saturating_mul(u64::from(cost));
                Duration::from_nanos(wanted.saturating_sub(rate.horizon_nanos()))
            }
            _ => NEVER,
        }
    }

    /// The bucket's theoretical arrival time, nanoseconds of the store's clock.
    #[must_use]
    pub const fn tat(&self) -> u64 {
        self.now * 1_000 + self.missing
    }
}

/// Takes every cost from its bucket, or nothing from any, at the store's time `micros`. All rates are storable.
///
/// # Errors
/// The place of the first bucket that refuses. Debts are booked all the same, and the readings say what is left.
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
            let interval = ask.rate.interval_nanos().unwrap_or(0);
            reading.missing += interval * u64::from(ask.cost);
            reading.granted = ask.extra.min(reading.remaining(ask.rate) / 2);
            reading.missing += interval * u64::from(reading.granted);
        }
        if refusing.is_none() || ask.debt > 0 {
            *held = Some(Stored { tat: reading.tat(), latest: reading.now });
        }
        reading
    });
    let readings = readings.collect();
    (refusing.map_or(Ok(()), Err), readings)
}

fn before(ask: &Ask, held: Option<Stored>, micros: u64) -> Reading {
    let (now, missing) = match held {
        Some(held) => {
            let now = held.latest.max(micros);
            (now, held.tat.saturating_sub(now * 1_000))
        }
        None => (micros, ask.floor.unwrap_or(0)),
    };
    let horizon = ask.rate.horizon_nanos();
    let owed = ask.rate.interval_nanos().unwrap_or(0).saturating_mul(u64::from(ask.debt));
    // A rate that became smaller finds its bucket empty, not closed for the old burst's time.
    Reading { now, missing: missing.min(horizon).saturating_add(owed).min(horizon), granted: 0 }
}

fn refuses(ask: &Ask, reading: &Reading) -> bool {
    ask.rate.per_minute == 0 || (ask.cost > 0 && !reading.retry_after(ask.rate, ask.cost).is_zero())
}

/// Gives back what a take that ended in `taken_tat` (nanoseconds of the store's clock) took; see [`crate::Bucket::refund`].
pub fn refund(rate: Rate, units: u32, taken_tat: u64, held: &mut Stored, micros: u64) {
    let now = held.latest.max(micros);
    let taken = rate.interval_nanos().unwrap_or(0).saturating_mul(u64::from(units));
    let back = taken.min(taken_tat.saturating_sub(now * 1_000));
    let missing = held.tat.saturating_sub(now * 1_000).saturating_sub(back);
    *held = Stored { tat: now * 1_000 + missing, latest: now };
}
