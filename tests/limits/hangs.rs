//! A Redis that hangs: what is asked is answered all the same, within the budget, and then at once.

use std::sync::{Arc, atomic::AtomicU32};

use harness::{
    eventually,
    redis::{Redis, link},
};
use redis_link::{
    BUDGET,
    counters::{Counters, Running},
};
use smallvec::smallvec;

use crate::{
    counting::{Fleet, PROXIES, SMALL, now},
    permits::Limit,
};

/// Timers of one runtime fire in their order, however late: what is answered within its budget is answered before this.
async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        answer = work => answer,
        () = tokio::time::sleep(10 * BUDGET) => panic!("a call waited for a Redis that hangs"),
    }
}

#[tokio::test]
async fn nobody_waits_for_a_redis_that_hangs_longer_than_the_budget() {
    let redis = Redis::start();
    let fleet = Fleet::over(|| link(&redis.url()), SMALL).await;
    for proxy in &fleet.proxies {
        // Every take of a limit so small is a call to Redis.
        let counted = async || {
            let before = proxy.together.calls();
            proxy.call(&proxy.bucket).await.is_ok() && proxy.link.is_up() && proxy.together.calls() > before
        };
        eventually("it is counted together", counted).await;
    }
    redis.pause();
    for proxy in &fleet.proxies {
        let before = proxy.together.calls();
        let mut answers = Vec::new();
        for _ in 0..50 {
            answers.push(in_time(proxy.call(&proxy.bucket)).await);
        }
        assert!(proxy.together.calls() - before <= 2, "more than the first calls waited");
        assert!(!proxy.link.is_up());
        let passed = answers.iter().filter(|answer| answer.is_ok()).count();
        let share = SMALL.share(PROXIES).burst as usize;
        assert!((1..=share + 1).contains(&passed), "{passed} passed a share of {share}");
        assert_eq!(answers.last(), Some(&Err(true)), "refused by share");
    }
    redis.go_on();
    eventually("everybody is back", async || fleet.all_up()).await;
}

#[tokio::test]
async fn nor_does_who_starts_a_call() {
    let redis = Redis::start();
    let (link, keeper) = link(&redis.url());
    tokio::spawn(keeper.run());
    let counters = Counters::new(link.clone());
    let (running, _settled) = Running::new(counters, Arc::new(AtomicU32::new(PROXIES)), 1);
    let limit = Limit { permits: Arc::default(), max: 10 };
    let nanos = || now(&Default::default()).nanos + 1;
    let mut started = Vec::new();
    eventually("a call is counted together", async || {
        let before = running.calls();
        started.extend(running.start(smallvec![limit.clone()], nanos()).await);
        running.calls() > before && link.is_up()
    })
    .await;
    started.clear();
    redis.pause();
    let mut refused = None;
    for _ in 0..10 {
        match in_time(running.start(smallvec![limit.clone()], nanos())).await {
            Ok(permits) => started.push(permits),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    // Its share is three; a permit that was held before is one of them.
    assert_eq!(started.len(), 3);
    assert!(refused.is_some_and(|refused| refused.by_share), "{refused:?}");
}
