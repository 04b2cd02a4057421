//! Row 10, limit: tenant, endpoint, client, member, key and tool, and how many run at once, as one reservation: all or nothing.
//!
//! Key: the subject of the limit in the snapshot. Cost: a tool call its tool's weight; everything else 1, in separate
//! buckets of five times the rate, so that connecting does not eat the budget for calls. Before authorize, so that
//! probing is limited too: a call refused after this point gets its units back and is charged as an ordinary request
//! instead. Who counts is the limiter's: this process, or all proxies together through Redis. Fails to a share of the limit.

use std::sync::Arc;

use ::mcp::Method;
use limits::budget::{Now, Window};
use redis_link::counters::Counter;
use smallvec::SmallVec;

use super::{BoundSession, Call, EndpointEvidence, Kind, Principal};
use crate::{
    limiter::{Concurrent, Leases, Limiter, Refused, Taken, Wanted},
    refuse::{LimitName, Refusal},
    snapshot::index::{SubjectLimit, ToolIndex},
};

/// What a message costs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cost<'a> {
    /// A tool call; `None` when the catalogue does not know the tool, which row 12 refuses.
    Call(Option<&'a ToolIndex>),
    /// A request, or a stream to be opened, that is no tool call.
    Request,
    /// A message that is answered at once and keeps nothing running.
    Message,
}

impl<'a> Cost<'a> {
    /// Of a message; `tool` is what its name stands for.
    pub(crate) fn of(call: &Call<'_>, tool: Option<&'a ToolIndex>) -> Self {
        match (call.kind(), call.method()) {
            (Kind::Request, Some(Method::ToolsCall)) => Self::Call(tool),
            (Kind::Request | Kind::OpenStream, _) => Self::Request,
            (Kind::Notification | Kind::Response | Kind::EndSession, _) => Self::Message,
        }
    }
}

/// Evidence: room in every bucket, taken. Dropping it gives the units back.
#[derive(Debug)]
pub(crate) struct Reservation {
    taken: Option<Taken>,
    leases: Leases,
    /// Charged instead when the call is refused by a later check.
    instead: Option<Wanted>,
    now: Now,
}

impl Reservation {
    /// The call goes out: its units stay taken, and the leases last as long as it does.
    pub(crate) fn keep(mut self) -> Leases {
        self.taken = None;
        std::mem::take(&mut self.leases)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(taken) = self.taken.take() {
            // Once the ordinary requests are used up as well, a refused call keeps what it took.
            taken.give_back(self.instead.take(), self.now);
        }
    }
}

/// Reserves.
pub(crate) async fn check(
    limiter: &Limiter,
    place: &EndpointEvidence,
    principal: &Principal,
    _session: &BoundSession,
    cost: Cost<'_>,
    now: Now,
) -> Result<Reservation, Refusal> {
    let client = &principal.client().limit;
    let tenant = place.tenant().limit.as_ref();
    let tool = match cost {
        Cost::Call(Some(tool)) => tool.limit.as_ref(),
        _ => None,
    };
    // The narrowest first: its refusal says most.
    let subjects: SmallVec<[(LimitName, &Arc<SubjectLimit>); 3]> = [
        (LimitName::Tool, tool),
        (LimitName::Key, principal.key_limit()),
        (LimitName::Member, principal.member().and_then(|member| member.limit.as_ref())),
        (LimitName::Client, Some(client)),
        (LimitName::Endpoint, place.endpoint().limit.as_ref()),
        (LimitName::Tenant, tenant),
    ]
    .into_iter()
    .filter_map(|(name, subject)| Some((name, subject?)))
    .collect();
    // Leases before units: a refused lease costs nothing.
    let leases = match cost {
        Cost::Message => Leases::new(),
        Cost::Call(_) | Cost::Request => start(limiter, &subjects, now).await?,
    };
    let (counter, units) = match cost {
        Cost::Call(tool) => (Counter::Calls, tool.map_or(1, |tool| tool.cost)),
        Cost::Request | Cost::Message => (Counter::Protocol, 1),
    };
    // Rates before budgets: what comes back sooner refuses first.
    let rates = subjects.iter().map(|(name, limit)| (*name, *limit, counter));
    let budgets = subjects.iter().filter(|_| counter == Counter::Calls).flat_map(|(name, limit)| {
        limit.budgets.iter().map(|budget| match budget.window {
            Window::Day => (*name, *limit, Counter::Day),
            Window::Month => (*name, *limit, Counter::Month),
        })
    });
    let wanted: SmallVec<[(LimitName, &Arc<SubjectLimit>, Counter); 4]> = rates.chain(budgets).collect();
    let counters = wanted.iter().map(|(_, limit, counter)| Wanted {
        limit: Arc::clone(limit),
        counter: *counter,
        units,
    });
    let taken = limiter.take(counters.collect(), now).await;
    let taken = taken.map_err(|refused| refusal(&refused, &wanted))?;
    let instead = (counter == Counter::Calls).then(|| Wanted {
        limit: Arc::clone(client),
        counter: Counter::Protocol,
        units: 1,
    });
    // What is refused later and is no call keeps what it took: nothing else would bound how much of it comes.
    let taken = instead.is_some().then_some(taken);
    Ok(Reservation { taken, leases, instead, now })
}

fn refusal(refused: &Refused, wanted: &[(LimitName, &Arc<SubjectLimit>, Counter)]) -> Refusal {
    let Refused { index, remaining, retry_after, counted } = *refused;
    let rated =
        |limit, per_minute| Refusal::RateLimited { limit, per_minute, remaining, retry_after, counted };
    let Some((name, limit, counter)) = wanted.get(index) else { return rated(LimitName::Client, 0) };
    let window = match counter {
        Counter::Calls => return rated(*name, limit.rate.per_minute),
        Counter::Protocol => return rated(name.protocol(), limit.protocol_rate.per_minute),
        Counter::Day => Window::Day,
        Counter::Month => Window::Month,
    };
    let allowed =
        limit.budgets.iter().find(|budget| budget.window == window).map_or(0, |budget| budget.units);
    Refusal::BudgetExhausted { limit: *name, window, allowed, remaining, retry_after, counted }
}

async fn start(
    limiter: &Limiter,
    subjects: &[(LimitName, &Arc<SubjectLimit>)],
    now: Now,
) -> Result<Leases, Refusal> {
    let limited: SmallVec<[_; 3]> =
        subjects.iter().filter_map(|(name, limit)| Some((*name, *limit, limit.concurrency?))).collect();
    let wanted = limited.iter().map(|(_, limit, _)| Concurrent(Arc::clone(limit)));
    limiter.start(wanted.collect(), now).await.map_err(|(index, counted)| {
        let (limit, allowed) =
            limited.get(index).map_or((LimitName::Client, 0), |(name, _, allowed)| (*name, *allowed));
        Refusal::ConcurrencyLimited { limit, allowed, counted }
    })
}

#[cfg(test)]
mod tests;
