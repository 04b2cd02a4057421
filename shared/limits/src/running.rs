//! How many calls of a subject run at once, over all proxies: what the store does, as a pure function on time that is passed
//! in. Its script (`redis-link`, `hold.lua`) is tested against it; neither is ever changed alone.
//!
//! Every proxy *holds* permits, as many as its calls need and a few more, for as long as a [`LEASE`], which it renews. All
//! holdings together are at most the limit, and a proxy starts calls only on permits it holds. So at most the limit runs,
//! with these exceptions and no others:
//! - A proxy that cannot renew counts for itself: it starts calls while fewer run than its share, ⌈L / N⌉, or than it held
//!   until its lease ends. While all N are cut off, at most L + (N−1)·⌈L / N⌉ run, and N·⌈L / N⌉ once the calls of before
//!   are over. While one is, at most L and beside it the larger of its share and of what it held.
//! - What the store has lost, a proxy's next renewal tells it again, within [`LEASE`] / 3. Until then it knows what the
//!   proxies that asked know of each other ([`Ask::least`]). Each loss lets at most L more run.
//! - A limit that is lowered does not end what runs.

mod near;

use std::{collections::BTreeMap, time::Duration};

pub use near::{Asking, Permits, Start};

/// What a proxy holds and does not renew goes back after this time.
pub const LEASE: Duration = Duration::from_secs(10);
const LEASE_MICROS: u64 = 10_000_000;

/// What one proxy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// Permits.
    pub units: u32,
    /// Until when, microseconds.
    pub until: u64,
    /// The latest [`Ask::turn`].
    pub turn: u64,
}

/// The permits of one limit, as the store keeps them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pool {
    /// By the number a proxy gave itself when it started.
    pub holders: BTreeMap<u64, Holding>,
    /// What proxies are known to hold that the store has lost, and until when.
    pub lost: Option<(u32, u64)>,
    /// Somebody was refused, and more than half has been held ever since.
    pub short: bool,
}

/// What one proxy asks of one pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// How many may run at once; at least 1.
    pub max: u32,
    /// Its calls that run.
    pub running: u32,
    /// Its calls that wait for permits, this one among them. 0: nobody waits, and what is not needed goes back.
    pub claimed: u32,
    /// With calls that wait: permits ahead of need, at most half of what is left then. Else: permits to keep beside those of
    /// the calls that run.
    pub extra: u32,
    /// Grows with every ask of one proxy. Only the latest may lower what the proxy holds.
    pub turn: u64,
    /// What the others held, as the last answer said, if that is not older than a lease. Counts only where the store does
    /// not know this proxy any more.
    pub least: Option<u32>,
}

/// What the store says of one pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// What this proxy holds now.
    pub held: u32,
    /// What all others hold.
    pub others: u32,
    /// As [`Pool::short`].
    pub short: bool,
}

/// Gives every ask of `holder` the permits it needs, or none to any, at the store's time `micros`.
///
/// # Errors
/// The place of the first pool that refuses. What runs is booked all the same.
pub fn hold(asks: &[Ask], pools: &mut [Pool], holder: u64, micros: u64) -> (Result<(), usize>, Vec<Reading>) {
    let others: Vec<_> =
        asks.iter().zip(&mut *pools).map(|(ask, pool)| pool.others(holder, ask, micros)).collect();
    let refusing = asks.iter().zip(&others).position(|(ask, others)| ask.refused(*others));
    let readings = asks.iter().zip(pools).zip(others).enumerate().map(|(place, ((ask, pool), others))| {
        let before = pool.holders.get(&holder).copied();
        let had = before.map_or(0, |before| before.units);
        let units = match refusing {
            Some(_) => had.max(ask.running),
            None => ask.units(had, before.is_none_or(|before| ask.turn > before.turn), others),
        };
        let turn = before.map_or(0, |before| before.turn).max(ask.turn);
        pool.holders.insert(holder, Holding { units, until: micros.saturating_add(LEASE_MICROS), turn });
        if refusing == Some(place) {
            pool.short = true;
        } else if others.saturating_add(u64::from(units)) <= u64::from(ask.max / 2) {
            pool.short = false;
        }
        Reading { held: units, others: u32::try_from(others).unwrap_or(u32::MAX), short: pool.short }
    });
    let readings = readings.collect();
    (refusing.map_or(Ok(()), Err), readings)
}

impl Ask {
    fn free(&self, others: u64) -> u32 {
        u32::try_from(u64::from(self.max).saturating_sub(others)).unwrap_or(0)
    }

    fn refused(&self, others: u64) -> bool {
        self.claimed > 0 && self.running.saturating_add(self.claimed) > self.free(others)
    }

    fn units(&self, had: u32, newest: bool, others: u64) -> u32 {
        let free = self.free(others);
        if self.claimed > 0 {
            let needed = self.running.saturating_add(self.claimed);
            return had.max(needed.saturating_add(self.extra.min(free.saturating_sub(needed) / 2)));
        }
        let kept = self.running.max(self.running.saturating_add(self.extra).min(free));
        if newest { kept } else { had.max(kept) }
    }
}

impl Pool {
    /// What all but `holder` hold.
    fn others(&mut self, holder: u64, ask: &Ask, micros: u64) -> u64 {
        // Nothing lasts longer than a lease from now, should the store's clock have stepped back.
        let latest = micros.saturating_add(LEASE_MICROS);
        self.holders.retain(|_, holding| {
            holding.until = holding.until.min(latest);
            holding.until > micros
        });
        self.lost =
            self.lost.map(|(units, until)| (units, until.min(latest))).filter(|(_, until)| *until > micros);
        self.short &= !self.holders.is_empty();
        let held = |pool: &Self| -> u64 {
            let others = pool.holders.iter().filter(|(name, _)| **name != holder);
            others.map(|(_, holding)| u64::from(holding.units)).sum()
        };
        if !self.holders.contains_key(&holder) {
            // What it tells now need not be feared any more.
            self.lost = self.lost.map(|(units, until)| (units.saturating_sub(ask.running), until));
            let known = held(self) + self.lost.map_or(0, |(units, _)| u64::from(units));
            let missing = u64::from(ask.least.unwrap_or(0)).saturating_sub(known);
            if let Ok(missing @ 1..) = u32::try_from(missing) {
                let units = self.lost.map_or(0, |(units, _)| units).saturating_add(missing);
                self.lost = Some((units, latest));
            }
        }
        self.lost = self.lost.filter(|(units, _)| *units > 0);
        held(self) + self.lost.map_or(0, |(units, _)| u64::from(units))
    }
}

#[cfg(test)]
mod tests;
