//! Proxies and a store, with questions and answers that overtake each other.

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

/// How a question was meant.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Start,
    Settle,
    /// Given up by who asked; it may arrive all the same.
    GivenUp,
}

struct World {
    max: u32,
    proxies: Vec<Permits>,
    reachable: Vec<bool>,
    pools: [Pool; 1],
    now: u64,
    questions: Vec<(usize, Asking, Kind)>,
    answers: Vec<(usize, Asking, Kind, Reading, bool)>,
}

impl World {
    fn new(proxies: usize, max: u32) -> Self {
        Self {
            max,
            proxies: (0..proxies).map(|_| Permits::default()).collect(),
            reachable: vec![true; proxies],
            pools: [Pool::default()],
            now: 1_000 * SECOND,
            questions: Vec::new(),
            answers: Vec::new(),
        }
    }

    fn count(&self) -> u32 {
        self.proxies.len() as u32
    }

    fn running(&self) -> u32 {
        self.proxies.iter().map(Permits::running).sum()
    }

    /// Starts a call; the question, where there is one, is on its way then.
    fn start(&mut self, proxy: usize) {
        let permits = &self.proxies[proxy];
        if !self.reachable[proxy] {
            permits.start_alone(self.now, self.max, self.count());
        } else if permits.start(self.now, self.max) == Start::Ask {
            self.questions.push((proxy, permits.ask(self.now, self.max, self.count()), Kind::Start));
        }
    }

    fn settle(&mut self, proxy: usize, now_and_then: bool) {
        if self.reachable[proxy]
            && let Some(asking) = self.proxies[proxy].settle(self.now, now_and_then)
        {
            self.questions.push((proxy, asking, Kind::Settle));
        }
    }

    fn deliver(&mut self, question: usize) {
        let (proxy, asking, kind) = self.questions.remove(question);
        let (result, readings) = hold(&[asking.ask], &mut self.pools, proxy as u64, self.now / 1_000);
        if kind != Kind::GivenUp {
            self.answers.push((proxy, asking, kind, readings[0], result.is_ok()));
        }
    }

    fn answer(&mut self, answer: usize) {
        let (proxy, asking, kind, reading, ok) = self.answers.remove(answer);
        match kind {
            Kind::Settle => self.proxies[proxy].settled(&asking, reading),
            _ => self.proxies[proxy].answered(&asking, reading, ok, !ok),
        }
        if self.proxies[proxy].settles_soon() {
            self.settle(proxy, false);
        }
    }

    /// Everything arrives.
    fn quiet(&mut self) {
        while !self.questions.is_empty() || !self.answers.is_empty() {
            while !self.questions.is_empty() {
                self.deliver(0);
            }
            while !self.answers.is_empty() {
                self.answer(0);
            }
        }
    }

    /// Whoever waits gives up; what was on its way to the store arrives later.
    fn give_up(&mut self) {
        let questions = self.questions.iter_mut().map(|(proxy, _, kind)| (*proxy, kind));
        let answers = self.answers.iter_mut().map(|(proxy, _, kind, ..)| (*proxy, kind));
        for (proxy, kind) in questions.chain(answers) {
            match std::mem::replace(kind, Kind::GivenUp) {
                Kind::Start => self.proxies[proxy].unanswered(),
                Kind::Settle => self.proxies[proxy].unsettled(),
                Kind::GivenUp => {}
            }
        }
        self.answers.clear();
    }

