//! Row 10, limit: tenant, client and tool, and how many run at once, as one reservation: all or nothing.
//!
//! Key: the subject of the limit in the snapshot. Cost: a tool call its tool's weight; everything else 1, in separate
//! buckets of five times the rate, so that connecting does not eat the budget for calls. Before authorize, so that
//! probing is limited too: a call refused after this point gets its units back and is charged as an ordinary request
//! instead. Who counts is the limiter's: this process, or all proxies together through Redis. Fails to a share of the limit.

use std::sync::Arc;

use ::mcp::Method;
use limits::Lease;
use redis_link::counters::Counter;
use seams::Monotonic;
use smallvec::SmallVec;

use super::{BoundSession, Call, EndpointEvidence, Kind, Principal};
use crate::{
    limiter::{Limiter, Refused, Taken, Wanted},
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

/// Leases of what runs; they end when dropped.
pub(crate) type Leases = SmallVec<[Lease; 3]>;

/// Evidence: room in every bucket, taken. Dropping it gives the units back.
#[derive(Debug)]
pub(crate) struct Reservation {
    taken: Option<Taken>,
    leases: Leases,
    /// Charged instead when the call is refused by a later check.
    instead: Option<Wanted>,
    now: Monotonic,
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
    now: Monotonic,
) -> Result<Reservation, Refusal> {
    let client = &principal.client().limit;
    let tenant = place.tenant().limit.as_ref();
    let tool = match cost {
        Cost::Call(Some(tool)) => tool.limit.as_ref(),
        _ => None,
    };
    // The narrowest first: its refusal says most.
    let subjects: SmallVec<[(LimitName, &Arc<SubjectLimit>); 3]> =
        [(LimitName::Tool, tool), (LimitName::Client, Some(client)), (LimitName::Tenant, tenant)]
            .into_iter()
            .filter_map(|(name, subject)| Some((name, subject?)))
            .collect();
    // Leases before units: a refused lease costs nothing.
    let mut leases = Leases::new();
    if !matches!(cost, Cost::Message) {
        for (name, subject) in &subjects {
            lease(*name, subject, &mut leases)?;
        }
    }
    let (counter, units) = match cost {
        Cost::Call(tool) => (Counter::Calls, tool.map_or(1, |tool| tool.cost)),
        Cost::Request | Cost::Message => (Counter::Protocol, 1),
    };
    let wanted = |limit: &Arc<SubjectLimit>| Wanted { limit: Arc::clone(limit), counter, units };
    let taken = limiter.take(subjects.iter().map(|(_, limit)| wanted(limit)).collect(), now).await;
    let taken = taken.map_err(|refused| refusal(&refused, &subjects, counter))?;
    let instead = (counter == Counter::Calls).then(|| Wanted {
        limit: Arc::clone(client),
        counter: Counter::Protocol,
        units: 1,
    });
    Ok(Reservation { taken: Some(taken), leases, instead, now })
}

fn refusal(refused: &Refused, subjects: &[(LimitName, &Arc<SubjectLimit>)], counter: Counter) -> Refusal {
    let (name, per_minute) = match (subjects.get(refused.index), counter) {
        (Some((name, limit)), Counter::Calls) => (*name, limit.rate.per_minute),
        (Some((name, limit)), Counter::Protocol) => (name.protocol(), limit.protocol_rate.per_minute),
        (None, _) => (LimitName::Client, 0),
    };
    let Refused { remaining, retry_after, counted, .. } = *refused;
    Refusal::RateLimited { limit: name, per_minute, remaining, retry_after, counted }
}

fn lease(name: LimitName, subject: &SubjectLimit, leases: &mut Leases) -> Result<(), Refusal> {
    let Some(allowed) = subject.concurrency else { return Ok(()) };
    let lease = subject.buckets.in_flight.try_acquire(allowed);
    leases.push(lease.ok_or(Refusal::ConcurrencyLimited { limit: name, allowed })?);
    Ok(())
}

#[cfg(test)]
mod tests;
