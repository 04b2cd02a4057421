//! Full jitter: each wait is uniform between nothing and a bound that doubles.

use std::time::Duration;

use seams::Entropy;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);

/// Waits between attempts.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// After a failure.
    pub(super) fn next(&mut self, entropy: &dyn Entropy) -> Duration {
        let most = FIRST.saturating_mul(1 << self.failures.min(20)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        uniform(entropy, most)
    }

    /// After success.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Uniform in `0..=most`.
pub(super) fn uniform(entropy: &dyn Entropy, most: Duration) -> Duration {
    let bound = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX - 1);
    Duration::from_nanos(u64::from_le_bytes(entropy.bytes()) % (bound + 1))
}
