use seams::Monotonic;

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_000);
const SOAK: Duration = Duration::from_secs(60);
const STAGE: Stage = Stage { percent: 1, first: Some(FIRST) };
const FIRST: ProxyId = ProxyId::from_uuid(ids::Uuid::nil());
const TARGET: u64 = 7;

fn counts(answers: u64, refusals: u64, failures: u64) -> Counts {
    Counts { answers, refusals, failures, turned_away: 0 }
}

/// Has applied it, long ago.
fn first() -> Member {
    Member {
        proxy: FIRST,
        live: true,
        takes_global: true,
        rev: TARGET,
        rejected_rev: 0,
        rejected: String::new(),
        at: Some(Timestamp::from_secs(900)),
        ran_again: false,
        before: counts(1_000, 20, 10),
        now: counts(2_000, 40, 20),
    }
}

/// Others of the stage.
fn in_stage(number: usize) -> ProxyId {
    let all = (0..).map(|n| ProxyId::from_parts(n, [9; 10])).filter(|proxy| STAGE.has(*proxy));
    all.into_iter().nth(number).unwrap()
}

fn other() -> Member {
    let proxy = (0..).map(|n| ProxyId::from_parts(n, [7; 10])).find(|proxy| !STAGE.has(*proxy));
    Member { proxy: proxy.unwrap(), rev: TARGET - 1, ..first() }
}

/// A fleet of two, changed, that has been so for this long.
fn after(waited: Duration, bounds_connections: bool, change: impl FnOnce(&mut Vec<Member>)) -> Verdict {
    let mut fleet = vec![first(), other()];
    change(&mut fleet);
    let mut patience = Patience::default();
    // Looks that are not too far apart.
    for second in (0..waited.as_secs()).step_by(10).chain([waited.as_secs()]) {
        let at = Monotonic::from_nanos((1_000 + second) * 1_000_000_000);
        patience.look(&STAGE, TARGET, &fleet, at);
    }
    let patience = &patience;
    let (stage, soak, fleet) = (&STAGE, SOAK, &fleet[..]);
    judge(Look { stage, target: TARGET, bounds_connections, soak, fleet, patience, now: NOW })
}

fn verdict(change: impl FnOnce(&mut Vec<Member>)) -> Verdict {
    after(Duration::ZERO, false, change)
}

fn why(change: impl FnOnce(&mut Vec<Member>)) -> String {
    match verdict(change) {
        Verdict::Failed(why) => why,
        verdict => panic!("{verdict:?}"),
    }
}

#[test]
fn a_stage_holds_when_all_have_applied_it_for_long_enough() {
    assert_eq!(verdict(|_| {}), Verdict::Held);
    assert_eq!(verdict(|fleet| fleet[0].at = Some(Timestamp::from_secs(941))), Verdict::Wait);
    assert_eq!(verdict(|fleet| fleet[0].rev = TARGET - 1), Verdict::Wait);
    assert_eq!(verdict(|fleet| fleet[0].live = false), Verdict::Wait, "it may have died of it");
    assert_eq!(verdict(Vec::clear), Verdict::Wait, "nobody has tried it");
    let away = |fleet: &mut Vec<Member>| {
        (fleet[1].proxy, fleet[1].live, fleet[1].rev) = (in_stage(0), false, TARGET - 1);
    };
    assert_eq!(verdict(away), Verdict::Held, "one that was away all the time says nothing");
}

#[test]
fn a_refusal_or_another_start_fails_it() {
    let why_refused = why(|fleet| {
        (fleet[0].rev, fleet[0].rejected_rev) = (TARGET - 1, TARGET);
        fleet[0].rejected = "snapshot_invalid: global: x".to_owned();
    });
    assert!(why_refused.ends_with("refused it: snapshot_invalid: global: x"), "{why_refused}");
    assert!(why(|fleet| fleet[0].ran_again = true).contains("started again"));
    assert_eq!(verdict(|fleet| fleet[0].rejected_rev = TARGET - 2), Verdict::Held, "an earlier one");
    assert_eq!(verdict(|fleet| fleet[1].rejected_rev = TARGET), Verdict::Held, "not of this stage");
}

