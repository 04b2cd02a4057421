//! Whether a stage has held. Pure: what proxies said and the time in, the verdict out.

use std::time::Duration;

use ids::ProxyId;
use seams::Timestamp;

use super::{Stage, patience::Patience};

/// Answers before shares of them are compared.
const ENOUGH: u64 = 50;
/// How long a proxy is waited for that has not answered, or is away since it applied the revision.
pub const OVERDUE: Duration = Duration::from_secs(600);
/// Of the proxies that a stage waits for, the part that may be overdue: they are no longer waited for. With more, it has failed.
const MAY_BE_OVERDUE: f64 = 0.1;

/// What a proxy has answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests of callers it knew.
    pub answers: u64,
    /// How many of them it refused.
    pub refusals: u64,
    /// How many failed by no fault of the caller's.
    pub failures: u64,
    /// Connections, not requests, that it turned away because their address had as many as it may. They may be strangers'.
    pub turned_away: u64,
}

/// A proxy that was not revoked.
#[derive(Debug, Clone)]
pub struct Member {
    /// Which.
    pub proxy: ProxyId,
    /// Its lease has not run out.
    pub live: bool,
    /// Its build takes the fleet's configuration at all. What does not is neither sent it nor waited for.
    pub takes_global: bool,
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

impl Member {
    /// Whether there is something to wait for: it has not answered, or it is away since it applied the revision, and may have
    /// died of it; the first proxy also when it is away without an answer.
    #[must_use]
    pub fn is_unsettled(&self, stage: &Stage, target: u64) -> bool {
        let has_it = self.rev == target;
        self.takes_global
            && (stage.has(self.proxy) || has_it)
            && (self.live != has_it || (!self.live && stage.first == Some(self.proxy)))
    }

    /// Why it is.
    fn unsettled(&self, target: u64) -> &'static str {
        match (self.live, self.rev == target) {
            (true, _) => "has not answered",
            (false, true) => "has been away since it applied it",
            (false, false) => "went away before it answered",
        }
    }
}

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// Whom the revision is to have reached.
    pub stage: &'a Stage,
    /// Which.
    pub target: u64,
    /// It changes how many connections an address may have.
    pub bounds_connections: bool,
    /// How long the stage has to hold.
    pub soak: Duration,
    /// Every proxy that was not revoked.
    pub fleet: &'a [Member],
    /// For how long those have been unsettled that are.
    pub patience: &'a Patience,
    /// When.
    pub now: Timestamp,
}

/// Looks at the proxies of the stage, which are to enforce the target, and at the others for comparison.
#[must_use]
pub fn judge(look: Look<'_>) -> Verdict {
    let Look { stage, target, soak, fleet, now, .. } = look;
    // Whoever enforces it, also where the stage has moved on from it.
    let (members, others): (Vec<_>, Vec<_>) = fleet
        .iter()
        .partition(|member| member.takes_global && (stage.has(member.proxy) || member.rev == target));
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
    if let Some(worse) = worse(before, since, elsewhere, look.bounds_connections) {
        return Verdict::Failed(worse);
    }
    let unsettled: Vec<_> = members.iter().filter(|member| member.is_unsettled(stage, target)).collect();
    let overdue = unsettled.iter().filter(|member| look.patience.waited(member.proxy) >= OVERDUE);
    let overdue: Vec<_> = overdue.collect();
    let counted = members.iter().filter(|member| member.live || member.rev == target).count();
    if let Some(one) = overdue.first()
        && overdue.len() as f64 > counted as f64 * MAY_BE_OVERDUE
    {
        let (late, why) = (overdue.len(), one.unsettled(target));
        return Verdict::Failed(format!(
            "{late} of its proxies were waited for too long: {} {why}",
            one.proxy
        ));
    }
    // The others come back, or are revoked, or answer, or an operator goes on.
    let is_settled = unsettled.len() == overdue.len();
    let last = applied.iter().filter(|member| member.live).map(|member| member.at.unwrap_or(now)).max();
    match last {
        Some(last) if is_settled && now.since(last) >= soak => Verdict::Held,
        _ => Verdict::Wait,
    }
}

type Part = fn(&Counts) -> (u64, u64);

/// What has become worse where it was applied, against before and against the others.
fn worse(before: Counts, since: Counts, elsewhere: Counts, bounds_connections: bool) -> Option<String> {
    let parts: [(&str, Part, bool); 3] = [
        ("failures", |counts| (counts.failures, counts.answers), true),
        ("refusals", |counts| (counts.refusals, counts.answers), true),
        // By themselves these say nothing of the revision: whoever opens connections without end could hold up any.
        (
            "connections turned away",
            |counts| (counts.turned_away, counts.turned_away.saturating_add(counts.answers)),
            bounds_connections,
        ),
    ];
    parts.into_iter().filter(|(.., counts)| *counts).find_map(|(what, part, _)| {
        let share = |counts: &Counts| {
            let (some, all) = part(counts);
            (all >= ENOUGH).then(|| some as f64 / all as f64)
        };
        // What rose everywhere did not rise because of the revision.
        let usual = [before, elsewhere].iter().filter_map(share).reduce(f64::max)?;
        let since = share(&since)?;
        (since > 2.0 * usual + 0.05).then(|| {
            let (since, usual) = (since * 100.0, usual * 100.0);
            format!("{what} rose to {since:.0} % of answers where it was applied, from {usual:.0} %")
        })
    })
}

fn sum(counts: impl Iterator<Item = Counts>) -> Counts {
    counts.fold(Counts::default(), |sum, each| Counts {
        answers: sum.answers.saturating_add(each.answers),
        refusals: sum.refusals.saturating_add(each.refusals),
        failures: sum.failures.saturating_add(each.failures),
        turned_away: sum.turned_away.saturating_add(each.turned_away),
    })
}

impl Counts {
    fn since(self, before: Self) -> Self {
        Self {
            answers: self.answers.saturating_sub(before.answers),
            refusals: self.refusals.saturating_sub(before.refusals),
            failures: self.failures.saturating_sub(before.failures),
            turned_away: self.turned_away.saturating_sub(before.turned_away),
        }
    }
}

#[cfg(test)]
mod tests;
