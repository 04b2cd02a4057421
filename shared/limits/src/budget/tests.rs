use proptest::prelude::*;

use super::*;
use crate::shared::{Stored, reserve};

const SECOND: u64 = 1_000_000_000;
/// 2026-11-27T00:00:00Z.
const TODAY: u64 = 20_784 * DAY;

fn at(unix_seconds: u64) -> Now {
    Now { nanos: unix_seconds * SECOND, unix_seconds }
}

#[test]
fn days_and_months_follow_the_calendar() {
    let month = |seconds| Window::Month.number(seconds);
    assert_eq!(month(TODAY), 2026 * 12 + 10);
    assert_eq!(month(0), 1970 * 12);
    assert_eq!(Window::Month.ends(2026 * 12 + 10), TODAY + 4 * DAY, "November has 30 days");
    // 2028 is a leap year, 2100 is none.
    assert_eq!(Window::Month.ends(2028 * 12 + 1) - Window::Month.ends(2028 * 12), 29 * DAY);
    assert_eq!(Window::Month.ends(2100 * 12 + 1) - Window::Month.ends(2100 * 12), 28 * DAY);
    assert_eq!(Window::Day.ends(Window::Day.number(TODAY + 5)), TODAY + DAY);
}

#[test]
fn alone_it_is_the_whole_budget_and_opens_again_with_the_next_window() {
    let budget = Budget { window: Window::Day, units: 5 };
    let near = NearBudget::default();
    for _ in 0..5 {
        assert_eq!(near.spend_alone(at(TODAY), budget, 1, 1), Ok(false));
    }
    let refused = near.spend_alone(at(TODAY + DAY - 60), budget, 1, 1);
    assert_eq!(refused, Err((Duration::from_secs(60), 0)));
    near.give_back(at(TODAY + DAY - 60), budget, 2, false);
    assert_eq!(near.spend_alone(at(TODAY + DAY - 60), budget, 1, 2), Ok(false));
    assert_eq!(near.spend_alone(at(TODAY + DAY), budget, 1, 5), Ok(false));
    // A clock that is set back finds neither a new day nor the old one.
    assert!(near.spend_alone(at(TODAY), budget, 1, 1).is_err());
}

#[test]
fn a_refusal_is_believed_for_a_second_and_then_asked_about() {
    let budget = Budget { window: Window::Month, units: 30 };
    let proxies = vec![NearBudget::default(), NearBudget::default()];
    let mut world = World { budget, proxies, stored: [None], now: TODAY, admitted: 0 };
    for _ in 0..31 {
        world.take(0, 1, true);
    }
    assert_eq!(world.admitted, 30);
    // The other gives its lease back.
    world.stored[0].as_mut().unwrap().value = 20;
    world.take(0, 1, true);
    assert_eq!(world.admitted, 30, "what is fresh is believed");
    world.now += 2;
    world.take(0, 1, true);
    assert_eq!(world.admitted, 31, "refused to the end of the month on what was true once");
    let step = world.proxies[0].spend(at(TODAY + DAY), budget, 31);
    assert!(matches!(step, Step::Refused { .. }), "there are never so many: {step:?}");
}

/// Some proxies, one budget, and a store that is there or not.
struct World {
    budget: Budget,
    proxies: Vec<NearBudget>,
    stored: [Option<Stored>; 1],
    now: u64,
    admitted: u64,
}

impl World {
    fn ask(&mut self, proxy: usize, cost: u32, proxies: u32) -> bool {
        let near = &self.proxies[proxy];
        let asking = near.ask(at(self.now), self.budget, proxies, cost);
        let (result, readings) = reserve(&[asking.ask], &mut self.stored, self.now * 1_000_000);
        near.answered(&asking, readings[0], result.is_err());
        result.is_ok()
    }

    fn take(&mut self, proxy: usize, cost: u32, reachable: bool) {
        let (now, proxies) = (at(self.now), self.proxies.len() as u32);
        let near = &self.proxies[proxy];
        let admitted = if reachable {
            match near.spend(now, self.budget, cost) {
                Step::Spent => {
                    if near.wants_more(now, self.budget, proxies) {
                        self.ask(proxy, 0, proxies);
                    }
                    true
                }
                Step::Ask => self.ask(proxy, cost, proxies),
                Step::Refused { .. } => false,
            }
        } else {
            near.spend_alone(now, self.budget, proxies, cost).is_ok()
        };
        self.admitted += u64::from(cost) * u64::from(admitted);
    }
}

proptest! {
    #[test]
    fn windows_are_without_gaps(seconds in 0u64..20_000_000_000) {
        for window in [Window::Day, Window::Month] {
            let number = window.number(seconds);
            let ends = window.ends(number);
            prop_assert!(seconds < ends);
            prop_assert_eq!(window.number(ends - 1), number);
            prop_assert_eq!(window.number(ends), number + 1);
        }
    }

    #[test]
    fn a_shared_budget_is_never_passed_and_can_be_used_up(
        count in 1usize..=4, units in 1u32..3_000,
        steps in prop::collection::vec((0u64..40, 0usize..4, 1u32..5), 1..300),
    ) {
        let budget = Budget { window: Window::Day, units };
        let proxies = (0..count).map(|_| NearBudget::default()).collect();
        let mut world = World { budget, proxies, stored: [None], now: TODAY, admitted: 0 };
        for (pause, proxy, cost) in steps {
            world.now += pause;
            for _ in 0..10 {
                world.take(proxy % count, cost, true);
            }
        }
        prop_assert!(world.admitted <= u64::from(units), "{} of {units}", world.admitted);
        // Leases that nobody spends go back, so that all of it can be used, by whomever.
        for proxy in (0..count).cycle().take(4 * count) {
            world.now += 10;
            world.take(proxy, 1, true);
        }
        for _ in 0..3_100 {
            world.take(0, 1, true);
        }
        prop_assert!(world.admitted <= u64::from(units));
        prop_assert!(world.admitted + u64::from(count as u32 * budget.most_held(count as u32)) >= u64::from(units));
    }

    #[test]
    fn an_outage_costs_at_most_two_leases_a_proxy(
        count in 1usize..=4, units in 40u32..3_000, before in 0u32..2_000, during in 0usize..4_000,
    ) {
        let budget = Budget { window: Window::Month, units };
        let proxies = (0..count).map(|_| NearBudget::default()).collect();
        let mut world = World { budget, proxies, stored: [None], now: TODAY, admitted: 0 };
        for step in 0..before {
            world.take(step as usize % count, 1, true);
        }
        // Everybody knows how things are.
        for proxy in 0..count {
            world.ask(proxy, 0, count as u32);
        }
        for step in 0..during {
            world.take(step % count, 1, false);
        }
        // A proxy's share is of what was left when it was told, before others took their leases; and before the last of
        // them has told what it admitted, each of the others is given one more.
        let room = u64::from(units) + 2 * count as u64 * u64::from(1 + budget.most_held(count as u32));
        prop_assert!(world.admitted <= room, "{} of {units}", world.admitted);
        // Afterwards the store is told, and the budget is not opened again.
        for step in 0..units as usize + 10 {
            world.take(step % count, 1, true);
        }
        prop_assert!(world.admitted <= room, "{} of {units}", world.admitted);
    }
}
