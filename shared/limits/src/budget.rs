//! Budgets: so many units a day or a month, by the calendar of UTC. Pure; see [`crate::shared`] for how proxies share one.

use std::time::Duration;

use parking_lot::Mutex;

use crate::{
    near::{LEASE, Step},
    shared::{Ask, Floor, Of, Reading},
};

const DAY: u64 = 86_400;
/// Budgets under so many units a proxy are never leased.
const LEAST_PER_PROXY: u32 = 20;

/// For how long a budget lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Window {
    /// From midnight to midnight.
    Day,
    /// From the first of a month to the next.
    Month,
}

impl Window {
    /// The window at this time, seconds since 1970: days since 1970, or months since year 0.
    #[must_use]
    pub const fn number(self, unix_seconds: u64) -> u64 {
        let days = unix_seconds / DAY;
        match self {
            Self::Day => days,
            Self::Month => month_of(days),
        }
    }

    /// When the window with this number ends, seconds since 1970.
    #[must_use]
    pub const fn ends(self, number: u64) -> u64 {
        match self {
            Self::Day => number.saturating_add(1).saturating_mul(DAY),
            Self::Month => first_day_of(number.saturating_add(1)).saturating_mul(DAY),
        }
    }
}

/// Months since year 0, from days since 1970 (Howard Hinnant, "chrono-compatible low-level date algorithms").
const fn month_of(days: u64) -> u64 {
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    // March is the first month of such a year.
    (yoe + era * 400) * 12 + (5 * doy + 2) / 153 + 2
}

/// The inverse, for the first of a month.
const fn first_day_of(month: u64) -> u64 {
    let shifted = month.saturating_sub(2);
    let (year, mp) = (shifted / 12, shifted % 12);
    let (era, yoe) = (year / 400, year % 400);
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + (153 * mp + 2) / 5;
    (era * 146_097 + doe).saturating_sub(719_468)
}

/// So many units in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Which window.
    pub window: Window,
    /// How many.
    pub units: u32,
}

impl Budget {
    /// Units one of `proxies` may hold ahead of need; 0 where each take is a call.
    #[must_use]
    pub fn most_held(self, proxies: u32) -> u32 {
        let proxies = proxies.max(1);
        if self.units < LEAST_PER_PROXY.saturating_mul(proxies) { 0 } else { self.units / 10 / proxies }
    }

    /// How long until the window with this number ends.
    #[must_use]
    pub const fn wait(self, number: u64, unix_seconds: u64) -> Duration {
        let left = self.window.ends(number).saturating_sub(unix_seconds);
        Duration::from_secs(if left == 0 { 1 } else { left })
    }
}

/// Two clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds of a clock that does not step back.
    pub nanos: u64,
    /// Seconds since 1970.
    pub unix_seconds: u64,
}

/// This proxy's end of a budget: what it knows of it, holds of it, and does without the store. Where there is no store it
/// is the whole budget.
#[derive(Debug, Default)]
pub struct NearBudget {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    window: u64,
    /// Used of this window by everybody, leases included, as the store last said, and when that was asked.
    used: u64,
    told: u64,
    /// The lease, and until when. Afterwards it is told to the store as given back.
    units: u32,
    until: u64,
    /// What a lease holds at present demand, and when the store was last asked.
    size: u32,
    asked: u64,
    leasing: bool,
    /// Admitted of this window without the store and not in `used`.
    alone: u32,
}

/// What is asked, until it is answered or not.
#[must_use = "what is owed waits for the answer"]
#[derive(Debug)]
pub struct Asking {
    /// For the store.
    pub ask: Ask,
    at: u64,
    window: u64,
    leasing: bool,
    alone: u32,
}

impl NearBudget {
    /// As [`crate::near::Near::spend`].
    pub fn spend(&self, now: Now, budget: Budget, cost: u32) -> Step {
        let mut state = self.state.lock();
        if state.window != budget.window.number(now.unix_seconds) {
            return Step::Ask;
        }
        if state.spend_lease(now, cost) {
            return Step::Spent;
        }
        let left = budget.units.saturating_sub(clamp(state.used + u64::from(state.alone)));
        if cost > budget.units || (cost > left && crate::near::is_fresh(now.nanos, state.told)) {
            let retry_after = budget.wait(state.window, now.unix_seconds);
            return Step::Refused { retry_after, remaining: left };
        }
        Step::Ask
    }

    /// As [`crate::near::Near::wants_more`].
    #[must_use]
    pub fn wants_more(&self, now: Now, budget: Budget, proxies: u32) -> bool {
        let state = self.state.lock();
        let most = budget.most_held(proxies);
        state.size > 0
            && !state.leasing
            && most > 0
            && state.units <= state.size / 2
            && now.nanos < state.until
    }

