//! How much of the admin API a token, and all tokens of a tenant together, may use; and the headers that say so
//! (draft-ietf-httpapi-ratelimit-headers). Each replica counts for itself. Failed log-ins are counted by address, in
//! [`Core::may_authenticate`]. The kill switch has a bucket of its own for each token, so large that only a fault empties it.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::http::{HeaderMap, HeaderName, HeaderValue, request::Parts};
use ids::{TenantId, Uuid};
use limits::{Decision, Rate, gcra};
use parking_lot::Mutex;

use super::{ending::is_write, idempotency::is_of_kills, known::Whose, problem::ApiError};
use crate::{app::Core, audit::Actor, config::ApiLimits};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// Above so many buckets those that are full are forgotten: nobody can tell them from new ones.
const FORGET_ABOVE: usize = 10_000;

/// Whose bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Holder {
    Operator(Uuid),
    /// An admin token, or a member.
    Token(Uuid),
    /// A token's, of whomever, for kills.
    Kills(Uuid),
    Tenant(TenantId),
}

/// What a request is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Any,
    /// A kill or a lift.
    Kill,
}

impl Work {
    fn of(parts: &Parts) -> Self {
        if is_write(&parts.method) && is_of_kills(parts) { Self::Kill } else { Self::Any }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Take,
    Look,
}

/// The buckets: theoretical arrival times by holder.
#[derive(Debug)]
pub struct Quotas {
    limits: ApiLimits,
    buckets: Mutex<HashMap<Holder, u64>>,
}

/// Where one bucket is after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Level {
    name: &'static str,
    rate: Rate,
    remaining: u32,
    full_in: Duration,
}

/// Where a request's buckets are, once they are known: for the headers of its answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing(Arc<OnceLock<Vec<Level>>>);

impl Quotas {
    /// Full buckets.
    #[must_use]
    pub fn new(limits: ApiLimits) -> Self {
        Self { limits, buckets: Mutex::default() }
    }

    fn of(&self, (actor, tenant): (Actor, Option<TenantId>), of: Work) -> Vec<(&'static str, Holder, Rate)> {
        if of == Work::Kill {
            let id = match actor {
                Actor::Operator(id) => id,
                Actor::AdminToken(id) => id.uuid(),
                Actor::Member(id) => id.uuid(),
                Actor::Proxy(_) | Actor::Client(_) | Actor::Stranger | Actor::System => {
                    return Vec::new();
                }
            };
            return vec![("kills", Holder::Kills(id), self.limits.kills)];
        }
        let token = match actor {
            Actor::Operator(id) => ("operator", Holder::Operator(id), self.limits.operator),
            Actor::AdminToken(id) => ("token", Holder::Token(id.uuid()), self.limits.token),
            Actor::Member(id) => ("member", Holder::Token(id.uuid()), self.limits.token),
            Actor::Proxy(_) | Actor::Client(_) | Actor::Stranger | Actor::System => {
                return Vec::new();
            }
        };
        let tenant = tenant.map(|id| ("tenant", Holder::Tenant(id), self.limits.tenant));
        std::iter::once(token).chain(tenant).collect()
    }

    /// Takes one request from every bucket, or from none and says how long to wait. Where it only looks, it never takes.
    fn take(
        &self,
        who: (Actor, Option<TenantId>),
        of: Work,
        mode: Mode,
        now: u64,
    ) -> (Vec<Level>, Option<Duration>) {
        let wanted = self.of(who, of);
        let mut buckets = self.buckets.lock();
        if buckets.len() > FORGET_ABOVE {
            buckets.retain(|_, tat| *tat > now);
        }
        let decisions: Vec<_> = wanted
            .iter()
            .map(|(_, holder, rate)| gcra::decide(tat(&buckets, *holder), now, *rate, 1))
            .collect();
        let wait = decisions.iter().filter_map(|decision| match decision {
            Decision::Admit { .. } => None,
            Decision::Refuse { retry_after, .. } => Some(*retry_after),
        });
        let wait = wait.max();
        let levels = wanted.into_iter().zip(decisions).map(|((name, holder, rate), decision)| {
            let at = match decision {
                Decision::Admit { new_tat, .. } if wait.is_none() && mode == Mode::Take => {
                    buckets.insert(holder, new_tat);
                    new_tat
                }
                _ => tat(&buckets, holder),
            };
            let remaining = match gcra::decide(at, now, rate, 0) {
                Decision::Admit { remaining, .. } | Decision::Refuse { remaining, .. } => remaining,
            };
            Level { name, rate, remaining, full_in: Duration::from_nanos(at.saturating_sub(now)) }
        });
        (levels.collect(), wait)
    }
}

fn tat(buckets: &HashMap<Holder, u64>, holder: Holder) -> u64 {
    buckets.get(&holder).copied().unwrap_or(0)
}

/// Counts a request of a caller who is known now.
///
/// # Errors
/// [`ApiError::RateLimited`].
pub(super) fn count(
    core: &Core,
    parts: &Parts,
    actor: Actor,
    tenant: Option<TenantId>,
) -> Result<(), ApiError> {
    let now = core.clock.monotonic().nanos();
    let (levels, wait) = core.quotas.take((actor, tenant), Work::of(parts), Mode::Take, now);
    said(parts, levels, wait)
}

