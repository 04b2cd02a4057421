//! The limits of a snapshot, with what earlier revisions have counted.

use std::sync::{Arc, OnceLock};

use ids::{ClientId, Id, MemberId, TenantId, Uuid};
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
    own: Map<Subject, Arc<SubjectLimit>>,
    id: TenantId,
    every_client: Option<v1::Limit>,
    every_member: Option<v1::Limit>,
    former: Former<'a>,
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
        let former = Former::of(previous);
        let mut all =
            Self { own: Map::default(), id, every_client: None, every_member: None, former, left, now };
        for (resource, limit) in limits {
            let subject = match (limit.subject(), limit.subject_id.as_slice()) {
                (LimitSubject::Tenant, _) => Subject::Tenant,
                (LimitSubject::Client, []) => {
                    all.every_client = Some(limit.clone());
                    continue;
                }
                (LimitSubject::Member, []) => {
                    all.every_member = Some(limit.clone());
                    continue;
                }
                (kind, bytes) => {
                    let at = At(resource);
                    let id = Uuid::from_slice(bytes).map_err(|_| at.fault("subject_id"))?;
                    subject(kind, id).ok_or_else(|| at.fault("subject"))?
                }
            };
            let own = all.count(subject, Some(limit));
            all.own.insert(subject, Arc::new(own));
        }
        Ok(all)
    }

    /// What has a limit of its own, if it has.
    pub(super) fn of(&self, subject: Subject) -> Option<Arc<SubjectLimit>> {
        self.own.get(&subject).cloned()
    }

    pub(super) fn client(&self, id: ClientId) -> Arc<SubjectLimit> {
        let subject = Subject::Client(id);
        self.of(subject).unwrap_or_else(|| Arc::new(self.count(subject, self.every_client.as_ref())))
    }

    pub(super) fn member(&self, id: MemberId) -> Option<Arc<SubjectLimit>> {
        let subject = Subject::Member(id);
        let shared = || Some(Arc::new(self.count(subject, Some(self.every_member.as_ref()?))));
        self.of(subject).or_else(shared)
    }

    fn count(&self, subject: Subject, limit: Option<&v1::Limit>) -> SubjectLimit {
        subject_limit((self.id, subject), limit, (self.former.get(subject), self.left), self.now)
    }
}

/// What is limited one by one; `None`: nothing that a proxy knows.
fn subject(kind: LimitSubject, id: Uuid) -> Option<Subject> {
    Some(match kind {
        LimitSubject::Client => Subject::Client(Id::from_uuid(id)),
        LimitSubject::Tool => Subject::Tool(Id::from_uuid(id)),
        LimitSubject::Endpoint => Subject::Endpoint(Id::from_uuid(id)),
        LimitSubject::Member => Subject::Member(Id::from_uuid(id)),
        LimitSubject::Key => Subject::Key(Id::from_uuid(id)),
        LimitSubject::Tenant | LimitSubject::Unspecified => return None,
    })
}

/// The limits of the revision before.
struct Former<'a> {
    index: Option<&'a TenantIndex>,
    /// Of what the index does not find by its id.
    others: Map<Subject, &'a SubjectLimit>,
}

impl<'a> Former<'a> {
    fn of(index: Option<&'a TenantIndex>) -> Self {
        let others = index.into_iter().flat_map(TenantIndex::rare_limits);
        Self { index, others: others.map(|limit| (limit.subject, limit)).collect() }
    }

    fn get(&self, subject: Subject) -> Option<&'a SubjectLimit> {
        match subject {
            // There are many of them, and each has one.
            Subject::Client(id) => Some(&self.index?.clients.get(&id)?.limit),
            other => self.others.get(&other).copied(),
        }
    }
}

impl TenantIndex {
    /// Every limit.
    pub(super) fn limits(&self) -> impl Iterator<Item = &SubjectLimit> {
        self.clients.values().map(|client| &*client.limit).chain(self.rare_limits())
    }

    /// All but those of clients.
    fn rare_limits(&self) -> impl Iterator<Item = &SubjectLimit> {
        let tools = self.upstreams.values().flat_map(|upstream| upstream.tools.values());
        let tools = tools.filter_map(|tool| tool.limit.as_deref());
        let endpoints = self.endpoints.values().filter_map(|endpoint| endpoint.limit.as_deref());
        let members = self.members.values().filter_map(|member| member.limit.as_deref());
        let keys = self.keys.values().filter_map(|key| key.limit.as_deref());
        self.limit.as_deref().into_iter().chain(tools).chain(endpoints).chain(members).chain(keys)
    }
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
