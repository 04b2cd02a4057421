use std::{sync::Arc, time::Duration};

use proptest::prelude::*;
use seams::{Monotonic, SeededEntropy};
use wire::v1::{self, resource::Body};

use super::{
    Outcome, Passage, Priority, Shut,
    breaker::{Breaker, Change, Limits, Pass},
};
use crate::{refuse::Refusal, testing::World};

const LIMITS: Limits = Limits { failures: 3, percent: 50, open: Duration::from_secs(5) };
const SECOND: u64 = 1_000_000_000;

const fn at(nanos: u64) -> Monotonic {
    Monotonic::from_nanos(nanos)
}

fn fail(breaker: &Breaker, pass: Pass, now: u64) -> Option<Change> {
    breaker.failed(LIMITS, pass, at(now), || 0)
}

/// A call that passes now and fails.
fn fails(breaker: &Breaker, now: u64) -> Option<Change> {
    fail(breaker, breaker.admit(LIMITS, at(now)).unwrap(), now)
}

fn probe(breaker: &Breaker, now: u64) -> Pass {
    let pass = breaker.admit(LIMITS, at(now)).unwrap();
    assert!(pass.is_probe());
    pass
}

#[test]
fn it_opens_lets_one_probe_through_and_closes_when_that_succeeds() {
    let breaker = Breaker::default();
    for _ in 0..2 {
        assert_eq!(fails(&breaker, 0), None);
    }
    assert_eq!(fails(&breaker, 0), Some(Change::Opened(Duration::from_secs(5))));
    assert_eq!(breaker.admit(LIMITS, at(SECOND)), Err(Duration::from_secs(4)));

    assert_eq!(breaker.shut_for(LIMITS, at(5 * SECOND)), None);
    probe(&breaker, 5 * SECOND);
    assert_eq!(breaker.admit(LIMITS, at(5 * SECOND)), Err(Duration::from_secs(5)));
    // A probe of which nothing is heard does not keep it shut.
    let second = probe(&breaker, 10 * SECOND);
    assert_eq!(fail(&breaker, second, 11 * SECOND), Some(Change::Opened(Duration::from_secs(10))));
    let third = probe(&breaker, 21 * SECOND);
    assert_eq!(breaker.succeeded(LIMITS, third, at(21 * SECOND)), Some(Change::Closed));
    assert!(!breaker.admit(LIMITS, at(21 * SECOND)).unwrap().is_probe());
    // On probation the first failure is enough, and it stays open for longer; a success ends that.
    assert_eq!(fails(&breaker, 22 * SECOND), Some(Change::Opened(Duration::from_secs(20))));
    let fourth = probe(&breaker, 42 * SECOND);
    breaker.succeeded(LIMITS, fourth, at(42 * SECOND));
    breaker.succeeded(LIMITS, breaker.admit(LIMITS, at(42 * SECOND)).unwrap(), at(42 * SECOND));
    for _ in 0..2 {
        assert_eq!(fails(&breaker, 43 * SECOND), None);
    }
    assert_eq!(fails(&breaker, 43 * SECOND), Some(Change::Opened(Duration::from_secs(5))));
}

/// Calls that hang while a server is away end long after it is back; so does a slow probe.
#[test]
fn what_was_sent_before_it_opened_or_closed_has_no_say() {
    let breaker = Breaker::default();
    let hanging: Vec<_> = (0..6).map(|_| breaker.admit(LIMITS, at(0)).unwrap()).collect();
    for pass in &hanging[..3] {
        fail(&breaker, *pass, SECOND);
    }
    assert_eq!(breaker.succeeded(LIMITS, hanging[3], at(SECOND)), None);
    assert!(breaker.admit(LIMITS, at(SECOND)).is_err());
    let slow = probe(&breaker, 6 * SECOND);
    let quick = probe(&breaker, 12 * SECOND);
    assert_eq!(breaker.succeeded(LIMITS, quick, at(12 * SECOND)), Some(Change::Closed));
    for late in [hanging[4], hanging[5], slow] {
        assert_eq!(fail(&breaker, late, 13 * SECOND), None);
    }
    assert!(breaker.admit(LIMITS, at(13 * SECOND)).is_ok());
}

#[test]
fn a_probe_that_is_lost_is_given_to_the_next_call() {
    let breaker = Breaker::default();
    for _ in 0..3 {
        fails(&breaker, 0);
    }
    let lost = probe(&breaker, 5 * SECOND);
    assert!(breaker.admit(LIMITS, at(5 * SECOND)).is_err());
    breaker.lost(lost, at(5 * SECOND));
    let next = probe(&breaker, 5 * SECOND);
    // Once.
    breaker.lost(lost, at(5 * SECOND));
    assert!(breaker.admit(LIMITS, at(6 * SECOND)).is_err());
    assert_eq!(breaker.succeeded(LIMITS, next, at(6 * SECOND)), Some(Change::Closed));
    breaker.lost(next, at(6 * SECOND));
    assert!(breaker.admit(LIMITS, at(6 * SECOND)).is_ok());
}