/// Refuses at once, before the database is asked anything, whose token has nothing left.
///
/// # Errors
/// [`ApiError::RateLimited`].
pub(super) fn look(core: &Core, parts: &Parts, whose: Whose) -> Result<(), ApiError> {
    let Some(who) = whose.counted() else { return Ok(()) };
    let now = core.clock.monotonic().nanos();
    match core.quotas.take(who, Work::of(parts), Mode::Look, now) {
        (_, None) => Ok(()),
        (levels, wait) => said(parts, levels, wait),
    }
}

fn said(parts: &Parts, levels: Vec<Level>, wait: Option<Duration>) -> Result<(), ApiError> {
    if let Some(Standing(place)) = parts.extensions.get() {
        // Each request is counted once.
        let _counted = place.set(levels);
    }
    wait.map_or(Ok(()), |retry_after| Err(ApiError::RateLimited { retry_after }))
}

impl Standing {
    /// Says it in the answer.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let Some(levels) = self.0.get() else { return };
        let join = |text: fn(&Level) -> String| {
            HeaderValue::try_from(levels.iter().map(text).collect::<Vec<_>>().join(", "))
        };
        if let (Ok(policy), Ok(limit)) = (join(Level::policy), join(Level::limit)) {
            headers.insert(RATE_LIMIT_POLICY, policy);
            headers.insert(RATE_LIMIT, limit);
        }
    }
}

impl Level {
    /// A burst, and the time in which as much flows back: that is the rate.
    fn policy(&self) -> String {
        let window = self.rate.fill_time().map_or(0, seconds);
        format!("\"{}\";q={};w={window}", self.name, self.rate.burst)
    }

    fn limit(&self) -> String {
        format!("\"{}\";r={};t={}", self.name, self.remaining, seconds(self.full_in))
    }
}

/// Rounded up, so that who waits exactly that long is not early.
fn seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use ids::AdminTokenId;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn quotas() -> Quotas {
        Quotas::new(ApiLimits {
            operator: Rate { per_minute: 60, burst: 4 },
            token: Rate { per_minute: 60, burst: 2 },
            tenant: Rate { per_minute: 60, burst: 3 },
            kills: Rate { per_minute: 60, burst: 1 },
            ..ApiLimits::default()
        })
    }

    #[test]
    fn a_token_and_its_tenant_are_counted_and_a_refusal_takes_nothing() {
        let (quotas, tenant) = (quotas(), Some(TenantId::from_parts(1, [0; 10])));
        let token = |n: u64| Actor::AdminToken(AdminTokenId::from_parts(n, [0; 10]));
        let take = |actor, at: u64| quotas.take((actor, tenant), Work::Any, Mode::Take, at * SECOND);
        assert_eq!((take(token(1), 10).1, take(token(1), 10).1), (None, None));
        assert_eq!(take(token(1), 10).1, Some(Duration::from_secs(1)), "the token's");
        assert_eq!(take(token(2), 10).1, None, "another token of the tenant");
        assert_eq!(take(token(3), 10).1, Some(Duration::from_secs(1)), "the tenant's");
        assert_eq!(take(token(3), 11).1, None);
        let operator = Actor::Operator(Uuid::from_u128(1));
        let as_operator = |of, mode| quotas.take((operator, None), of, mode, 10 * SECOND).1;
        assert_eq!(as_operator(Work::Any, Mode::Take), None, "operators have their own");
        // Kills are counted apart, an operator's too.
        let kill = |actor, mode| quotas.take((actor, tenant), Work::Kill, mode, 10 * SECOND).1;
        assert_eq!(
            (kill(token(1), Mode::Look), kill(token(1), Mode::Look)),
            (None, None),
            "looking takes nothing"
        );
        assert_eq!(kill(token(1), Mode::Take), None, "whatever else the token has used");
        for mode in [Mode::Look, Mode::Take] {
            assert_eq!(kill(token(1), mode), Some(Duration::from_secs(1)));
        }
        assert_eq!((kill(token(2), Mode::Take), as_operator(Work::Kill, Mode::Take)), (None, None));
        assert_eq!(as_operator(Work::Kill, Mode::Take), Some(Duration::from_secs(1)));
    }

    #[test]
    fn the_headers_are_structured_fields() {
        let quotas = quotas();
        let token = Actor::AdminToken(AdminTokenId::from_parts(1, [0; 10]));
        let (levels, _) =
            quotas.take((token, Some(TenantId::from_parts(1, [0; 10]))), Work::Any, Mode::Take, SECOND);
        let standing = Standing::default();
        standing.0.set(levels).unwrap();
        let mut headers = HeaderMap::new();
        standing.write(&mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"token\";q=2;w=2, \"tenant\";q=3;w=3");
        assert_eq!(headers["ratelimit"], "\"token\";r=1;t=1, \"tenant\";r=2;t=1");
    }
}
