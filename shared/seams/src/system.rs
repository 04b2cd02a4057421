//! The machine's clock and random source: the only readers of either in the product.

use std::{
    sync::OnceLock,
    time::{Instant, SystemTime},
};

use crate::{Clock, Entropy, Monotonic, Timestamp};

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "this is the seam that everything else goes through")]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(since.as_micros() as u64)
    }

    fn monotonic(&self) -> Monotonic {
        static START: OnceLock<Instant> = OnceLock::new();
        Monotonic::from_nanos(START.get_or_init(Instant::now).elapsed().as_nanos() as u64)
    }
}

/// The operating system's random source (`getrandom(2)`).
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

#[expect(clippy::disallowed_methods, reason = "this is the seam that everything else goes through")]
impl Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) {
        if getrandom::fill(out).is_err() {
            // Without randomness every secret made from here on would be guessable; there is no way to continue.
            std::process::abort();
        }
    }
}
