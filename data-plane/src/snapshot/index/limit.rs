//! Limits, and what is left of them.

use std::sync::{Arc, OnceLock};

use ids::{LimitId, TenantId};
use limits::{
    Bucket, Concurrency, Rate,
    budget::{Budget, NearBudget},
    near::Near,
    running::Permits,
};
use redis_link::counters::Subject;
use seams::Monotonic;

/// Refusals of one client that are recorded one by one although no limit has been charged for them; more are counted. Without a
/// bound one client could fill its tenant's share of the audit spool, which closes the tenant.
pub const REFUSALS_RECORDED: Rate = Rate { per_minute: 300, burst: 300 };

/// How much a tenant, a client or a tool may.
#[derive(Debug)]
pub struct SubjectLimit {
    /// The configured limit; `None` for the built-in default.
    pub id: Option<LimitId>,
    /// Whose tenant it is of.
    pub tenant: TenantId,
    /// Whose calls are counted.
    pub subject: Subject,
    /// Calls, in units of cost.
    pub rate: Rate,
    /// Everything else, one unit each.
    pub protocol_rate: Rate,
    /// Calls a day and a month, in units of cost; most have none.
    pub budgets: Box<[Budget]>,
    /// Calls in flight; `None` is not limited.
    pub concurrency: Option<u32>,
    /// What is left, kept from revision to revision.
    pub buckets: Arc<Buckets>,
}

/// What is left of a limit.
#[derive(Debug, Default)]
pub struct Buckets {
    /// Of [`SubjectLimit::rate`].
    pub calls: Bucket,
    /// Of [`SubjectLimit::protocol_rate`].
    pub protocol: Bucket,
    /// Of [`REFUSALS_RECORDED`].
    pub refusals: Bucket,
    /// Calls running now. Where proxies share, its near end.
    pub in_flight: Arc<Permits>,
    /// Bytes of request bodies held now.
    pub body_bytes: Arc<Concurrency>,
    /// Of the budget for a day, and for a month. Where proxies share, their near ends.
    pub day: NearBudget,
    /// See [`Self::day`].
    pub month: NearBudget,
    /// Near ends of the buckets that proxies share; only where they do, and from the first call on.
    pub near: OnceLock<Box<NearEnds>>,
}

/// This proxy's ends of a subject's shared buckets.
#[derive(Debug, Default)]
pub struct NearEnds {
    /// Of [`Buckets::calls`].
    pub calls: Near,
    /// Of [`Buckets::protocol`].
    pub protocol: Near,
}

impl SubjectLimit {
    /// Whether one more refusal is recorded by itself.
    #[must_use]
    pub fn records_refusal(&self, now: Monotonic) -> bool {
        self.buckets.refusals.try_take(now.nanos(), REFUSALS_RECORDED, 1).admitted()
    }
}