#[test]
fn a_share_of_the_calls_of_ten_seconds_opens_it() {
    let calls = |number: u64, gap: u64| {
        let breaker = Breaker::default();
        let opened = (0..number).any(|n| {
            let now = n * gap;
            breaker.succeeded(LIMITS, breaker.admit(LIMITS, at(now)).unwrap(), at(now));
            fails(&breaker, now).is_some()
        });
        assert_eq!(opened, breaker.shut_for(LIMITS, at(number * gap)).is_some());
        opened
    };
    assert!(!calls(9, SECOND / 100), "18 say nothing");
    assert!(calls(10, SECOND / 100));
    assert!(!calls(100, SECOND * 2), "never 20 in ten seconds");
}

#[test]
fn it_can_be_switched_off_while_it_is_open() {
    let breaker = Breaker::default();
    let off = Limits { failures: 0, ..LIMITS };
    for _ in 0..50 {
        assert_eq!(breaker.failed(off, Pass::FIRST, at(0), || 0), None);
    }
    for _ in 0..3 {
        fails(&breaker, 0);
    }
    assert!(breaker.admit(LIMITS, at(0)).is_err());
    assert_eq!((breaker.admit(off, at(0)).is_ok(), breaker.shut_for(off, at(0))), (true, None));
}

proptest! {
    /// Whatever happens: it is open only after failures; it never stays shut for longer than it says; and while it is open no
    /// two probes are closer together than it was configured.
    #[test]
    fn it_refuses_only_after_failures_and_always_probes_again(
        steps in prop::collection::vec((0_u8..4, 0_u64..20 * SECOND, any::<u64>()), 1..200),
    ) {
        let breaker = Breaker::default();
        let (mut now, mut failures, mut last_probe) = (0, 0, None::<u64>);
        let mut probing = false;
        for (what, later, chance) in steps {
            now += later;
            match breaker.admit(LIMITS, at(now)) {
                Err(wait) => {
                    prop_assert!(failures > 0);
                    prop_assert!(wait <= Duration::from_secs(75), "{wait:?}");
                    prop_assert_eq!(breaker.shut_for(LIMITS, at(now)), Some(wait));
                    let then = now + wait.as_nanos() as u64;
                    prop_assert_eq!(breaker.shut_for(LIMITS, at(then)), None);
                    continue;
                }
                Ok(pass) => {
                    if pass.is_probe() {
                        prop_assert!(failures > 0);
                        if let Some(last) = last_probe {
                            prop_assert!(!probing || now - last >= 5 * SECOND);
                        }
                        (last_probe, probing) = (Some(now), true);
                    }
                    let change = match what {
                        0 => None,
                        1 => breaker.succeeded(LIMITS, pass, at(now)),
                        _ => {
                            failures += 1;
                            breaker.failed(LIMITS, pass, at(now), || chance)
                        }
                    };
                    if let Some(Change::Opened(time)) = change {
                        prop_assert!(time >= LIMITS.open && time <= Duration::from_secs(75));
                    }
                    if change == Some(Change::Closed) {
                        prop_assert!(pass.is_probe());
                        probing = false;
                    }
                }
            }
        }
    }
}

/// The sample tenant with a second tool, and what passes its guard.
struct Rig {
    world: World,
    entropy: SeededEntropy,
}

impl Rig {
    fn new() -> Self {
        let mut world = World::new();
        let mut second = None;
        for resource in &world.sample.snapshot.resources {
            if let Some(Body::Tool(tool)) = &resource.body {
                let id = ids::ToolId::from_parts(2, [7; 10]);
                let tool =
                    v1::Tool { id: id.uuid().as_bytes().to_vec(), name: "other".to_owned(), ..tool.clone() };
                second = Some((id.to_string(), Body::Tool(tool)));
            }
        }
        world.add(second);
        Self { world, entropy: SeededEntropy::new(1) }
    }

    fn begin(&self, tool: Option<&str>, secs: u64) -> Result<Passage, (Shut, Duration)> {
        let tenant = self.world.tenant();
        let upstream = tenant.upstreams.values().next().unwrap();
        let tool = tool.map(|tool| Arc::clone(upstream.tools.get(tool).unwrap()));
        Passage::ask(upstream, tool.as_ref(), None, at(secs * SECOND)).map_err(|refusal| match refusal {
            Refusal::CircuitOpen { of, retry_after } => (of, retry_after),
            other => panic!("{other:?}"),
        })
    }

