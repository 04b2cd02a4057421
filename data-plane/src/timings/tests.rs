use std::sync::atomic::{AtomicU64, Ordering};

use seams::Timestamp;

use super::*;

/// Every reading is a microsecond after the one before, so that readings can be counted and laps told.
#[derive(Debug, Default)]
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::default()
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic::from_nanos(self.0.fetch_add(1_000, Ordering::Relaxed))
    }
}

/// What is exposed of a check: how many, and their sum in nanoseconds.
fn exposed(check: &str) -> (u64, u64) {
    let text = telemetry::metrics_handle().render();
    let value = |part: &str| {
        let line = format!("portcullis_check_seconds_{part}{{check=\"{check}\"}} ");
        let found = text.lines().find_map(|each| each.strip_prefix(&line));
        found.map_or(0.0, |value| value.parse::<f64>().unwrap())
    };
    (value("count") as u64, (value("sum") * 1e9).round() as u64)
}

#[test]
fn where_nobody_wants_them_the_clock_is_not_read_and_nothing_is_exposed() {
    let handle = telemetry::metrics_handle();
    assert!(Timings::if_wanted().is_none());
    let clock = Ticking::default();
    let mut laps = Laps::begin(None, &clock);
    assert_eq!(laps.of(Check::Edge, 7), 7);
    laps.leave_out();
    laps.passed();
    assert_eq!(clock.0.load(Ordering::Relaxed), 0);
    assert!(!handle.render().contains(metric::CHECK));
}

#[test]
fn laps_run_from_the_end_of_the_check_before_and_all_is_their_sum_without_what_was_left_out() {
    telemetry::metrics_handle();
    let (timings, clock) = (Timings::new(), Ticking::default());
    let mut laps = Laps::begin(Some(&timings), &clock);
    laps.of(Check::Edge, ());
    // Bookkeeping of two microseconds.
    clock.monotonic();
    clock.monotonic();
    laps.of(Check::Endpoint, ());
    laps.leave_out();
    laps.of(Check::Protocol, ());
    laps.passed();
    assert_eq!(exposed("edge"), (1, 1_000));
    assert_eq!(exposed("endpoint"), (1, 3_000));
    assert_eq!(exposed("protocol"), (1, 1_000));
    assert_eq!(exposed("all"), (1, 5_000));
    // A refused request has no sum.
    Laps::begin(Some(&timings), &clock).of(Check::Edge, ());
    assert_eq!((exposed("edge").0, exposed("all").0), (2, 1));
}
