//! Whether the proxy may serve: it has the whole configuration, and that is not older than is allowed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use seams::{Clock, Monotonic, Timestamp};
use telemetry::metric;
use tokio::sync::watch;

use crate::refuse::Refusal;

/// How far the clock may be behind the last confirmation before nothing is known about its age: it was set back.
const SKEW: Duration = Duration::from_secs(300);
/// While nothing is confirmed, what runs asks again this often whether it still may.
const ASK_AGAIN_SECS: u64 = 60;

/// What is known about the configuration. Once it is whole the proxy serves it until it is too old, or the proxy is put out of
/// the fleet.
///
/// Its age is the time since the control plane last confirmed that it is current. It goes on over restarts, so it is told
/// by the wall clock; a wall clock that stands still or is set back does not make it younger than this process knows it to be.
#[derive(Debug)]
pub(crate) struct Readiness {
    clock: Arc<dyn Clock>,
    max_stale: Duration,
    whole: AtomicBool,
    /// Microseconds since the epoch; 0: never.
    confirmed: AtomicU64,
    /// Monotonic nanoseconds; `u64::MAX`: not by a control plane of this run.
    heard: AtomicU64,
    /// Seconds, at the last look.
    age: AtomicU64,
    asking: watch::Sender<u64>,
}

impl Readiness {
    /// Nothing is there yet. What nobody has confirmed for longer than `max_stale` is not served.
    pub(crate) fn new(clock: Arc<dyn Clock>, max_stale: Duration) -> Self {
        Self {
            clock,
            max_stale,
            whole: AtomicBool::new(false),
            confirmed: AtomicU64::new(0),
            heard: AtomicU64::new(u64::MAX),
            age: AtomicU64::new(0),
            asking: watch::Sender::new(0),
        }
    }

    /// What there is was last confirmed at this time, in an earlier run.
    pub(crate) fn restore(&self, confirmed: Timestamp) {
        self.confirmed.store(confirmed.micros(), Ordering::Release);
        self.look();
    }

    /// The control plane says now that what is in force is current, or on its way.
    pub(crate) fn confirm(&self) {
        self.confirmed.store(self.clock.now().micros(), Ordering::Release);
        self.heard.store(self.clock.monotonic().nanos(), Ordering::Release);
        self.set_age(Duration::ZERO);
    }

    /// When that was last; the epoch when never.
    pub(crate) fn confirmed(&self) -> Timestamp {
        Timestamp::from_micros(self.confirmed.load(Ordering::Acquire))
    }

    /// Takes the age anew. To be called every second: calls go by the last look.
    pub(crate) fn look(&self) {
        let now = self.clock.now();
        let confirmed = self.confirmed();
        let heard = self.heard.load(Ordering::Acquire);
        let here = (heard != u64::MAX).then(|| self.clock.monotonic().since(Monotonic::from_nanos(heard)));
        let age = match here {
            // The machine may have slept meanwhile, which the monotonic clock does not count.
            Some(here) => here.max(now.since(confirmed)),
            None if confirmed.since(now) > SKEW => Duration::MAX,
            None => now.since(confirmed),
        };
        self.set_age(age);
    }

    fn set_age(&self, age: Duration) {
        let secs = age.as_secs();
        let before = self.age.swap(secs, Ordering::AcqRel);
        metrics::gauge!(metric::CONFIG_AGE).set(secs as f64);
        if before / ASK_AGAIN_SECS != secs / ASK_AGAIN_SECS || self.is_over(before) != self.is_over(secs) {
            self.asking.send_modify(|turn| *turn += 1);
        }
    }

    /// Seconds since the last confirmation, at the last look.
    pub(crate) fn age_secs(&self) -> u64 {
        self.age.load(Ordering::Acquire)
    }

    fn is_over(&self, secs: u64) -> bool {
        secs > self.max_stale.as_secs()
    }

    /// Moves whenever what runs has to ask again whether its configuration is too old.
    pub(crate) fn asking(&self) -> watch::Receiver<u64> {
        self.asking.subscribe()
    }

    /// Whether there is a whole configuration, however old.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Acquire)
    }

    /// Whether calls are served.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_whole() && !self.is_over(self.age_secs())
    }

    /// For the health report.
    pub(crate) fn state(&self) -> &'static str {
        match (self.is_whole(), self.is_over(self.age_secs())) {
            (false, _) => "missing",
            (true, true) => "stale",
            (true, false) if self.heard.load(Ordering::Acquire) == u64::MAX => "archived",
            (true, false) => "complete",
        }
    }

    /// Refuses until the configuration is there.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        if self.is_whole() { Ok(()) } else { Err(Refusal::NotReady) }
    }

    /// Refuses what is too old.
    pub(crate) fn fresh(&self) -> Result<(), Refusal> {
        if self.is_over(self.age_secs()) { Err(Refusal::ConfigStale) } else { Ok(()) }
    }

    pub(crate) fn set(&self) {
        self.whole.store(true, Ordering::Release);
    }

    /// Nothing is served any more.
    pub(crate) fn unset(&self) {
        self.whole.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use seams::ManualClock;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
    const DAY: Duration = Duration::from_secs(24 * 3600);
    const SECOND: Duration = Duration::from_secs(1);

    fn ready() -> (Arc<ManualClock>, Readiness) {
        let clock = Arc::new(ManualClock::at(NOW));
        let ready = Readiness::new(clock.clone(), DAY);
        ready.set();
        (clock, ready)
    }

    #[test]
    fn what_is_confirmed_is_served_for_so_long_and_then_refused() {
        let (clock, ready) = ready();
        ready.confirm();
        clock.advance(DAY);
        ready.look();
        assert!(ready.is_ready());
        assert_eq!(ready.state(), "complete");
        let mut asking = ready.asking();
        clock.advance(SECOND);
        ready.look();
        assert!(!ready.is_ready() && ready.is_whole());
        assert_eq!(ready.state(), "stale");
        assert!(asking.has_changed().unwrap());
        asking.mark_unchanged();
        ready.confirm();
        assert!(ready.is_ready());
        assert!(asking.has_changed().unwrap());
    }

    #[test]
    fn age_goes_on_over_a_restart() {
        let (clock, ready) = ready();
        ready.restore(Timestamp::from_secs(NOW.secs() - 3600));
        assert_eq!((ready.age_secs(), ready.state()), (3600, "archived"));
        clock.advance(DAY - Duration::from_secs(3600));
        ready.look();
        assert!(ready.is_ready());
        clock.advance(SECOND);
        ready.look();
        assert!(!ready.is_ready());
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_young() {
        let (clock, ready) = ready();
        ready.restore(NOW);
        clock.step_to(Timestamp::from_secs(NOW.secs() - 60));
        ready.look();
        assert!(ready.is_ready(), "clocks are not exact");
        clock.step_to(Timestamp::from_secs(NOW.secs() - 3600));
        ready.look();
        assert!(!ready.is_ready());

        ready.confirm();
        clock.advance(DAY + SECOND);
        clock.step_to(NOW);
        ready.look();
        assert!(!ready.is_ready(), "this process knows better");
        ready.confirm();
        clock.step_to(Timestamp::from_secs(clock.now().secs() + 2 * DAY.as_secs()));
        ready.look();
        assert!(!ready.is_ready(), "the machine slept");
    }

    #[test]
    fn without_configuration_there_is_nothing_to_serve() {
        let (_, ready) = ready();
        ready.confirm();
        ready.unset();
        assert!(!ready.is_ready() && ready.check().is_err());
        assert_eq!(ready.state(), "missing");
    }
}