    /// As [`crate::near::Near::ask`].
    pub fn ask(&self, now: Now, budget: Budget, proxies: u32, cost: u32) -> Asking {
        let mut state = self.state.lock();
        let window = budget.window.number(now.unix_seconds);
        let current = state.window == window;
        let most = budget.most_held(proxies);
        let leasing = most > 0 && !state.leasing;
        let extra = if leasing { state.next_size(now, most).saturating_sub(state.held(now)) } else { 0 };
        state.leasing |= leasing;
        // A lease that has run out goes back; what was admitted without the store is told.
        let over = now.nanos >= state.until;
        let returned = if over { std::mem::take(&mut state.units) } else { 0 };
        let alone = std::mem::take(&mut state.alone);
        let debt = if current { i64::from(alone) - i64::from(returned) } else { 0 };
        let floor = current.then_some(Floor { window, least: state.used });
        Asking {
            ask: Ask { of: Of::Budget(budget), cost, extra, debt, floor },
            at: now.nanos,
            window,
            leasing,
            alone,
        }
    }

    /// As [`crate::near::Near::answered`].
    pub fn answered(&self, asking: &Asking, reading: Reading, refusing: bool) {
        let mut state = self.state.lock();
        if state.window != reading.now {
            *state =
                State { window: reading.now, leasing: state.leasing, asked: state.asked, ..State::default() };
        }
        state.used = reading.taken;
        state.told = state.told.max(asking.at);
        if refusing {
            state.size = 0;
        }
        if reading.granted > 0 {
            state.units = state.units.saturating_add(reading.granted);
            state.until = asking.at.saturating_add(u64::try_from(LEASE.as_nanos()).unwrap_or(u64::MAX));
        }
        state.leasing &= !asking.leasing;
    }

    /// As [`crate::near::Near::unanswered`].
    pub fn unanswered(&self, asking: &Asking) {
        let mut state = self.state.lock();
        if state.window == asking.window {
            state.alone = state.alone.saturating_add(asking.alone);
        }
        state.leasing &= !asking.leasing;
    }

    /// Takes `cost` units without the store: from the lease, or else from this proxy's share of what was left when the
    /// store was last heard of. Says whether it was the lease.
    ///
    /// # Errors
    /// How long to wait, and how many units are left.
    pub fn spend_alone(
        &self,
        now: Now,
        budget: Budget,
        proxies: u32,
        cost: u32,
    ) -> Result<bool, (Duration, u32)> {
        let mut state = self.state.lock();
        let window = budget.window.number(now.unix_seconds);
        // A wall clock that steps back does not open a window again.
        if state.window < window {
            *state = State { window, ..State::default() };
        }
        if state.spend_lease(now, cost) {
            return Ok(true);
        }
        let left = budget.units.saturating_sub(clamp(state.used)).div_ceil(proxies.max(1));
        match state.alone.checked_add(cost).filter(|alone| *alone <= left) {
            Some(alone) => {
                state.alone = alone;
                Ok(false)
            }
            None => Err((budget.wait(state.window, now.unix_seconds), left.saturating_sub(state.alone))),
        }
    }

    /// Gives units back that [`Self::spend`] or [`Self::spend_alone`] took from the lease (`leased`) or without the store.
    pub fn give_back(&self, now: Now, budget: Budget, units: u32, leased: bool) {
        let mut state = self.state.lock();
        if state.window != budget.window.number(now.unix_seconds) {
            return;
        }
        if leased {
            state.units = state.units.saturating_add(units);
        } else {
            state.alone = state.alone.saturating_sub(units);
        }
    }

    /// The same budget for a changed number of units.
    #[must_use]
    pub fn carried_over(&self) -> Self {
        let State { window, used, units, until, alone, .. } = *self.state.lock();
        Self { state: Mutex::new(State { window, used, units, until, alone, ..State::default() }) }
    }
}

impl State {
    fn spend_lease(&mut self, now: Now, cost: u32) -> bool {
        let left = self.units.checked_sub(cost).filter(|_| now.nanos < self.until);
        self.units = left.unwrap_or(self.units);
        left.is_some()
    }

    fn held(&self, now: Now) -> u32 {
        if now.nanos < self.until { self.units } else { 0 }
    }

    fn next_size(&mut self, now: Now, most: u32) -> u32 {
        let since = now.nanos.saturating_sub(self.asked);
        self.size = crate::near::next_size(self.size, (self.asked > 0).then_some(since)).min(most);
        self.asked = now.nanos;
        self.size
    }
}

fn clamp(units: u64) -> u32 {
    u32::try_from(units).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
