//! A circuit breaker. Closed: calls pass. After failures it is open: calls are refused without being tried. When it has been
//! open for a while, one call is let through as a probe (half-open); its success closes the breaker, its failure opens it for
//! twice as long.
//!
//! Two things open it: failures one after another, which also shows where few calls come; and a share of the calls of ten
//! seconds, which also shows where some succeed. After it was closed by a probe, the first failure opens it again.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use seams::Monotonic;

/// Calls are counted over so long.
const WINDOW: u64 = 10_000_000_000;
/// Fewer calls in a window say nothing.
const ENOUGH: u64 = 20;
/// However often it fails again, it is probed this often at least, unless it was configured to stay open for longer.
const OPEN_AT_MOST: Duration = Duration::from_secs(60);

/// What opens a breaker, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Failures in a row; 0: the breaker never opens.
    pub failures: u32,
    /// Per cent of the calls of ten seconds.
    pub percent: u32,
    /// Until the first probe.
    pub open: Duration,
}

impl Limits {
    const fn are_off(self) -> bool {
        self.failures == 0
    }

    /// How long it stays open when it has failed `streak` times before: up to a quarter longer, by chance, so that proxies
    /// do not probe together.
    fn open_for(self, streak: u32, chance: u64) -> u64 {
        let most = self.open.max(OPEN_AT_MOST);
        let open = self.open.saturating_mul(1 << streak.min(16)).min(most).as_nanos() as u64;
        open.saturating_add(chance % (open / 4).max(1))
    }
}

/// Leave to send a call. It counts only as long as the breaker neither opens nor closes: what was sent before says nothing
/// of what is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pass {
    epoch: u32,
    /// The one call that shows whether it works again; and when the next one would go.
    probe: Option<u64>,
}

impl Pass {
    /// For a breaker that does not exist, because nothing has ever failed.
    pub(super) const FIRST: Self = Self { epoch: 0, probe: None };

    /// Whether it shows that it works again.
    pub(super) const fn is_probe(self) -> bool {
        self.probe.is_some()
    }
}

/// What a call's end has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Calls are refused from now on, for so long at least.
    Opened(Duration),
    /// Calls pass again.
    Closed,
}

/// A breaker's state.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    /// While open: the clock's nanoseconds at which the next probe may go. 0: closed.
    probe_at: AtomicU64,
    /// How often it opened, closed, or lost a probe.
    epoch: AtomicU32,
    /// Failures in a row.
    row: AtomicU32,
    /// How often it opened since a call succeeded.
    streak: AtomicU32,
    /// Number of the window, its calls, and how many of them failed: 24, 20 and 20 bits.
    window: AtomicU64,
}

impl Breaker {
    /// Leave to call, or how long there is none. Takes the probe, if one is due.
    pub(super) fn admit(&self, limits: Limits, now: Monotonic) -> Result<Pass, Duration> {
        let epoch = self.epoch.load(Ordering::Acquire);
        let at = self.probe_at.load(Ordering::Acquire);
        if at == 0 || limits.are_off() {
            return Ok(Pass { epoch, probe: None });
        }
        let now = now.nanos();
        // One probe at a time. If nothing is heard of it for long, there is another.
        let next = now.saturating_add(limits.open.as_nanos() as u64).max(1);
        if now < at {
            return Err(Duration::from_nanos(at - now));
        }
        match self.probe_at.compare_exchange(at, next, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(Pass { epoch, probe: Some(next) }),
            Err(0) => Ok(Pass { epoch: self.epoch.load(Ordering::Acquire), probe: None }),
            Err(other) => Err(Duration::from_nanos(other.saturating_sub(now))),
        }
    }

    /// How long it would not admit; takes nothing.
    pub(super) fn shut_for(&self, limits: Limits, now: Monotonic) -> Option<Duration> {
        let at = self.probe_at.load(Ordering::Acquire);
        let shut = now.nanos() < at && !limits.are_off();
        shut.then(|| Duration::from_nanos(at - now.nanos()))
    }

    /// Nothing will be heard of a call. If it was the probe, the next call is.
    pub(super) fn lost(&self, pass: Pass, now: Monotonic) {
        let Some(next) = pass.probe.filter(|_| self.is_of_now(pass)) else { return };
        let due = now.nanos().max(1);
        if self.probe_at.compare_exchange(next, due, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.epoch.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn is_of_now(&self, pass: Pass) -> bool {
        self.epoch.load(Ordering::Acquire) == pass.epoch
    }

    /// A call was answered.
    pub(super) fn succeeded(&self, limits: Limits, pass: Pass, now: Monotonic) -> Option<Change> {
        if limits.are_off() || !self.is_of_now(pass) {
            return None;
        }
        if pass.is_probe() {
            // On probation: one more failure is enough.
            self.row.store(limits.failures - 1, Ordering::Relaxed);
            self.window.store(0, Ordering::Relaxed);
            let closed = self.probe_at.swap(0, Ordering::AcqRel) != 0;
            self.epoch.fetch_add(u32::from(closed), Ordering::AcqRel);
            return closed.then_some(Change::Closed);
        }
        for count in [&self.row, &self.streak] {
            if count.load(Ordering::Relaxed) != 0 {
                count.store(0, Ordering::Relaxed);
            }
        }
        self.count(now, 0);
        None
    }

    /// A call failed. `chance` is drawn only when it opens.
    pub(super) fn failed(
        &self,
        limits: Limits,
        pass: Pass,
        now: Monotonic,
        chance: impl FnOnce() -> u64,
    ) -> Option<Change> {
        if limits.are_off() || !self.is_of_now(pass) {
            return None;
        }
        let open = self.probe_at.load(Ordering::Acquire);
        if !pass.is_probe() {
            if open != 0 {
                return None;
            }
            let row = self.row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            let (calls, failures) = self.count(now, 1);
            let many = calls >= ENOUGH && failures * 100 >= calls * u64::from(limits.percent);
            if row < limits.failures && !many {
                return None;
            }
        }
        let streak = self.streak.fetch_add(1, Ordering::Relaxed);
        let open_for = limits.open_for(streak, chance());
        let until = now.nanos().saturating_add(open_for).max(1);
        // Of calls that fail together, one opens it.
        self.probe_at.compare_exchange(open, until, Ordering::AcqRel, Ordering::Acquire).ok()?;
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.row.store(0, Ordering::Relaxed);
        self.window.store(0, Ordering::Relaxed);
        Some(Change::Opened(Duration::from_nanos(open_for)))
    }

    /// Counts a call in the present window, and says how many it has, and how many of them failed.
    fn count(&self, now: Monotonic, failed: u64) -> (u64, u64) {
        const MOST: u64 = (1 << 20) - 1;
        let number = (now.nanos() / WINDOW) & 0xff_ffff;
        let counted = |packed: u64| {
            let present = packed >> 40 == number;
            let (calls, failures) = if present { ((packed >> 20) & MOST, packed & MOST) } else { (0, 0) };
            // Full: the share stays as it is.
            if calls == MOST { (calls, failures) } else { (calls + 1, failures + failed) }
        };
        let pack = |(calls, failures): (u64, u64)| (number << 40) | (calls << 20) | failures;
        let mut packed = self.window.load(Ordering::Relaxed);
        loop {
            let next = counted(packed);
            match self.window.compare_exchange_weak(packed, pack(next), Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return next,
                Err(other) => packed = other,
            }
        }
    }
}
