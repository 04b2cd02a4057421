//! How many calls a server may be given at once, found out from how long it takes for them.
//!
//! Additive increase, and a decrease to what was measured. What a call takes when the server is not crowded is learned as the
//! least mean of any window, which ages by a hundredth with each: so it is learned anew where a server becomes slower for good.
//! A window whose mean is half as long again shows calls that wait inside the server; if it takes k times as long as usual, it
//! had k times as many as it works on, and so the bound goes to that number, and a tenth below, where the usual time can be
//! seen again. Where one call at a time is still slow, slow is the usual.
//!
//! [`Samples`] gathers windows without a lock; [`Adaptive`] is the arithmetic.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

/// A window lasts so long at least,
const WINDOW: Duration = Duration::from_millis(500);
/// and has so many calls: fewer say nothing.
const ENOUGH: u32 = 10;
/// What is known of a server that was never crowded begins here.
const FIRST: f64 = 16.0;
/// How much longer than usual a window may take.
const TOLERANCE: f64 = 1.5;
const AGE: f64 = 1.01;
const BELOW: f64 = 0.9;
/// A window takes away half at most, whatever it says.
const LEAST_LEFT: f64 = 0.5;
/// One call in ten that failed is as bad as slow ones.
const FAILED: u32 = 10;

/// What was seen of a server for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Calls that ended.
    pub calls: u32,
    /// How many of them failed.
    pub failed: u32,
    /// How long they took on average.
    pub mean: Duration,
    /// Most that ran at once.
    pub peak: u32,
}

/// Gathers windows.
#[derive(Debug, Default)]
pub struct Samples {
    begun: AtomicU64,
    calls: AtomicU32,
    failed: AtomicU32,
    nanos: AtomicU64,
    peak: AtomicU32,
}

impl Samples {
    /// A call has ended at this nanosecond that took so long, when this many ran, itself among them. Gives the window, to one caller, when it is
    /// full. What ends at that moment may be counted in either of two windows.
    pub fn note(&self, now: u64, took: Duration, running: u32, failed: bool) -> Option<Window> {
        self.nanos.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
        self.peak.fetch_max(running, Ordering::Relaxed);
        self.failed.fetch_add(u32::from(failed), Ordering::Relaxed);
        let calls = self.calls.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let begun = self.begun.load(Ordering::Relaxed);
        if calls < ENOUGH || now.saturating_sub(begun) < WINDOW.as_nanos() as u64 {
            return None;
        }
        self.begun.compare_exchange(begun, now, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        let calls = self.calls.swap(0, Ordering::Relaxed).max(1);
        let nanos = self.nanos.swap(0, Ordering::Relaxed);
        Some(Window {
            calls,
            failed: self.failed.swap(0, Ordering::Relaxed),
            mean: Duration::from_nanos(nanos / u64::from(calls)),
            peak: self.peak.swap(0, Ordering::Relaxed),
        })
    }
}

/// What is known of a server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adaptive {
    /// Calls at once.
    limit: f64,
    /// Seconds that a call takes when nothing waits; 0: not known.
    usual: f64,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self { limit: FIRST, usual: 0.0 }
    }
}

impl Adaptive {
    /// Calls at once: 1 to `most`.
    #[must_use]
    pub fn limit(&self, most: u32) -> u32 {
        (self.limit as u32).min(most).max(1)
    }

    /// Learns from a window.
    pub fn learn(&mut self, window: Window, most: u32) {
        let most = f64::from(most.max(1));
        let limit = self.limit.clamp(1.0, most);
        let mean = window.mean.as_secs_f64().max(1e-9);
        let alone = limit < 2.0;
        self.usual = if self.usual == 0.0 || alone { mean } else { mean.min(self.usual * AGE) };
        let failing = window.failed.saturating_mul(FAILED) >= window.calls.max(1);
        self.limit = if mean > self.usual * TOLERANCE {
            limit * (BELOW * self.usual / mean).max(LEAST_LEFT)
        } else if failing {
            limit * BELOW
        } else if f64::from(window.peak) * 2.0 < limit {
            // What nobody has tried is not known to be good.
            limit
        } else {
            limit + limit.sqrt().max(1.0)
        }
        .clamp(1.0, most);
    }
}

#[cfg(test)]
mod tests;
