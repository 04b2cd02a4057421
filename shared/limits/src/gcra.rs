//! The generic cell rate algorithm on whole nanoseconds. No state, no clock.

use std::time::Duration;

/// `retry_after` of what no waiting will admit: the rate is zero, or the cost is larger than the burst.
pub const NEVER: Duration = Duration::MAX;

/// How many times a limit of calls its subject's other requests may be.
const PROTOCOL_FACTOR: u32 = 5;
const MINUTE: u64 = 60_000_000_000;

/// How much a bucket admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Units that flow back a minute. 0 refuses everything.
    pub per_minute: u32,
    /// Units that may be taken at once.
    pub burst: u32,
}

impl Rate {
    /// A rate whose burst is one minute's units.
    #[must_use]
    pub const fn per_minute(units: u32) -> Self {
        Self { per_minute: units, burst: units }
    }

    /// The rate of requests that are no calls, beside this rate of calls: five times as many.
    #[must_use]
    pub const fn protocol(self) -> Self {
        Self {
            per_minute: self.per_minute.saturating_mul(PROTOCOL_FACTOR),
            burst: self.burst.saturating_mul(PROTOCOL_FACTOR),
        }
    }

    /// Nanoseconds in which one unit flows back, rounded up: a bucket is never faster than its rate. `None` at rate 0.
    #[must_use]
    pub const fn interval_nanos(self) -> Option<u64> {
        if self.per_minute == 0 { None } else { Some(MINUTE.div_ceil(self.per_minute as u64)) }
    }

    /// Time in which an empty bucket fills. `None` at rate 0.
    #[must_use]
    pub fn fill_time(self) -> Option<Duration> {
        let interval = self.interval_nanos()?;
        Some(Duration::from_nanos(interval.saturating_mul(u64::from(self.burst))))
    }
}

/// What a bucket says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Taken.
    Admit {
        /// The bucket's new theoretical arrival time.
        new_tat: u64,
        /// Whole units left after taking.
        remaining: u32,
    },
    /// Not taken; the bucket is unchanged.
    Refuse {
        /// After this time the same cost would be admitted, if nobody else took before; [`NEVER`] if no time is enough.
        retry_after: Duration,
        /// Whole units left.
        remaining: u32,
    },
}

impl Decision {
    /// Whether it was admitted.
    #[must_use]
    pub const fn admitted(self) -> bool {
        matches!(self, Self::Admit { .. })
    }
}

/// Decides about `cost` units at `now_nanos`, given the bucket's theoretical arrival time. A new bucket's is 0.
///
/// A cost of 0 is admitted whenever the rate is not 0, and takes nothing.
#[must_use]
pub fn decide(tat_nanos: u64, now_nanos: u64, rate: Rate, cost: u32) -> Decision {
    let Some(interval) = rate.interval_nanos() else {
        return Decision::Refuse { retry_after: NEVER, remaining: 0 };
    };
    // 128 bits, because burst · interval alone may pass 64; a saturated product would admit too much.
    let interval = u128::from(interval);
    let now = u128::from(now_nanos);
    let horizon = now + interval * u128::from(rate.burst);
    let from = u128::from(tat_nanos).max(now);
    let wanted = from + interval * u128::from(cost);
    let units_until = |tat: u128| u32::try_from(horizon.saturating_sub(tat) / interval).unwrap_or(u32::MAX);
    match u64::try_from(wanted) {
        Ok(new_tat) if wanted <= horizon || cost == 0 => {
            Decision::Admit { new_tat, remaining: units_until(wanted) }
        }
        _ => {
            let retry_after = if cost > rate.burst {
                NEVER
            } else {
                u64::try_from(wanted - horizon).map_or(NEVER, Duration::from_nanos)
            };
            Decision::Refuse { retry_after, remaining: units_until(from) }
        }
    }
}
