//! The machine's clock, set by a test.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use seams::{Clock, Monotonic, SystemClock, Timestamp};

/// The machine's clock, of which the wall clock can be set.
#[derive(Debug, Default)]
pub struct SetClock(AtomicI64);

impl SetClock {
    /// Sets the wall clock so much ahead of the machine's.
    pub fn ahead(&self, by: Duration) {
        self.0.store(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }

    /// Sets the wall clock so much behind the machine's.
    pub fn behind(&self, by: Duration) {
        self.0.store(-i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(
            SystemClock.now().micros().saturating_add_signed(self.0.load(Ordering::SeqCst)),
        )
    }

    fn monotonic(&self) -> Monotonic {
        SystemClock.monotonic()
    }
}
