use futures_util::FutureExt as _;
use limits::Rate;
use wire::v1::{self, resource::Body};

use super::*;
use crate::testing::{self, World};

fn bound() -> BoundSession {
    BoundSession::none()
}

fn reserve(world: &World, cost: Cost<'_>, seconds: u64) -> Result<Reservation, Refusal> {
    let now = Monotonic::from_nanos(seconds * 1_000_000_000);
    let (limiter, place, principal) = (Limiter::alone(), world.place(), world.principal());
    check(&limiter, &place, &principal, &bound(), cost, now).now_or_never().expect("nobody is asked")
}

fn limited(per_minute: u32, burst: u32, concurrency: u32) -> World {
    World::with(|body| {
        if let Body::Limit(limit) = body {
            (limit.per_minute, limit.burst, limit.concurrency) = (per_minute, burst, concurrency);
        }
    })
}

#[test]
fn calls_and_other_requests_have_separate_buckets() {
    let world = limited(60, 2, 0);
    let mut kept = Vec::new();
    for _ in 0..2 {
        kept.push(reserve(&world, Cost::Call(None), 100).unwrap().keep());
    }
    let Err(Refusal::RateLimited { limit, per_minute, remaining, retry_after, .. }) =
        reserve(&world, Cost::Call(None), 100)
    else {
        panic!("the third call is over the burst")
    };
    assert_eq!((limit, per_minute, remaining), (LimitName::Client, 60, 0));
    assert_eq!(retry_after.as_secs(), 1);
    for _ in 0..10 {
        reserve(&world, Cost::Request, 100).unwrap().keep();
    }
    let refused = reserve(&world, Cost::Request, 100);
    assert!(matches!(refused, Err(Refusal::RateLimited { limit: LimitName::ClientProtocol, .. })));
    assert!(reserve(&world, Cost::Call(None), 101).is_ok());
}

#[test]
fn a_call_costs_its_tools_weight() {
    let mut world = limited(60, 5, 0);
    world.edit(|body| {
        if let Some(tool) = testing::tool(body) {
            tool.cost = 5;
        }
    });
    let tenant = world.tenant();
    let tool = tenant.upstreams.values().next().unwrap().tools.values().next().unwrap();
    reserve(&world, Cost::Call(Some(tool)), 100).unwrap().keep();
    assert!(reserve(&world, Cost::Call(Some(tool)), 104).is_err());
    assert!(reserve(&world, Cost::Call(Some(tool)), 105).is_ok());
}

#[test]
fn what_is_refused_later_is_given_back_and_charged_as_a_request() {
    let world = limited(60, 1, 0);
    // Five probes use the requests up, the sixth keeps what it took.
    for _ in 0..6 {
        drop(reserve(&world, Cost::Call(None), 100).unwrap());
    }
    assert!(matches!(reserve(&world, Cost::Call(None), 100), Err(Refusal::RateLimited { .. })));
    assert!(matches!(reserve(&world, Cost::Request, 100), Err(Refusal::RateLimited { .. })));
}

#[test]
fn leases_last_as_long_as_the_call() {
    let world = limited(600, 600, 1);
    let running = reserve(&world, Cost::Call(None), 100).unwrap().keep();
    let Err(Refusal::ConcurrencyLimited { limit, allowed }) = reserve(&world, Cost::Request, 100) else {
        panic!("one is running")
    };
    assert_eq!((limit, allowed), (LimitName::Client, 1));
    assert!(reserve(&world, Cost::Message, 100).is_ok(), "an answer to the server must get through");
    drop(running);
    assert!(reserve(&world, Cost::Call(None), 100).is_ok());
}

#[test]
fn all_or_nothing_across_tenant_and_client() {
    let mut world = limited(600, 600, 0);
    world.limit(v1::LimitSubject::Tenant, 60, 1);
    reserve(&world, Cost::Call(None), 100).unwrap().keep();
    let before =
        world.principal().client().limit.buckets.calls.peek(100_000_000_000, Rate::per_minute(600), 0);
    let refused = reserve(&world, Cost::Call(None), 100);
    assert!(matches!(refused, Err(Refusal::RateLimited { limit: LimitName::Tenant, .. })));
    let after =
        world.principal().client().limit.buckets.calls.peek(100_000_000_000, Rate::per_minute(600), 0);
    assert_eq!(before, after);
}

#[test]
fn a_rate_of_zero_refuses_for_ever() {
    let world = limited(0, 1, 0);
    let Err(Refusal::RateLimited { retry_after, .. }) = reserve(&world, Cost::Call(None), 100) else {
        panic!("zero admits nothing")
    };
    assert_eq!(retry_after, limits::NEVER);
}
