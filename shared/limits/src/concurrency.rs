//! How many run at once.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// A count of what is running, or of bytes that are held.
#[derive(Debug, Default)]
pub struct Concurrency {
    running: AtomicU32,
}

/// What one holder adds to the count. Ends when dropped.
#[must_use = "the lease lasts as long as this value"]
#[derive(Debug)]
pub struct Lease {
    of: Arc<Concurrency>,
    units: u32,
}

impl Concurrency {
    /// Nothing running.
    #[must_use]
    pub const fn new() -> Self {
        Self { running: AtomicU32::new(0) }
    }

    /// One more, unless `max` are running already. A `max` of 0 is no limit, and still counts.
    pub fn try_acquire(self: &Arc<Self>, max: u32) -> Option<Lease> {
        let mut lease = self.lease();
        lease.try_grow(1, max).then_some(lease)
    }

    /// A lease that counts nothing yet.
    pub fn lease(self: &Arc<Self>) -> Lease {
        Lease { of: Arc::clone(self), units: 0 }
    }

    /// How many run now.
    #[must_use]
    pub fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }
}

impl Lease {
    /// `units` more, unless all leases together would count more than `max`. A `max` of 0 is no limit, and still counts.
    #[must_use]
    pub fn try_grow(&mut self, units: u32, max: u32) -> bool {
        let ceiling = if max == 0 { u32::MAX } else { max };
        let running = &self.of.running;
        let mut seen = running.load(Ordering::Relaxed);
        loop {
            let Some(sum) = seen.checked_add(units).filter(|sum| *sum <= ceiling) else { return false };
            match running.compare_exchange_weak(seen, sum, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break,
                Err(current) => seen = current,
            }
        }
        // Part of the sum above, which did not overflow.
        self.units += units;
        true
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Only `try_grow` adds to either: this cannot pass zero.
        self.of.running.fetch_sub(self.units, Ordering::Relaxed);
    }
}
