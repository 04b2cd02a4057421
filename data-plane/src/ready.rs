//! Whether the proxy may serve: it has the whole configuration, and that is not older than is allowed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use seams::{Clock, Monotonic, Timestamp};
use telemetry::metric;
use tokio::sync::watch;

use crate::refuse::Refusal;

/// How far the clock may be behind a time that is known to have passed before nothing is known about an age: it was set back.
const SKEW: Duration = Duration::from_secs(300);
/// While nothing is confirmed, what runs asks again this often whether it still may: by so much longer than its tenant wants
/// is a stream kept open, at most.
const ASK_AGAIN_SECS: u64 = 10;

/// What is known about the configuration. Once it is whole the proxy serves it until it is too old, or the proxy is put out of
/// the fleet.
///
/// Its age is the time since the control plane last confirmed that it is current. It goes on over restarts: what a process
/// starts with is told by the wall clock, and is no less than what an earlier one knew when it last wrote it down; from
/// there the monotonic clock counts. A wall clock that is ahead makes it older, and one that stands still or is set back
/// does not make it younger.
#[derive(Debug)]
pub(crate) struct Readiness {
    clock: Arc<dyn Clock>,
    max_stale: Duration,
    whole: AtomicBool,
    counted: Mutex<Counted>,
    /// Seconds, at the last look.
    age: AtomicU64,
    asking: watch::Sender<u64>,
}

/// What the age is counted from.
#[derive(Debug, Clone, Copy)]
struct Counted {
    /// The last confirmation, by the wall clock; the epoch: never.
    confirmed: Timestamp,
    /// Age at `at`.
    age: Duration,
    at: Monotonic,
    /// By a control plane of this run.
    heard: bool,
}

impl Readiness {
    /// Nothing is there yet. What nobody has confirmed for longer than `max_stale` is not served.
    pub(crate) fn new(clock: Arc<dyn Clock>, max_stale: Duration) -> Self {
        let never = Counted {
            confirmed: Timestamp::default(),
            age: Duration::ZERO,
            at: clock.monotonic(),
            heard: false,
        };
        Self {
            clock,
            max_stale,
            whole: AtomicBool::new(false),
            counted: Mutex::new(never),
            age: AtomicU64::new(0),
            asking: watch::Sender::new(0),
        }
    }

    /// What there is was last confirmed at this time, and was `age` old when an earlier run last kept that.
    pub(crate) fn restore(&self, confirmed: Timestamp, age: Duration) {
        let now = self.clock.now();
        let is_behind = confirmed.plus(age).since(now) > SKEW;
        let age = if is_behind { Duration::MAX } else { age.max(now.since(confirmed)) };
        *self.counted.lock() = Counted { confirmed, age, at: self.clock.monotonic(), heard: false };
        self.look();
    }

    /// The control plane says now that what is in force is current, or on its way.
    pub(crate) fn confirm(&self) {
        self.confirm_as_of(Duration::ZERO);
    }

    /// It says so, and that it last looked so long ago. What is known to be younger stays so.
    pub(crate) fn confirm_as_of(&self, unread: Duration) {
        let (now, at) = (self.clock.now(), self.clock.monotonic());
        let mut counted = self.counted.lock();
        let age = self.age_by(*counted);
        if unread <= age {
            let confirmed = Timestamp::from_micros(now.micros().saturating_sub(unread.as_micros() as u64));
            *counted = Counted { confirmed, age: unread, at, heard: true };
        } else {
            counted.heard = true;
        }
        drop(counted);
        self.set_age(unread.min(age));
    }

    /// When that was last, and how long ago that is; for [`restore`](Self::restore) in a later run. `None` where that is not
    /// known.
    pub(crate) fn known(&self) -> Option<(Timestamp, Duration)> {
        let counted = *self.counted.lock();
        let age = self.age_by(counted);
        let is_known = counted.confirmed > Timestamp::default() && age != Duration::MAX;
        is_known.then_some((counted.confirmed, age))
    }

    fn age_by(&self, counted: Counted) -> Duration {
        let here = counted.age.saturating_add(self.clock.monotonic().since(counted.at));
        // The machine may have slept meanwhile, which the monotonic clock does not count.
        here.max(self.clock.now().since(counted.confirmed))
    }

