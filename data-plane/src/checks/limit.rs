//! Row 10, limit: tenant, client and tool, and how many run at once, as one reservation: all or nothing.
//!
//! Key: the subject of the limit in the snapshot. Cost: a tool call its tool's weight; everything else 1, in separate
//! buckets of five times the rate, so that connecting does not eat the budget for calls. Before authorize, so that
//! probing is limited too: a call refused after this point gets its units back and is charged as an ordinary request
//! instead. In process: each proxy counts for itself.

use std::{borrow::Borrow, sync::Arc};

use ::mcp::Method;
use limits::{Bucket, Lease, Rate};
use seams::Monotonic;
use smallvec::SmallVec;

use super::{BoundSession, Call, EndpointEvidence, Kind, Principal};
use crate::{
    refuse::{LimitName, Refusal},
    snapshot::index::{Buckets, SubjectLimit, ToolIndex},
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

/// One of a subject's buckets, held as long as something taken from it may be given back.
#[derive(Debug, Clone)]
enum Held {
    Calls(Arc<Buckets>),
    Protocol(Arc<Buckets>),
}

impl Borrow<Bucket> for Held {
    fn borrow(&self) -> &Bucket {
        match self {
            Self::Calls(buckets) => &buckets.calls,
            Self::Protocol(buckets) => &buckets.protocol,
        }
    }
}

/// Evidence: room in every bucket, taken. Dropping it gives the units back.
#[derive(Debug)]
pub(crate) struct Reservation {
    taken: Option<limits::Reservation<Held>>,
    leases: Leases,
    /// Charged instead when the call is refused by a later check.
    instead: Option<(Arc<Buckets>, Rate)>,
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
        let Some(taken) = self.taken.take() else { return };
        // Once the ordinary requests are used up as well, a refused call keeps what it took.
        let charged = match &self.instead {
            Some((buckets, rate)) => buckets.protocol.try_take(self.now.nanos(), *rate, 1).admitted(),
            None => true,
        };
        if charged {
            taken.refund();
        }
    }
}

/// Reserves.
pub(crate) fn check(
    place: &EndpointEvidence,
    principal: &Principal,
    _session: &BoundSession,
    cost: Cost<'_>,
    now: Monotonic,
) -> Result<Reservation, Refusal> {
    let client = &*principal.client().limit;
    let tenant = place.tenant().limit.as_deref();
    let tool = match cost {
        Cost::Call(Some(tool)) => tool.limit.as_deref(),
        _ => None,
    };
    // The narrowest first: its refusal says most.
    let subjects: SmallVec<[(LimitName, &SubjectLimit); 3]> =
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
    let units = match cost {
        Cost::Call(tool) => Some(tool.map_or(1, |tool| tool.cost)),
        Cost::Request | Cost::Message => None,
    };
    let wanted: SmallVec<[(Held, Rate, u32); 3]> = subjects
        .iter()
        .map(|(_, subject)| match units {
            Some(units) => (Held::Calls(Arc::clone(&subject.buckets)), subject.rate, units),
            None => (Held::Protocol(Arc::clone(&subject.buckets)), subject.protocol_rate, 1),
        })
        .collect();
    let taken = limits::reserve(&wanted, now.nanos()).map_err(|refused| {
        let name = subjects.get(refused.index).map_or(LimitName::Client, |(name, _)| *name);
        let per_minute = wanted.get(refused.index).map_or(0, |(_, rate, _)| rate.per_minute);
        let limit = if units.is_some() { name } else { name.protocol() };
        Refusal::RateLimited {
            limit,
            per_minute,
            remaining: refused.remaining,
            retry_after: refused.retry_after,
        }
    })?;
    let instead = units.map(|_| (Arc::clone(&client.buckets), client.protocol_rate));
    Ok(Reservation { taken: Some(taken), leases, instead, now })
}

fn lease(name: LimitName, subject: &SubjectLimit, leases: &mut Leases) -> Result<(), Refusal> {
    let Some(allowed) = subject.concurrency else { return Ok(()) };
    let lease = subject.buckets.in_flight.try_acquire(allowed);
    leases.push(lease.ok_or(Refusal::ConcurrencyLimited { limit: name, allowed })?);
    Ok(())
}

#[cfg(test)]
mod tests;