#[test]
fn a_rise_of_refusals_or_failures_fails_it() {
    assert!(why(|fleet| fleet[0].now = counts(2_000, 120, 20)).starts_with("refusals rose to 10 %"));
    assert!(why(|fleet| fleet[0].now = counts(2_000, 40, 90)).starts_with("failures rose to 8 %"));
    assert_eq!(verdict(|fleet| fleet[0].now = counts(2_000, 100, 20)), Verdict::Held, "little more");
    assert_eq!(verdict(|fleet| fleet[0].now = counts(1_040, 60, 50)), Verdict::Held, "too few to tell");
    // What rises on the others too, a tenant's server being down, is not the revision's doing.
    let everywhere = |fleet: &mut Vec<Member>| {
        (fleet[0].now, fleet[1].now) = (counts(2_000, 120, 90), counts(2_000, 240, 180));
    };
    assert_eq!(verdict(everywhere), Verdict::Held);
    // A proxy that had answered nothing before is compared with the others; where there is nothing, with nobody.
    let fresh = |fleet: &mut Vec<Member>| {
        (fleet[0].before, fleet[0].now) = (counts(0, 0, 0), counts(100, 30, 0));
    };
    assert!(why(fresh).starts_with("refusals rose to 30 %"));
    let alone = |fleet: &mut Vec<Member>| {
        fresh(fleet);
        fleet.truncate(1);
    };
    assert_eq!(verdict(alone), Verdict::Held);
}

#[test]
fn who_is_overdue_fails_a_small_stage_and_is_left_out_of_a_large_one() {
    type Change = fn(&mut Member);
    let cases: [(Change, &str); 3] = [
        (|it| it.live = false, "has been away since it applied it"),
        (|it| it.rev = TARGET - 1, "has not answered"),
        (|it| (it.live, it.rev) = (false, TARGET - 1), "went away before it answered"),
    ];
    for (change, why) in cases {
        let alone = |waited| after(waited, false, |fleet| change(&mut fleet[0]));
        assert_eq!(alone(OVERDUE - Duration::from_secs(1)), Verdict::Wait, "{why}");
        let Verdict::Failed(said) = alone(OVERDUE) else { panic!("{why}: {:?}", alone(OVERDUE)) };
        assert!(said.contains(&FIRST.to_string()) && said.ends_with(why), "{said}");
        let among = |waited, count| {
            after(waited, false, |fleet| {
                change(&mut fleet[0]);
                fleet.extend((0..count).map(|number| Member { proxy: in_stage(number), ..first() }));
            })
        };
        assert!(matches!(among(OVERDUE, 5), Verdict::Failed(_)), "{why}: one of six");
        assert_eq!(among(OVERDUE, 10), Verdict::Held, "{why}: one of eleven");
        assert_eq!(among(Duration::ZERO, 10), Verdict::Wait, "{why}");
    }
}

#[test]
fn what_does_not_take_it_is_not_waited_for() {
    let old = |fleet: &mut Vec<Member>| {
        fleet.push(Member { proxy: in_stage(0), rev: 0, takes_global: false, ..first() });
    };
    assert_eq!(verdict(old), Verdict::Held);
    let alone = |fleet: &mut Vec<Member>| (fleet[0].rev, fleet[0].takes_global) = (0, false);
    assert_eq!(verdict(alone), Verdict::Wait, "nobody has tried it");
}

#[test]
fn connections_that_are_turned_away_count_against_a_revision_that_bounds_them() {
    let turned = |fleet: &mut Vec<Member>| {
        (fleet[0].before.turned_away, fleet[0].now.turned_away) = (10, 1_500);
    };
    let Verdict::Failed(why) = after(Duration::ZERO, true, turned) else { panic!("unseen") };
    assert!(why.starts_with("connections turned away rose to 60 %"), "{why}");
    assert_eq!(after(Duration::ZERO, false, turned), Verdict::Held, "strangers decide nothing else");
    // Where nobody comes in any more, too.
    let silent = |fleet: &mut Vec<Member>| {
        turned(fleet);
        fleet[0].now.answers = fleet[0].before.answers;
    };
    assert!(matches!(after(Duration::ZERO, true, silent), Verdict::Failed(_)));
}

#[test]
fn time_in_which_nobody_looked_does_not_count() {
    let fleet = [Member { live: false, ..first() }];
    let at = |seconds: u64| Monotonic::from_nanos(seconds * 1_000_000_000);
    let mut patience = Patience::default();
    patience.look(&STAGE, TARGET, &fleet, at(1_000));
    patience.look(&STAGE, TARGET, &fleet, at(1_020));
    assert_eq!(patience.waited(FIRST), Duration::from_secs(20));
    patience.look(&STAGE, TARGET, &fleet, at(1_600));
    assert_eq!(patience.waited(FIRST), Duration::ZERO, "a gap");
    patience.look(&STAGE, TARGET, &fleet, at(1_610));
    patience.look(&STAGE, TARGET + 1, &fleet, at(1_620));
    assert_eq!(patience.waited(FIRST), Duration::ZERO, "another revision");
}
