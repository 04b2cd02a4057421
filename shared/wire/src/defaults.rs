//! What stands where a snapshot says nothing, so that both planes mean the same.

use crate::v1;

impl v1::Breaker {
    /// Of an upstream whose administrator has not said otherwise.
    pub const DEFAULT: Self = Self { failures: 5, failure_percent: 50, open_ms: 5_000 };
}
