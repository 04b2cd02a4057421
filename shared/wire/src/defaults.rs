//! What stands where a snapshot says nothing, so that both planes mean the same.

use crate::v1;

impl v1::Breaker {
    /// Of an upstream whose administrator has not said otherwise.
    pub const DEFAULT: Self = Self { failures: 5, failure_percent: 50, open_ms: 5_000 };
}

impl v1::UpstreamConcurrency {
    /// Of an upstream whose administrator has not said otherwise: not bounded.
    pub const DEFAULT: Self = Self { max: 0, queue: 100, wait_ms: 1_000, adaptive: false };
}
