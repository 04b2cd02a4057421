//! What is known of servers outlives a revision in which they are the same.

use std::sync::{Arc, OnceLock};

use crypto::digest::sha256;
use ids::{Id, UpstreamId, Uuid};
use prost::Message as _;
use wire::v1;

use super::super::index::{Map, OfUse, TenantIndex, UpstreamAuth, UpstreamIndex};
use crate::upstream::{GateLimits, Guard};

/// The former revision's servers, of those that are where they were.
pub(super) struct Former<'a> {
    same: Map<UpstreamId, &'a UpstreamIndex>,
    all: Option<&'a TenantIndex>,
}

impl<'a> Former<'a> {
    pub(super) fn of(upstreams: &[(String, v1::Upstream)], previous: Option<&'a TenantIndex>) -> Self {
        let Some(previous) = previous else { return Self { same: Map::default(), all: None } };
        let same = upstreams.iter().filter_map(|(_, upstream)| {
            let id = Id::from_uuid(Uuid::from_slice(&upstream.id).ok()?);
            let former = previous.upstreams.get(&id)?;
            (former.fingerprint == fingerprint(upstream)).then_some((id, &**former))
        });
        Self { same: same.collect(), all: Some(previous) }
    }

    /// What the server was shown, wherever it was.
    pub(super) fn auth(&self, upstream: UpstreamId) -> Option<&'a UpstreamAuth> {
        Some(&self.all?.upstreams.get(&upstream)?.auth)
    }

    /// What is known of the server. It is told how many calls it is given now: some may wait for that.
    pub(super) fn guard(&self, upstream: UpstreamId, concurrency: GateLimits) -> Arc<Guard> {
        let Some(former) = self.same.get(&upstream) else { return Arc::default() };
        former.guard.configure(concurrency);
        Arc::clone(&former.guard)
    }

    /// Of what a tool of now takes over from what it was.
    pub(super) fn of_use(&self, upstream: UpstreamId, tool: &str) -> OnceLock<Box<OfUse>> {
        let former = self.same.get(&upstream).and_then(|former| former.tools.get(tool));
        let breaker = former.and_then(|former| former.breaker());
        breaker.map_or_else(OnceLock::new, |breaker| Box::new(OfUse::failed(Arc::clone(breaker))).into())
    }
}

/// Of where a server is and how it is reached.
pub(super) fn fingerprint(upstream: &v1::Upstream) -> [u8; 32] {
    sha256(&v1::Upstream { breaker: None, concurrency: None, ..upstream.clone() }.encode_to_vec())
}