    /// Time passes, and proxies renew.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.give_up();
            self.now += SECOND;
            for proxy in 0..self.proxies.len() {
                self.settle(proxy, true);
                while let Some(question) =
                    self.questions.iter().position(|(of, _, kind)| *of == proxy && *kind == Kind::Settle)
                {
                    self.deliver(question);
                    self.answer(self.answers.len() - 1);
                }
            }
        }
    }

    /// Calls until one is refused; says how many started.
    fn fill(&mut self, proxy: usize) -> u32 {
        let before = self.running();
        for _ in 0..2 * self.max + 2 {
            self.start(proxy);
            self.quiet();
        }
        self.running() - before
    }

    fn empty(&mut self, proxy: usize) {
        while self.proxies[proxy].running() > 0 {
            self.proxies[proxy].end();
            if self.proxies[proxy].settles_soon() {
                self.settle(proxy, false);
            }
            self.quiet();
        }
    }

    fn step(&mut self, (what, proxy, which): (u8, usize, usize)) {
        let proxy = proxy % self.proxies.len();
        match what {
            0..=9 => self.start(proxy),
            10..=13 if self.proxies[proxy].running() > 0 => {
                self.proxies[proxy].end();
                if self.proxies[proxy].settles_soon() {
                    self.settle(proxy, false);
                }
            }
            14..=21 if !self.questions.is_empty() => self.deliver(which % self.questions.len()),
            22..=29 if !self.answers.is_empty() => self.answer(which % self.answers.len()),
            30 | 31 => self.settle(proxy, true),
            32 => self.pass(1 + which as u64 % 4),
            33 => self.quiet(),
            _ => {}
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<(u8, usize, usize)>> {
    prop::collection::vec((0u8..34, 0usize..4, 0usize..8), 1..400)
}

#[test]
fn permits_that_are_held_are_used_again_without_a_question() {
    let mut world = World::new(4, 32);
    for _ in 0..5 {
        world.start(0);
        world.quiet();
    }
    for _ in 0..100 {
        world.proxies[0].end();
        world.start(0);
        assert!(world.questions.is_empty(), "a permit was held");
    }
    assert_eq!(world.running(), 5);
}

#[test]
fn a_large_limit_is_held_ahead_of_need() {
    let mut world = World::new(4, 4_000);
    let mut questions = 0;
    for _ in 0..1_000 {
        world.start(0);
        questions += world.questions.len();
        world.quiet();
    }
    assert_eq!(world.running(), 1_000);
    assert!(questions < 30, "{questions} questions for 1000 calls");
    world.pass(3);
    assert_eq!(world.pools[0].holders[&0].units, 1_000, "what was not needed went back");
}

#[test]
fn what_nobody_needs_goes_back_and_at_once_where_somebody_is_refused() {
    let mut world = World::new(2, 8);
    assert_eq!(world.fill(0), 8);
    assert_eq!(world.fill(1), 0);
    // The first hears of it when it renews.
    world.pass(4);
    world.now += SECOND;
    world.proxies[0].end();
    assert!(world.proxies[0].settles_soon() && !world.proxies[0].settles_soon(), "once");
    world.settle(0, false);
    world.quiet();
    assert_eq!(world.fill(1), 1);
    world.empty(0);
    // Once no more than half is held, there is no hurry any more.
    world.pass(2);
    assert_eq!(world.fill(1), 7);
    world.empty(1);
    world.pass(3);
    assert_eq!(world.pools[0].holders.values().map(|holding| holding.units).sum::<u32>(), 0);
    assert!(!world.pools[0].short);
}

#[test]
fn a_refusal_is_repeated_for_a_moment_and_not_longer() {
    let mut world = World::new(2, 1);
    assert_eq!(world.fill(0), 1);
    world.start(1);
    world.quiet();
    assert_eq!(world.proxies[1].start(world.now, 1), Start::Refused);
    assert_eq!(world.proxies[1].start(world.now + SECOND / 10, 1), Start::Ask);
}

#[test]
fn the_permits_of_a_dead_proxy_come_back_with_the_end_of_its_lease() {
    let mut world = World::new(2, 8);
    assert_eq!(world.fill(0), 8);
    // It is gone: nobody renews.
    world.proxies[0] = Permits::default();
    world.reachable[0] = false;
    world.now += 9 * SECOND;
    assert_eq!(world.fill(1), 0);
    world.now += SECOND;
    assert_eq!(world.fill(1), 8);
}

#[test]
fn a_clock_of_the_store_that_steps_back_costs_a_lease_at_most() {
    let mut pools = [Pool::default()];
    let ask = Ask { max: 1, running: 0, claimed: 1, extra: 0, turn: 1, least: None };
    assert!(hold(&[ask], &mut pools, 1, 3_600_000_000).0.is_ok());
    assert!(hold(&[ask], &mut pools, 2, 1_000_000).0.is_err());
    assert!(hold(&[ask], &mut pools, 2, 11_000_001).0.is_ok());
}

#[test]
fn what_the_store_has_lost_the_others_know() {
    let mut world = World::new(2, 10);
    assert_eq!(world.fill(0), 10);
    for _ in 0..4 {
        world.proxies[0].end();
    }
    world.pass(3);
    assert_eq!(world.fill(1), 4);
    world.proxies[1].end();
    world.pools = [Pool::default()];
    world.now += SECOND;
    // One ended, and its permit is held still; beyond that the other six are remembered.
    assert_eq!(world.fill(1), 1);
    // Told again, they are not counted twice.
    world.pass(4);
    assert_eq!((world.running(), world.pools[0].lost), (10, None));
}

proptest! {
    #[test]
    fn no_more_run_than_the_limit_says(proxies in 1usize..=4, max in 1u32..60, steps in steps()) {
        let mut world = World::new(proxies, max);
        for step in steps {
            world.step(step);
            prop_assert!(world.running() <= max, "{} of {max} run", world.running());
            // And never more than the store knows of.
            for (name, proxy) in world.proxies.iter().enumerate() {
                let held = world.pools[0].holders.get(&(name as u64)).map_or(0, |holding| holding.units);
                prop_assert!(proxy.running() <= held, "proxy {name} runs {} on {held}", proxy.running());
            }
        }
        // Afterwards all of it can be had by any.
        world.quiet();
        for proxy in 0..proxies {
            world.empty(proxy);
        }
        world.pass(3);
        prop_assert_eq!(world.fill(proxies - 1), max);
    }

    #[test]
    fn losses_cost_the_limit_each_and_outages_the_shares(
        proxies in 1usize..=4, max in 1u32..60, before in steps(), after in steps(), lost in any::<bool>(),
    ) {
        let mut world = World::new(proxies, max);
        for step in before {
            world.step(step);
        }
        world.give_up();
        if lost {
            world.pools = [Pool::default()];
        } else {
            world.reachable.fill(false);
        }
        let share = max.div_ceil(proxies as u32);
        let most = if lost { 2 * max } else { max + (proxies as u32 - 1) * share };
        for step in after {
            world.step(step);
            prop_assert!(world.running() <= most, "{} run, {most} allowed", world.running());
        }
        if !lost {
            // Once the calls of before are over, and the leases, only the shares are left.
            for proxy in 0..proxies {
                world.empty(proxy);
            }
            world.now += 10 * SECOND;
            for proxy in 0..proxies {
                prop_assert_eq!(world.fill(proxy), share);
            }
        }
        // And it heals.
        world.reachable.fill(true);
        for proxy in 0..proxies {
            world.empty(proxy);
        }
        world.pass(20);
        for proxy in 0..proxies {
            world.fill(proxy);
        }
        prop_assert_eq!(world.running(), max);
    }

    #[test]
    fn one_that_is_cut_off_costs_what_it_held_or_its_share(
        proxies in 2usize..=4, max in 1u32..60, before in steps(), after in steps(),
    ) {
        let mut world = World::new(proxies, max);
        for step in before {
            world.step(step);
        }
        world.quiet();
        let held = world.pools[0].holders.get(&0).map_or(0, |holding| holding.units);
        world.reachable[0] = false;
        let beside = held.max(max.div_ceil(proxies as u32));
        for step in after {
            world.step(step);
            let others = world.running() - world.proxies[0].running();
            prop_assert!(others <= max && world.proxies[0].running() <= beside);
        }
    }
}
