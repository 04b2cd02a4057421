//! Many proxies, one store, one bucket: the laws of performance.md §3b, on every window of every history.

use proptest::prelude::*;

use super::*;
use crate::shared::{Stored, reserve};

const SECOND: u64 = 1_000_000_000;

/// A store and its proxies. The clock of each proxy began at another time.
struct World {
    terms: Terms,
    proxies: Vec<(Near, u64)>,
    stored: Vec<Option<Stored>>,
    reachable: bool,
    now: u64,
    calls: u64,
    /// When, and how many units.
    admitted: Vec<(u64, u32)>,
}

impl World {
    fn new(proxies: u32, rate: Rate) -> Self {
        let ends = (0..proxies).map(|place| (Near::new(), u64::from(place) * 977 * SECOND));
        Self {
            terms: Terms { rate: rate.storable(), proxies },
            proxies: ends.collect(),
            stored: vec![None],
            reachable: true,
            now: 1_000 * SECOND,
            calls: 0,
            admitted: Vec::new(),
        }
    }

    fn call_store(&mut self, proxy: usize, cost: u32) -> bool {
        let (near, offset) = &self.proxies[proxy];
        let asking = near.ask(self.now + offset, self.terms, cost);
        self.calls += 1;
        let (result, readings) = reserve(&[asking.ask], &mut self.stored, self.now / 1_000);
        near.answered(&asking, self.terms, readings[0], result.is_ok(), result.is_err());
        result.is_ok()
    }

    fn take(&mut self, proxy: usize, cost: u32) -> bool {
        let (near, offset) = &self.proxies[proxy];
        let now = self.now + offset;
        let admitted = if self.reachable {
            match near.spend(now, self.terms, cost) {
                Step::Spent => {
                    if near.wants_more(now, self.terms) {
                        self.call_store(proxy, 0);
                    }
                    true
                }
                Step::Refused { .. } => false,
                Step::Ask => self.call_store(proxy, cost),
            }
        } else {
            near.spend_alone(now, self.terms, cost).is_ok()
        };
        if admitted {
            self.admitted.push((self.now, cost));
        }
        admitted
    }

    /// The window in which more than `times` · (burst + rate · T) + `extra` units were admitted.
    fn window_over(&self, times: u32, extra: u32) -> Option<(u64, u64, u128)> {
        let Rate { per_minute, burst } = self.terms.rate;
        for (first, &(from, _)) in self.admitted.iter().enumerate() {
            let mut units = 0u128;
            for &(to, cost) in &self.admitted[first..] {
                units += u128::from(cost);
                let flowed = u128::from(per_minute) * u128::from(to - from) / 60_000_000_000;
                if units > u128::from(times) * (u128::from(burst) + flowed + 1) + u128::from(extra) {
                    return Some((from, to, units));
                }
            }
        }
        None
    }

    fn held_at_most(&self) -> u32 {
        self.terms.most_held() * self.terms.proxies
    }
}

#[test]
fn a_bucket_in_demand_is_leased_and_a_small_one_never() {
    let mut world = World::new(4, Rate::per_minute(60_000));
    for _ in 0..20_000 {
        world.now += SECOND / 500;
        for proxy in 0..1 {
            assert!(world.take(proxy, 1));
        }
    }
    let per_call = world.calls as f64 / world.admitted.len() as f64;
    assert!(per_call <= 0.05, "{per_call} calls to the store for each admitted call");

    let mut small = World::new(4, Rate::per_minute(79));
    for _ in 0..50 {
        small.now += SECOND / 10;
        assert!(small.take(0, 1));
    }
    assert_eq!(small.calls, 50);
}

#[test]
fn a_bucket_used_now_and_then_strands_nothing() {
    let rate = Rate::per_minute(600);
    let mut world = World::new(2, rate);
    for _ in 0..20 {
        world.now += 10 * SECOND;
        assert!(world.take(0, 1));
    }
    let stored = world.stored[0].unwrap();
    assert_eq!(
        stored.value - stored.latest * 1_000,
        rate.interval_nanos().unwrap(),
        "one unit is missing, no lease"
    );
}

#[test]
fn after_a_refusal_every_take_asks_until_the_bucket_is_half_full() {
    let mut world = World::new(2, Rate::per_minute(6_000));
    for _ in 0..50_000 {
        world.now += 1_000;
        world.take(0, 1);
    }
    let (calls, admitted) = (world.calls, world.admitted.len());
    for _ in 0..1_000 {
        world.now += SECOND / 100;
        world.take(0, 1);
    }
    assert_eq!(
        (world.calls - calls) as usize,
        world.admitted.len() - admitted,
        "one call for each, none for refusals"
    );
    world.now += 40 * SECOND;
    let calls = world.calls;
    for _ in 0..1_000 {
        world.now += SECOND / 200;
        assert!(world.take(0, 1));
    }
    assert!(world.calls - calls < 100, "leased again");
}

