use std::time::Duration;

use super::*;

#[test]
fn manual_clock_moves_only_when_told() {
    let clock = ManualClock::at(Timestamp::from_secs(10));
    let start = clock.monotonic();
    clock.advance(Duration::from_millis(1_500));
    assert_eq!(clock.now().millis(), 11_500);
    assert_eq!(clock.monotonic().since(start), Duration::from_millis(1_500));
    clock.step_to(Timestamp::from_secs(1));
    assert_eq!(clock.now().secs(), 1);
    assert_eq!(clock.monotonic().since(start), Duration::from_millis(1_500));
}

#[test]
fn seeded_entropy_repeats_and_system_entropy_does_not() {
    let draw = |entropy: &dyn Entropy| entropy.bytes::<24>();
    assert_eq!(draw(&SeededEntropy::new(1)), draw(&SeededEntropy::new(1)));
    assert_ne!(draw(&SeededEntropy::new(1)), draw(&SeededEntropy::new(2)));
    assert_ne!(draw(&SystemEntropy), draw(&SystemEntropy));
}

#[test]
fn timestamps_survive_storage() {
    let at = Timestamp::from_micros(1_790_000_000_123_456);
    assert_eq!(Timestamp::from_offset(at.to_offset()), at);
}
