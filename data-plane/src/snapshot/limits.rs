//! The limits of a snapshot, with what earlier revisions have counted.

use std::sync::{Arc, OnceLock};

use ids::{Id, TenantId, Uuid};
use limits::{
    Rate,
    budget::{Budget, Window},
};
use redis_link::counters::Subject;
use seams::Monotonic;
use wire::v1::{self, LimitSubject};

use super::{
    build::At,
    decode::DecodeError,
    index::{Buckets, Map, NearEnds, REFUSALS_RECORDED, SubjectLimit, TenantIndex},
    left::Left,
};

/// For clients of a tenant that configured nothing: `conservative`.
const DEFAULT_RATE: Rate = Rate::per_minute(60);
const DEFAULT_CONCURRENCY: u32 = 32;

/// The limits of a snapshot by subject, with what earlier revisions have counted.
pub(super) struct Limits<'a> {
    pub(super) tenant: Option<Arc<SubjectLimit>>,
    pub(super) tools: Map<Uuid, Arc<SubjectLimit>>,
    clients: Map<Uuid, Arc<SubjectLimit>>,
    id: TenantId,
    every_client: Option<v1::Limit>,
    previous: Option<&'a TenantIndex>,
    left: &'a Left,
    now: Monotonic,
}

impl<'a> Limits<'a> {
    pub(super) fn new(
        id: TenantId,
        limits: &[(String, v1::Limit)],
        (previous, left): (Option<&'a TenantIndex>, &'a Left),
        now: Monotonic,
    ) -> Result<Self, DecodeError> {
        let mut all = Self {
            tenant: None,
            tools: Map::default(),
            clients: Map::default(),
            id,
            every_client: None,
            previous,
            left,
            now,
        };
        let former_tools = former_tools(previous);
        for (resource, limit) in limits {
            let at = At(resource);
            let subject = || Uuid::from_slice(&limit.subject_id).map_err(|_| at.fault("subject_id"));
            match limit.subject() {
                LimitSubject::Tenant => {
                    let former = previous.and_then(|index| index.limit.as_deref());
                    all.tenant = Some(Arc::new(subject_limit(
                        (id, Subject::Tenant),
                        Some(limit),
                        (former, left),
                        now,
                    )));
                }
                LimitSubject::Tool => {
                    let tool = subject()?;
                    let former = former_tools.get(&tool).copied();
                    let of = (id, Subject::Tool(Id::from_uuid(tool)));
                    all.tools.insert(tool, Arc::new(subject_limit(of, Some(limit), (former, left), now)));
                }
                LimitSubject::Client if limit.subject_id.is_empty() => all.every_client = Some(limit.clone()),
                LimitSubject::Client => {
                    let client = subject()?;
                    let of = (id, Subject::Client(Id::from_uuid(client)));
                    let own = subject_limit(of, Some(limit), (all.former_client(client), left), now);
                    all.clients.insert(client, Arc::new(own));
                }
                LimitSubject::Unspecified => return Err(at.fault("subject")),
            }
        }
        Ok(all)
    }

    fn former_client(&self, id: Uuid) -> Option<&'a SubjectLimit> {
        Some(&self.previous?.clients.get(&ids::ClientId::from_uuid(id))?.limit)
    }

    pub(super) fn client(&self, id: Uuid) -> Arc<SubjectLimit> {
        self.clients.get(&id).cloned().unwrap_or_else(|| {
            let of = (self.id, Subject::Client(Id::from_uuid(id)));
            let former = (self.former_client(id), self.left);
            Arc::new(subject_limit(of, self.every_client.as_ref(), former, self.now))
        })
    }
}

fn former_tools(previous: Option<&TenantIndex>) -> Map<Uuid, &SubjectLimit> {
    let upstreams = previous.into_iter().flat_map(|index| index.upstreams.values());
    let tools = upstreams.flat_map(|upstream| upstream.tools.values());
    tools.filter_map(|tool| Some((tool.id.uuid(), tool.limit.as_deref()?))).collect()
}

fn subject_limit(
    (tenant, subject): (TenantId, Subject),
    limit: Option<&v1::Limit>,
    (former, left): (Option<&SubjectLimit>, &Left),
    now: Monotonic,
) -> SubjectLimit {
    let rate = limit.map_or(DEFAULT_RATE, |limit| Rate { per_minute: limit.per_minute, burst: limit.burst });
    let protocol_rate = rate.protocol();
    let concurrency = limit.map_or(DEFAULT_CONCURRENCY, |limit| limit.concurrency);
    let budgets = limit.map_or([0, 0], |limit| [limit.per_day, limit.per_month]);
    let budgets: Box<[Budget]> = [Window::Day, Window::Month]
        .into_iter()
        .zip(budgets)
        .filter(|(_, units)| *units > 0)
        .map(|(window, units)| Budget { window, units })
        .collect();
    let buckets = match former {
        None => {
            let in_flight = left.get(tenant, subject).unwrap_or_default();
            Arc::new(Buckets { in_flight, ..Buckets::default() })
        }
        Some(former) if former.rate == rate && former.budgets == budgets => former.buckets.clone(),
        Some(former) => Arc::new(Buckets {
            calls: former.buckets.calls.carried_over(now.nanos(), former.rate, rate),
            protocol: former.buckets.protocol.carried_over(now.nanos(), former.protocol_rate, protocol_rate),
            refusals: former.buckets.refusals.carried_over(now.nanos(), REFUSALS_RECORDED, REFUSALS_RECORDED),
            in_flight: former.buckets.in_flight.clone(),
            body_bytes: former.buckets.body_bytes.clone(),
            day: former.buckets.day.carried_over(),
            month: former.buckets.month.carried_over(),
            near: former.buckets.near.get().map_or_else(OnceLock::new, |near| {
                OnceLock::from(Box::new(NearEnds {
                    calls: near.calls.carried_over(now.nanos(), former.rate, rate),
                    protocol: near.protocol.carried_over(now.nanos(), former.protocol_rate, protocol_rate),
                }))
            }),
        }),
    };
    let id = limit.and_then(|limit| Uuid::from_slice(&limit.id).ok()).map(Id::from_uuid);
    let concurrency = (concurrency > 0).then_some(concurrency);
    SubjectLimit { id, tenant, subject, rate, protocol_rate, budgets, concurrency, buckets }
}
