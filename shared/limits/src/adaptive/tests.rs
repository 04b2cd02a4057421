use proptest::prelude::*;

use super::*;

const MILLI: u64 = 1_000_000;

fn window(millis: u64, peak: u32, failed: u32) -> Window {
    Window { calls: 100, failed, mean: Duration::from_millis(millis), peak }
}

/// A server that works on so many at once and lets the others wait. Says what it was given in each window.
fn against(adaptive: &mut Adaptive, most: u32, capacity: u32, millis: u64, windows: usize) -> Vec<u32> {
    let step = |_| {
        let given = adaptive.limit(most);
        let mean = millis * u64::from(given.max(capacity)) / u64::from(capacity);
        adaptive.learn(window(mean, given, 0), most);
        given
    };
    (0..windows).map(step).collect()
}

#[test]
fn a_server_that_is_never_crowded_is_given_all_that_may_be() {
    let mut adaptive = Adaptive::default();
    against(&mut adaptive, 200, 1_000, 10, 40);
    assert_eq!(adaptive.limit(200), 200);
    assert_eq!(adaptive.limit(7), 7, "under the bound as it is now");
}

#[test]
fn a_server_that_becomes_slower_for_good_is_learned_anew() {
    let mut adaptive = Adaptive::default();
    against(&mut adaptive, 1_000, 50, 10, 100);
    against(&mut adaptive, 1_000, 50, 100, 30);
    let given = against(&mut adaptive, 1_000, 50, 100, 100);
    assert!(given.iter().all(|given| (25..=150).contains(given)), "{given:?}");
}

#[test]
fn failures_take_away_and_little_use_adds_nothing() {
    let mut adaptive = Adaptive::default();
    against(&mut adaptive, 100, 1_000, 10, 40);
    adaptive.learn(window(10, 100, 10), 100);
    assert_eq!(adaptive.limit(100), 90);
    adaptive.learn(window(10, 44, 0), 100);
    assert_eq!(adaptive.limit(100), 90);
    adaptive.learn(window(10, 45, 0), 100);
    assert_eq!(adaptive.limit(100), 99);
}

#[test]
fn a_window_is_given_once_and_only_when_it_says_something() {
    let samples = Samples::default();
    let note = |millis: u64, failed| samples.note(millis * MILLI, Duration::from_millis(4), 3, failed);
    for _ in 0..9 {
        assert_eq!(note(1_000, false), None, "too few");
    }
    assert_eq!(
        note(1_000, true),
        Some(Window { calls: 10, failed: 1, mean: Duration::from_millis(4), peak: 3 })
    );
    for _ in 0..20 {
        assert_eq!(note(1_499, false), None, "too soon");
    }
    assert_eq!(note(1_500, false).map(|window| (window.calls, window.failed)), Some((21, 0)));
}

fn windows() -> impl Strategy<Value = Vec<Window>> {
    let one = (0_u64..100_000, 0_u32..2_000, 0_u32..200)
        .prop_map(|(millis, peak, failed)| window(millis, peak, failed));
    proptest::collection::vec(one, 0..200)
}

proptest! {
    /// Whatever is seen, at least one call goes out, and never more than may.
    #[test]
    fn it_stays_within_bounds(windows in windows(), most in 0_u32..2_000) {
        let mut adaptive = Adaptive::default();
        for window in windows {
            adaptive.learn(window, most);
            prop_assert!((1..=most.max(1)).contains(&adaptive.limit(most)));
        }
    }

    /// Of two servers with the same past, the slower one, and the one that fails, is not given more.
    #[test]
    fn slower_is_never_more(past in windows(), millis in 1_u64..10_000, more in 0_u64..10_000, peak in 0_u32..200) {
        let mut fast = Adaptive::default();
        past.into_iter().for_each(|window| fast.learn(window, 500));
        let (mut slow, mut failing) = (fast, fast);
        fast.learn(window(millis, peak, 0), 500);
        slow.learn(window(millis + more, peak, 0), 500);
        failing.learn(window(millis, peak, 100), 500);
        // One call at a time that is slow says what is usual, and nothing of crowds.
        prop_assert!(slow.limit(500) <= fast.limit(500));
        prop_assert!(failing.limit(500) <= fast.limit(500));
    }

    /// A server is soon given about what it works on at once, and that goes on.
    #[test]
    fn it_finds_what_a_server_works_on(capacity in 2_u32..300, millis in 5_u64..2_000, most in 300_u32..2_000) {
        let mut adaptive = Adaptive::default();
        against(&mut adaptive, most, capacity, millis, 60);
        let given = against(&mut adaptive, most, capacity, millis, 200);
        let (least, top) = (capacity / 2, capacity * 2 + 4);
        prop_assert!(given.iter().all(|given| (least..=top).contains(given)), "{} is given {:?}", capacity, given);
    }
}
