//! Permits of limits that configuration does not have any more, for as long as calls run on them.

use std::sync::{Arc, Weak};

use ids::TenantId;
use limits::running::Permits;
use redis_link::counters::Subject;

use super::index::{Map, TenantIndex};

/// By what they are counted as, with the other proxies too: a limit that is deleted and made again, or a tenant that leaves the
/// pool and comes back, goes on with what runs. Two ends that speak for this proxy of one limit would each tell the store that the
/// other's calls are over.
#[derive(Debug, Default)]
pub(super) struct Left(Map<(TenantId, Subject), Weak<Permits>>);

impl Left {
    /// `former` is replaced by `next`, or gone.
    pub(super) fn leave(&mut self, former: &TenantIndex, next: Option<&TenantIndex>) {
        self.0.retain(|_, permits| permits.strong_count() > 0);
        let kept: Map<Subject, ()> =
            next.into_iter().flat_map(TenantIndex::limits).map(|limit| (limit.subject, ())).collect();
        for limit in former.limits().filter(|limit| !kept.contains_key(&limit.subject)) {
            self.0.insert((limit.tenant, limit.subject), Arc::downgrade(&limit.buckets.in_flight));
        }
    }

    /// What a limit that is new in configuration goes on with.
    pub(super) fn get(&self, tenant: TenantId, subject: Subject) -> Option<Arc<Permits>> {
        self.0.get(&(tenant, subject))?.upgrade()
    }
}