    fn call(&self, tool: Option<&str>, secs: u64, outcome: Outcome) {
        self.begin(tool, secs).unwrap().end(outcome, at(secs * SECOND), &self.entropy);
    }

    fn shut(&self, tool: Option<&str>, secs: u64) -> Option<Shut> {
        self.begin(tool, secs).err().map(|(shut, _)| shut)
    }
}

#[test]
fn one_tool_that_hangs_does_not_shut_the_others_out() {
    let rig = Rig::new();
    for _ in 0..5 {
        rig.call(Some("add"), 0, Outcome::Unanswered);
    }
    assert_eq!(rig.shut(Some("add"), 1), Some(Shut::Tool));
    assert_eq!((rig.shut(Some("other"), 1), rig.shut(None, 1)), (None, None));
    // A server of which nothing answers is another thing.
    for tool in [Some("other"), None, Some("other"), None] {
        rig.call(tool, 1, Outcome::Unanswered);
    }
    assert_eq!((rig.shut(Some("other"), 2), rig.shut(None, 2)), (Some(Shut::Upstream), Some(Shut::Upstream)));
}

#[test]
fn a_server_that_cannot_be_reached_is_no_tools_fault() {
    let rig = Rig::new();
    for _ in 0..4 {
        rig.call(Some("add"), 0, Outcome::Unreachable);
    }
    for outcome in [Outcome::Unknown, Outcome::Answered] {
        rig.call(Some("add"), 0, outcome);
    }
    for _ in 0..4 {
        rig.call(Some("add"), 0, Outcome::Unreachable);
        rig.call(Some("add"), 0, Outcome::Unknown);
    }
    assert_eq!(rig.shut(Some("add"), 0), None);
    rig.call(Some("add"), 0, Outcome::Unreachable);
    assert_eq!(rig.shut(Some("add"), 1), Some(Shut::Upstream));
    // A probe goes through; whoever sent it leaves, so there is another, which closes it.
    drop(rig.begin(None, 10).unwrap());
    rig.call(None, 10, Outcome::Unknown);
    rig.call(None, 10, Outcome::Answered);
    assert_eq!(rig.shut(Some("add"), 10), None);
}

#[test]
fn what_is_known_outlives_a_revision_but_not_another_place() {
    let mut rig = Rig::new();
    for _ in 0..5 {
        rig.call(Some("add"), 0, Outcome::Unanswered);
    }
    for _ in 0..4 {
        rig.call(None, 0, Outcome::Unreachable);
    }
    rig.world.edit(|body| {
        if let Body::Upstream(upstream) = body {
            upstream.breaker = Some(v1::Breaker { open_ms: 1_000, ..v1::Breaker::DEFAULT });
        }
    });
    assert_eq!((rig.shut(None, 1), rig.shut(Some("add"), 1)), (Some(Shut::Upstream), Some(Shut::Tool)));
    rig.world.edit(|body| {
        if let Body::Upstream(upstream) = body {
            upstream.url.push('x');
        }
    });
    assert_eq!((rig.shut(None, 1), rig.shut(Some("add"), 1)), (None, None));
}

/// Not only by the next call that comes: there may be none.
#[tokio::test]
async fn calls_that_wait_hear_of_a_revision_that_gives_their_server_more() {
    let bound = |max| {
        move |body: &mut Body| {
            if let Body::Upstream(upstream) = body {
                upstream.concurrency =
                    Some(v1::UpstreamConcurrency { max, queue: 2, wait_ms: 60_000, adaptive: false });
            }
        }
    };
    let mut world = World::with(bound(1));
    let tenant = world.tenant();
    let upstream = tenant.upstreams.values().next().unwrap();
    let (clock, drain) = (seams::SystemClock, crate::drain::Drain::new());
    let begin = || Passage::begin(upstream, None, Some(Priority::Read), &clock, &drain);
    let running = begin().await.unwrap();
    let (mut second, mut third) = (Box::pin(begin()), Box::pin(begin()));
    let soon = Duration::from_millis(20);
    assert!(tokio::time::timeout(soon, &mut second).await.is_err());
    assert!(tokio::time::timeout(soon, &mut third).await.is_err());
    world.edit(bound(2));
    let second = tokio::time::timeout(soon, second).await.expect("a place").unwrap();
    assert!(tokio::time::timeout(soon, &mut third).await.is_err());
    // As many as come.
    world.edit(bound(0));
    let third = tokio::time::timeout(soon, third).await.expect("a place").unwrap();
    drop((running, second, third));
}
