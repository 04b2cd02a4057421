//! Histories: several proxies, one bucket, real Redis, and something that goes wrong (reliability.md §2).

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use harness::{
    eventually,
    redis::{Partition, Redis, link},
};
use limits::Rate;
use redis_link::redis::cmd;

use crate::counting::{Fleet, HOT, KEY, LARGE, Proxy, SECOND, SMALL, after};

#[tokio::test(flavor = "multi_thread")]
async fn healthy_a_small_limit_is_exact_and_a_large_one_within_its_leases() {
    let redis = Redis::start();
    let small = Fleet::start(&redis.url(), SMALL).await;
    let log = small.under_load(HOT, 3 * SECOND, async {}).await;
    assert_eq!(small.held_at_most(), 0);
    small.keeps(&log, |_| 0.0);
    let other = Redis::start();
    let large = Fleet::start(&other.url(), LARGE).await;
    let log = large.under_load(HOT, 3 * SECOND, async {}).await;
    large.keeps(&log, |_| 0.0);
    assert!(large.held_at_most() <= LARGE.burst / 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn forgotten_scripts_and_evicted_buckets_admit_nothing_more() {
    let redis = Redis::start();
    let fleet = Fleet::start(&redis.url(), LARGE).await;
    let link = fleet.proxies[0].link.clone();
    const LOSSES: u32 = 10;
    let happens = async {
        // By then the bucket is in use by all.
        after(SECOND / 2).await;
        for _ in 0..LOSSES {
            after(SECOND / 5).await;
            let _ = link.call::<()>(cmd("SCRIPT").arg("FLUSH")).await;
            let _ = link.call::<()>(cmd("DEL").arg(KEY.to_string())).await;
        }
    };
    let log = fleet.under_load(HOT, 3 * SECOND, happens).await;
    // What was lost is rebuilt from what the proxy that asks first knows of it: at most what flowed since it asked last.
    let each = fleet.per_second() * Fleet::longest_pause(&log) + 1.0;
    fleet.keeps(&log, |_| f64::from(LOSSES) * each);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_redis_costs_at_most_the_shares_and_what_flowed_meanwhile() {
    let redis = Redis::start();
    let fleet = Fleet::over(|| link(&redis.url()), LARGE).await;
    let mut away = Duration::ZERO;
    let happens = async {
        after(SECOND).await;
        let began = Instant::now();
        redis.pause();
        after(2 * SECOND).await;
        redis.go_on();
        eventually("everybody is back", async || fleet.all_up()).await;
        away = began.elapsed();
    };
    let log = fleet.under_load(HOT, 5 * SECOND, happens).await;
    fleet.keeps(&log, |seconds| fleet.outage(away, seconds));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_redis_has_lost_everything_and_costs_no_more_than_a_paused_one() {
    let mut redis = Redis::start();
    let fleet = Fleet::start(&redis.url(), LARGE).await;
    let mut away = Duration::ZERO;
    let happens = async {
        after(SECOND).await;
        let began = Instant::now();
        redis.stop();
        after(SECOND).await;
        redis.start_again();
        eventually("everybody is back", async || fleet.all_up()).await;
        away = began.elapsed();
    };
    let log = fleet.under_load(HOT, 5 * SECOND, happens).await;
    // What it lost the proxies know: it is an outage like any other.
    fleet.keeps(&log, |seconds| fleet.outage(away, seconds));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_cut_off_admits_its_share() {
    let redis = Redis::start();
    let mut fleet = Fleet::start(&redis.url(), LARGE).await;
    let partition = Partition::start(redis.port()).await;
    let url = redis.url().replace(&format!(":{}/", redis.port()), &format!(":{}/", partition.port()));
    fleet.proxies[0] = Proxy::start(link(&url), LARGE, 9).await;
    let happens = async {
        after(SECOND).await;
        partition.cut();
        after(2 * SECOND).await;
        assert!(!fleet.proxies[0].link.is_up() && fleet.proxies[1].link.is_up());
        partition.heal();
    };
    let log = fleet.under_load(HOT, 5 * SECOND, happens).await;
    // One share more: the others had the whole of the limit.
    fleet.keeps(&log, |seconds| fleet.shares(1, seconds));
    eventually("the proxy is back", async || fleet.proxies[0].link.is_up()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxys_clock_decides_nothing() {
    let redis = Redis::start();
    let fleet = Fleet::start(&redis.url(), LARGE).await;
    let happens = async {
        for _ in 0..5 {
            after(SECOND / 2).await;
            // As after a suspended machine: an hour has passed, for this proxy alone.
            fleet.proxies[1].ahead.fetch_add(3_600_000_000_000, Ordering::Relaxed);
        }
    };
    let log = fleet.under_load(HOT, 3 * SECOND, happens).await;
    fleet.keeps(&log, |_| 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_bucket_costs_a_twentieth_of_a_call_to_redis() {
    let redis = Redis::start();
    let rate = Rate { per_minute: 600_000, burst: 600_000 };
    let fleet = Fleet::start(&redis.url(), rate).await;
    let log = fleet.under_load(Duration::from_millis(1), 4 * SECOND, async {}).await;
    let calls: u64 = fleet.proxies.iter().map(|proxy| proxy.together.calls()).sum();
    let per_call = calls as f64 / log.len() as f64;
    println!("redis_calls_per_call_hot {per_call:.4}");
    assert!(per_call <= 0.05, "{calls} calls to Redis for {} admissions", log.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_away_every_call_under_the_share_passes() {
    let redis = Redis::start();
    let rate = Rate { per_minute: 6_000, burst: 100 };
    let fleet = Fleet::start(&redis.url(), rate).await;
    redis.stop();
    eventually("nobody has Redis", async || fleet.proxies.iter().all(|proxy| !proxy.link.is_up())).await;
    for _ in 0..100 {
        for proxy in &fleet.proxies {
            // 25 a second is each proxy's share of 100 a second.
            let taken = proxy.call(&proxy.bucket).await;
            assert!(taken.is_ok(), "{taken:?}");
        }
        after(SECOND / 25).await;
    }
    let mut refused = None;
    for _ in 0..200 {
        let proxy = &fleet.proxies[0];
        refused = refused.or(proxy.call(&proxy.bucket).await.err());
    }
    assert_eq!(refused, Some(true), "by share");
}