    /// Takes the age anew. To be called every second: calls go by the last look.
    pub(crate) fn look(&self) {
        let counted = *self.counted.lock();
        self.set_age(self.age_by(counted));
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
            (true, false) if !self.counted.lock().heard => "archived",
            (true, false) => "complete",
        }
    }

    /// Refuses until the configuration is there.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        if self.is_whole() { Ok(()) } else { Err(Refusal::NotReady) }
    }

    /// Refuses what is too old, for the proxy or for a tenant that wants less.
    pub(crate) fn fresh(&self, tenants: Option<u64>) -> Result<(), Refusal> {
        let age = self.age_secs();
        let over = self.is_over(age) || tenants.is_some_and(|most| age > most);
        if over { Err(Refusal::ConfigStale) } else { Ok(()) }
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

    /// A replica whose database does not answer says what it read last: that makes nothing younger.
    #[test]
    fn what_was_not_read_lately_is_not_confirmed() {
        let (clock, ready) = ready();
        ready.confirm();
        for beat in 1..=3 {
            clock.advance(DAY / 3);
            ready.confirm_as_of(DAY / 3 * beat);
        }
        assert!(ready.is_ready());
        clock.advance(SECOND);
        ready.confirm_as_of(DAY + SECOND);
        assert_eq!(ready.state(), "stale");
        // Another replica read a second ago.
        ready.confirm_as_of(SECOND);
        assert!(ready.is_ready());
        assert_eq!(ready.age_secs(), 1);
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
        ready.restore(Timestamp::from_secs(NOW.secs() - 3600), Duration::ZERO);
        assert_eq!((ready.age_secs(), ready.state()), (3600, "archived"));
        clock.advance(DAY - Duration::from_secs(3600));
        ready.look();
        assert!(ready.is_ready());
        clock.advance(SECOND);
        ready.look();
        assert!(!ready.is_ready());
    }

    #[test]
    fn what_was_kept_grows_old_though_the_wall_clock_stands_still() {
        let (clock, first) = ready();
        first.restore(NOW, Duration::ZERO);
        clock.advance(Duration::from_secs(240));
        clock.step_to(NOW);
        let kept = first.known().unwrap();
        assert_eq!(kept, (NOW, Duration::from_secs(240)));

        let second = Readiness::new(clock.clone(), DAY);
        second.restore(kept.0, kept.1);
        assert_eq!(second.age_secs(), 240, "an earlier run knew it");
        clock.advance(DAY - Duration::from_secs(240));
        clock.step_to(NOW);
        second.look();
        assert!(second.fresh(None).is_ok());
        clock.advance(SECOND);
        clock.step_to(NOW);
        second.look();
        assert!(second.fresh(None).is_err());
    }

    #[test]
    fn a_clock_that_is_behind_at_the_start_closes() {
        let (clock, ready) = ready();
        let hour = Duration::from_secs(3600);
        let starts = |secs: u64| {
            clock.step_to(Timestamp::from_secs(secs));
            ready.restore(NOW, hour);
            ready.fresh(None).is_ok()
        };
        let known = NOW.secs() + hour.as_secs();
        assert!(starts(known) && starts(known - 60), "clocks are not exact");
        assert!(!starts(known - SKEW.as_secs() - 1), "so late it was when this was written");
        assert!(!starts(NOW.secs() - DAY.as_secs()));
        assert_eq!(ready.known(), None, "what is not known is not written down");
        clock.advance(DAY);
        clock.step_to(Timestamp::from_secs(known));
        ready.look();
        assert!(ready.fresh(None).is_err(), "nor does a clock that is set right later say how long that was");
        ready.confirm();
        assert!(ready.fresh(None).is_ok());
    }

    #[test]
    fn a_clock_that_is_set_back_while_the_proxy_runs_makes_nothing_young() {
        let (clock, ready) = ready();
        ready.restore(NOW, Duration::ZERO);
        clock.step_to(Timestamp::from_secs(NOW.secs() - 3600));
        ready.look();
        assert_eq!((ready.age_secs(), ready.is_ready()), (0, true), "this process counts by itself");

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
    fn a_tenant_may_want_less_and_never_gets_more() {
        let (clock, ready) = ready();
        ready.confirm();
        let mut asking = ready.asking();
        clock.advance(Duration::from_secs(90));
        ready.look();
        assert!(ready.fresh(Some(90)).is_ok() && ready.fresh(None).is_ok());
        assert!(asking.has_changed().unwrap(), "what runs asks again");
        asking.mark_unchanged();
        clock.advance(Duration::from_secs(ASK_AGAIN_SECS));
        ready.look();
        assert!(ready.fresh(Some(90)).is_err() && ready.fresh(None).is_ok());
        assert!(asking.has_changed().unwrap(), "what runs for that tenant ends");
        assert!(ready.is_ready(), "the proxy serves the others");
        clock.advance(DAY);
        ready.look();
        assert!(ready.fresh(Some(7 * DAY.as_secs())).is_err());
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
