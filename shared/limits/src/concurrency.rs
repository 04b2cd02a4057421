//! How many run at once.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// A count of what is running.
#[derive(Debug, Default)]
pub struct Concurrency {
    running: AtomicU32,
}

/// One that is running. Ends when dropped.
#[must_use = "the lease lasts as long as this value"]
#[derive(Debug)]
pub struct Lease {
    of: Arc<Concurrency>,
}

impl Concurrency {
    /// Nothing running.
    #[must_use]
    pub const fn new() -> Self {
        Self { running: AtomicU32::new(0) }
    }

    /// One more, unless `max` are running already. A `max` of 0 is no limit, and still counts.
    pub fn try_acquire(self: &Arc<Self>, max: u32) -> Option<Lease> {
        let ceiling = if max == 0 { u32::MAX } else { max };
        let mut seen = self.running.load(Ordering::Relaxed);
        loop {
            if seen >= ceiling {
                return None;
            }
            match self.running.compare_exchange_weak(seen, seen + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(Lease { of: Arc::clone(self) }),
                Err(current) => seen = current,
            }
        }
    }

    /// How many run now.
    #[must_use]
    pub fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Only `try_acquire` makes a lease, and each adds one: this cannot pass zero.
        self.of.running.fetch_sub(1, Ordering::Relaxed);
    }
}
