use futures_util::FutureExt as _;
use limits::Rate;
use wire::v1::{self, resource::Body};

use super::*;
use crate::testing::{self, World};

/// 2026-11-27T00:00:00Z.
const TODAY: u64 = 20_784 * 86_400;

fn bound() -> BoundSession {
    BoundSession::none()
}

fn reserve(world: &World, cost: Cost<'_>, seconds: u64) -> Result<Reservation, Refusal> {
    let now = Now { nanos: seconds * 1_000_000_000, unix_seconds: TODAY + seconds };
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
fn requests_that_are_refused_later_have_an_end_too() {
    let world = limited(60, 1, 0);
    for _ in 0..5 {
        drop(reserve(&world, Cost::Request, 100).unwrap());
    }
    assert!(matches!(reserve(&world, Cost::Request, 100), Err(Refusal::RateLimited { .. })));
}

#[test]
fn leases_last_as_long_as_the_call() {
    let world = limited(600, 600, 1);
    let running = reserve(&world, Cost::Call(None), 100).unwrap().keep();
    let Err(Refusal::ConcurrencyLimited { limit, allowed, .. }) = reserve(&world, Cost::Request, 100) else {
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

#[test]
fn a_budget_closes_until_its_window_ends() {
    let world = World::with(|body| {
        if let Body::Limit(limit) = body {
            (limit.per_minute, limit.burst, limit.per_day, limit.per_month) = (600, 600, 3, 5);
        }
    });
    let day = 86_400;
    for _ in 0..3 {
        reserve(&world, Cost::Call(None), 100).unwrap().keep();
    }
    let Err(Refusal::BudgetExhausted { limit, window, allowed, remaining, retry_after, .. }) =
        reserve(&world, Cost::Call(None), day - 30)
    else {
        panic!("the fourth call of a day is over the budget")
    };
    assert_eq!((limit, window, allowed, remaining), (LimitName::Client, Window::Day, 3, 0));
    assert_eq!(retry_after.as_secs(), 30);
    assert!(reserve(&world, Cost::Request, 100).is_ok(), "only calls are budgeted");
    for _ in 0..2 {
        reserve(&world, Cost::Call(None), day).unwrap().keep();
    }
    let refused = reserve(&world, Cost::Call(None), day);
    assert!(matches!(refused, Err(Refusal::BudgetExhausted { window: Window::Month, .. })), "{refused:?}");
    assert!(reserve(&world, Cost::Call(None), 5 * day).is_ok(), "December");
}

#[test]
fn a_call_refused_later_does_not_use_the_budget() {
    let world = World::with(|body| {
        if let Body::Limit(limit) = body {
            (limit.per_minute, limit.burst, limit.per_day) = (600, 600, 1);
        }
    });
    for _ in 0..3 {
        drop(reserve(&world, Cost::Call(None), 100).unwrap());
    }
    reserve(&world, Cost::Call(None), 100).unwrap().keep();
    assert!(matches!(reserve(&world, Cost::Call(None), 100), Err(Refusal::BudgetExhausted { .. })));
}
