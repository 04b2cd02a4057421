//! Whether a stage has held. Pure: what proxies said and the time in, the verdict out.

use std::time::Duration;

use ids::ProxyId;
use seams::Timestamp;

use super::Stage;

/// Answers before shares of them are compared.
const ENOUGH: u64 = 50;

/// What a proxy has answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests of callers it knew.
    pub answers: u64,
    /// How many of them it refused.
    pub refusals: u64,
    /// How many failed by no fault of the caller's.
    pub failures: u64,
}

/// A proxy that was not revoked.
#[derive(Debug, Clone)]
pub struct Member {
    /// Which.
    pub proxy: ProxyId,
    /// Its lease has not run out.
    pub live: bool,
    /// The revision it enforces; 0: none.
    pub rev: u64,
    /// The last it refused; 0: none.
    pub rejected_rev: u64,
    /// Why.
    pub rejected: String,
    /// When it said first that it enforces `rev`.
    pub at: Option<Timestamp>,
    /// Its process has been started again since.
    pub ran_again: bool,
    /// What it had answered by then.
    pub before: Counts,
    /// What it has answered until now.
    pub now: Counts,
}

/// What is to become of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It has not held long enough, or somebody has not answered.
    Wait,
    /// It has.
    Held,
    /// It has not, and why.
    Failed(String),
}

/// Looks at the proxies of `stage`, which are to enforce `target`, and at the others for comparison.
#[must_use]
pub fn judge(stage: &Stage, target: u64, soak: Duration, fleet: &[Member], now: Timestamp) -> Verdict {
    // Whoever enforces it, also where the stage has moved on from it.
    let (members, others): (Vec<_>, Vec<_>) =
        fleet.iter().partition(|member| stage.has(member.proxy) || member.rev == target);
    if let Some(refused) = members.iter().find(|member| member.rejected_rev == target) {
        return Verdict::Failed(format!("{} refused it: {}", refused.proxy, refused.rejected));
    }
    let applied: Vec<_> = members.iter().filter(|member| member.rev == target).collect();
    if let Some(fell) = applied.iter().find(|member| member.ran_again) {
        return Verdict::Failed(format!("{} was started again since it applied it", fell.proxy));
    }
    let before = sum(applied.iter().map(|member| member.before));
    let since = sum(applied.iter().map(|member| member.now.since(member.before)));
    let elsewhere = sum(others.iter().map(|member| member.now));
    let usual = [before, elsewhere].into_iter().find(|counts| counts.answers >= ENOUGH);
    if let Some(usual) = usual.filter(|_| since.answers >= ENOUGH) {
        for (what, part) in
            [("failures", Counts::failures as fn(&Counts) -> f64), ("refusals", Counts::refusals)]
        {
            if part(&since) > 2.0 * part(&usual) + 0.05 {
                let (since, usual) = (part(&since) * 100.0, part(&usual) * 100.0);
                return Verdict::Failed(format!(
                    "{what} rose to {since:.0} % of answers where it was applied, from {usual:.0} %"
                ));
            }
        }
    }
    // One that applied it and is away may have died of it: it comes back, or is revoked, or an operator goes on.
    let is_settled = members.iter().all(|member| member.live == (member.rev == target));
    let last = applied.iter().filter(|member| member.live).map(|member| member.at.unwrap_or(now)).max();
    match last {
        Some(last) if is_settled && now.since(last) >= soak => Verdict::Held,
        _ => Verdict::Wait,
    }
}

fn sum(counts: impl Iterator<Item = Counts>) -> Counts {
    counts.fold(Counts::default(), |sum, each| Counts {
        answers: sum.answers + each.answers,
        refusals: sum.refusals + each.refusals,
        failures: sum.failures + each.failures,
    })
}

impl Counts {
    fn since(self, before: Self) -> Self {
        Self {
            answers: self.answers.saturating_sub(before.answers),
            refusals: self.refusals.saturating_sub(before.refusals),
            failures: self.failures.saturating_sub(before.failures),
        }
    }

    fn refusals(&self) -> f64 {
        self.refusals as f64 / self.answers.max(1) as f64
    }

    fn failures(&self) -> f64 {
        self.failures as f64 / self.answers.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000);
    const SOAK: Duration = Duration::from_secs(60);
    const STAGE: Stage = Stage { percent: 1, first: Some(FIRST) };
    const FIRST: ProxyId = ProxyId::from_uuid(ids::Uuid::nil());
    const TARGET: u64 = 7;

    fn counts(answers: u64, refusals: u64, failures: u64) -> Counts {
        Counts { answers, refusals, failures }
    }

    /// Has applied it, long ago.
    fn first() -> Member {
        Member {
            proxy: FIRST,
            live: true,
            rev: TARGET,
            rejected_rev: 0,
            rejected: String::new(),
            at: Some(Timestamp::from_secs(900)),
            ran_again: false,
            before: counts(1_000, 20, 10),
            now: counts(2_000, 40, 20),
        }
    }

    fn other() -> Member {
        let proxy = (0..).map(|n| ProxyId::from_parts(n, [7; 10])).find(|proxy| !STAGE.has(*proxy));
        Member { proxy: proxy.unwrap(), rev: TARGET - 1, ..first() }
    }

    fn verdict(change: impl FnOnce(&mut Vec<Member>)) -> Verdict {
        let mut fleet = vec![first(), other()];
        change(&mut fleet);
        judge(&STAGE, TARGET, SOAK, &fleet, NOW)
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
            (fleet[1].proxy, fleet[1].live, fleet[1].rev) = (FIRST, false, TARGET - 1);
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
}