#[test]
fn a_share_admits_what_fits_without_the_store_and_is_told_afterwards() {
    let rate = Rate::per_minute(600);
    let mut world = World::new(4, rate);
    assert!(world.take(0, 1));
    world.reachable = false;
    // Ten minutes at the share, 150 a minute: every call passes.
    for _ in 0..1_500 {
        world.now += SECOND * 4 / 10;
        assert!(world.take(0, 1), "a call under the share was refused");
    }
    while world.take(1, 1) {}
    world.reachable = true;
    world.now += 1;
    assert!(world.take(1, 1));
    let stored = world.stored[0].unwrap();
    let missing = (stored.value - stored.latest * 1_000) / rate.interval_nanos().unwrap();
    assert!((150..=152).contains(&missing), "the store was told of {missing}");
}

#[test]
fn what_the_store_has_lost_is_known_from_the_near_end() {
    let mut world = World::new(1, Rate::per_minute(60));
    for _ in 0..50 {
        assert!(world.take(0, 1));
    }
    world.stored[0] = None;
    assert!(world.take(0, 1));
    let more = (0..100).filter(|_| world.take(0, 1)).count();
    assert_eq!(more, 9, "60 altogether");
}

#[test]
fn a_refusal_is_believed_for_a_second_and_then_asked_about() {
    let mut world = World::new(2, Rate { per_minute: 1, burst: 30 });
    while world.take(0, 1) {}
    // The other's calls were refused by a later check, and the store was given back what they took.
    let stored = world.stored[0].as_mut().unwrap();
    stored.value = stored.latest * 1_000;
    let calls = world.calls;
    for _ in 0..9 {
        world.now += SECOND / 10;
        assert!(!world.take(0, 1));
    }
    assert_eq!(world.calls, calls, "what is fresh is believed");
    world.now += SECOND / 5;
    assert!(world.take(0, 1), "refused on what was true once");
    // What no time will admit is not asked about.
    let calls = world.calls;
    world.now += 2 * SECOND;
    assert!(!world.take(0, 31));
    assert_eq!(world.calls, calls);
}

#[test]
fn a_changed_rate_opens_no_share_again_and_forgets_no_debt() {
    let rate = Rate { per_minute: 1, burst: 80 };
    let mut world = World::new(4, rate);
    assert!(world.take(0, 1));
    world.reachable = false;
    while world.take(0, 1) {}
    let admitted = world.admitted.len();
    for burst in [81, 100, 400] {
        let to = Rate { per_minute: 1, burst };
        let (near, offset) = &world.proxies[0];
        let carried = near.carried_over(world.now + offset, world.terms.rate, to);
        (world.proxies[0].0, world.terms.rate) = (carried, to);
        while world.take(0, 1) {}
    }
    // A rounded share may have one unit more.
    let more = world.admitted.len() - admitted;
    assert!(more <= 2, "{more} more were admitted");
    world.reachable = true;
    let owed = world.proxies[0].0.ask(world.now, world.terms, 0).ask.debt;
    assert!((19..=22).contains(&owed), "the store is told of {owed}");
}

#[test]
fn what_is_given_back_is_there_again() {
    let mut world = World::new(1, Rate::per_minute(6_000));
    for _ in 0..2_000 {
        world.now += SECOND / 1_000;
        world.take(0, 1);
    }
    let near = &world.proxies[0].0;
    let held = near.units.load(Ordering::Relaxed);
    assert!(held > 0);
    assert_eq!(near.spend(world.now, world.terms, 1), Step::Spent);
    near.give_back(world.now, 1);
    assert_eq!(near.units.load(Ordering::Relaxed), held);
    near.give_back(world.now + 10 * SECOND, 1);
    assert_eq!(near.units.load(Ordering::Relaxed), held, "that lease is over");
}

fn steps() -> impl Strategy<Value = Vec<(u64, usize, u32, u32)>> {
    // Pauses of very different length, so that buckets are hot, idle, and everything between.
    let pause = prop_oneof![0u64..100, 0u64..10_000_000, 0u64..3_000_000_000, 0u64..20_000_000_000];
    prop::collection::vec((pause, 0usize..4, 1u32..4, 0u32..60), 1..400)
}

proptest! {
    #[test]
    fn leases_pass_the_limit_by_what_they_hold_and_no_more(
        proxies in 1u32..=4, per_minute in 1u32..20_000, burst in 1u32..400, steps in steps(),
    ) {
        let mut world = World::new(proxies, Rate { per_minute, burst });
        for (pause, proxy, cost, _) in steps {
            world.now += pause;
            for _ in 0..8 {
                world.take(proxy % proxies as usize, cost);
            }
        }
        prop_assert!(world.held_at_most() <= per_minute.min(burst) / 10);
        prop_assert_eq!(world.window_over(1, world.held_at_most()), None);
    }

    #[test]
    fn outages_and_losses_stay_within_twice_the_limit(
        proxies in 1u32..=4, per_minute in 1u32..20_000, burst in 1u32..400, steps in steps(),
    ) {
        let mut world = World::new(proxies, Rate { per_minute, burst });
        for (pause, proxy, cost, event) in steps {
            world.now += pause;
            match event {
                0 => world.reachable = !world.reachable,
                1 => world.stored[0] = None,
                _ => {}
            }
            for _ in 0..8 {
                world.take(proxy % proxies as usize, cost);
            }
        }
        // Both the whole and the shares, each share rounded up; a lost bucket is rebuilt from what the proxies know of it.
        prop_assert_eq!(world.window_over(3, world.held_at_most() + 3 * proxies), None);
    }
}
