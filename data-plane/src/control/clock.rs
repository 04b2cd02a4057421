//! The proxy's clock, set right by the control plane's.
//!
//! When a key or a grant ends is decided by one clock for the whole fleet, not by whichever machine a call happens to
//! reach. A proxy whose own clock is wrong serves as if it were right, and says so.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use seams::{Clock, Monotonic, Timestamp};
use telemetry::metric;
use wire::stream::client::Told;

/// Beats looked back over: each says at least how far the control plane is ahead, and the one that was on its way the
/// shortest says it best.
const SAMPLES: usize = 4;
/// When the own clock has moved against time itself by more than this since the last beat, somebody has set it, and what was
/// learned before is of no use.
const STEPPED: Duration = Duration::from_millis(500);
/// Own clocks further off than this are logged.
const SKEWED: Duration = Duration::from_secs(2);

/// Gives the control plane's time, as far as it is known.
#[derive(Debug)]
pub(crate) struct ServerClock {
    own: Arc<dyn Clock>,
    /// Microseconds to be added to the own clock's.
    offset: AtomicI64,
    learned: Mutex<Learned>,
}

#[derive(Debug, Default)]
struct Learned {
    samples: VecDeque<i64>,
    /// Half of the last round trip: how long a word is under way.
    under_way: Duration,
    /// Both readings of the own clock at the last sample.
    last: Option<(Timestamp, Monotonic)>,
    skewed: bool,
}

impl ServerClock {
    pub(crate) fn new(own: Arc<dyn Clock>) -> Self {
        Self { own, offset: AtomicI64::new(0), learned: Mutex::default() }
    }

    /// The machine's own clock.
    pub(crate) fn own(&self) -> &dyn Clock {
        &*self.own
    }

    /// Learns from what the control plane said just now.
    pub(super) fn learn(&self, told: &Told) {
        let (wall, now) = (self.own.now(), self.own.monotonic());
        let mut learned = self.learned.lock();
        if let Some((before, then)) = learned.last.replace((wall, now)) {
            let passed = i128::try_from(now.since(then).as_micros()).unwrap_or(i128::MAX);
            let moved = i128::from(wall.micros()) - i128::from(before.micros());
            if (moved - passed).unsigned_abs() > STEPPED.as_micros() {
                learned.samples.clear();
            }
        }
        if let Some(round_trip) = told.round_trip {
            learned.under_way = round_trip / 2;
        }
        let there = told.server_time.plus(learned.under_way);
        let ahead = i128::from(there.micros()) - i128::from(wall.micros());
        learned.samples.truncate(SAMPLES - 1);
        learned.samples.push_front(i64::try_from(ahead).unwrap_or_default());
        let offset = learned.samples.iter().copied().max().unwrap_or_default();
        self.offset.store(offset, Ordering::Relaxed);
        metrics::gauge!(metric::CLOCK_SKEW).set(offset as f64 / 1e6);
        let skewed = Duration::from_micros(offset.unsigned_abs()) > SKEWED;
        if std::mem::replace(&mut learned.skewed, skewed) != skewed {
            if skewed {
                tracing::warn!(
                    clock.ahead_ms = offset / 1_000,
                    "own clock is wrong; the control plane's is used"
                );
            } else {
                tracing::info!("own clock is right again");
            }
        }
    }
}

impl Clock for ServerClock {
    fn now(&self) -> Timestamp {
        let own = self.own.now().micros();
        Timestamp::from_micros(own.saturating_add_signed(self.offset.load(Ordering::Relaxed)))
    }

    fn monotonic(&self) -> Monotonic {
        self.own.monotonic()
    }
}

#[cfg(test)]
mod tests {
    use seams::ManualClock;

    use super::*;

    fn told(server_time: Timestamp, round_trip: Option<Duration>) -> Told {
        Told { server_time, round_trip, live_proxies: None }
    }

    const HOUR: Duration = Duration::from_secs(3_600);
    const BEAT: Duration = Duration::from_secs(5);

    #[test]
    fn gives_the_control_planes_time_and_is_not_moved_by_a_slow_beat() {
        let own = Arc::new(ManualClock::at(Timestamp::from_secs(1_000_000)));
        let clock = ServerClock::new(own.clone());
        assert_eq!(clock.now(), own.now(), "nothing is known yet");
        let there = |own: &ManualClock| own.now().plus(HOUR);
        let trip = Duration::from_millis(40);
        // It read its clock in the middle of the round trip.
        let read = there(&own);
        own.advance(trip / 2);
        clock.learn(&told(read, Some(trip)));
        assert_eq!(clock.now(), there(&own));
        for delay in [20, 900, 20, 700] {
            own.advance(BEAT);
            let said = there(&own);
            own.advance(Duration::from_millis(delay));
            clock.learn(&told(said, None));
            assert_eq!(clock.now(), there(&own), "a beat {delay} ms under way");
        }
        assert_eq!(clock.monotonic(), own.monotonic());
    }

    #[test]
    fn an_own_clock_that_is_set_is_set_right_by_the_next_beat() {
        let own = Arc::new(ManualClock::at(Timestamp::from_secs(1_000_000)));
        let clock = ServerClock::new(own.clone());
        let mut there = own.now();
        clock.learn(&told(there, Some(Duration::ZERO)));
        for step in [-300_i64, 300, 86_400] {
            own.advance(BEAT);
            there = there.plus(BEAT);
            own.step_to(Timestamp::from_micros(own.now().micros().saturating_add_signed(step * 1_000_000)));
            clock.learn(&told(there, None));
            assert_eq!(clock.now(), there, "after a step of {step} s");
        }
    }
}
