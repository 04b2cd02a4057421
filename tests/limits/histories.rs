//! Histories: several proxies, one bucket, real Redis, and something that goes wrong. Every admission is written down with
//! the time before and after it; no window may hold more than its bound (reliability.md §2).

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use harness::{
    eventually,
    redis::{Partition, Redis, link, patient_link},
};
use ids::TenantId;
use limits::{
    Rate,
    budget::Now,
    near::{Near, Terms},
};
use redis_link::{
    Keeper, Link,
    counters::{Counter, CounterKey, Counters, End, Subject, Together, together::Wanted},
    redis::cmd,
};
use smallvec::smallvec;

const PROXIES: u32 = 4;
const KEY: CounterKey = CounterKey {
    tenant: TenantId::from_uuid(uuid::Uuid::from_u128(7)),
    subject: Subject::Tenant,
    counter: Counter::Calls,
};

#[derive(Debug, Clone)]
struct Bucket {
    near: Arc<Near>,
    rate: Rate,
}

impl Wanted for Bucket {
    fn key(&self) -> CounterKey {
        KEY
    }
    fn end(&self) -> End<'_> {
        End::Rate(&self.near, self.rate)
    }
    fn units(&self) -> u32 {
        1
    }
}

/// The counting part of one proxy.
struct Proxy {
    together: Together<Bucket>,
    link: Link,
    bucket: Bucket,
    /// Nanoseconds its clock shows more than the others'; moved in the tests of clocks.
    ahead: Arc<AtomicU64>,
}

impl Proxy {
    async fn start((link, keeper): (Link, Keeper), rate: Rate, number: u32) -> Self {
        tokio::spawn(keeper.run());
        let (together, mut later) = Together::new(Counters::new(link.clone()));
        together.set_proxies(PROXIES);
        let bucket = Bucket { near: Arc::default(), rate };
        let ahead = Arc::new(AtomicU64::new(u64::from(number) * 1_000_000_000_000));
        let (does, clock) = (together.clone(), Arc::clone(&ahead));
        tokio::spawn(async move {
            while let Some(work) = later.recv().await {
                does.do_later(work, now(&clock)).await;
            }
        });
        eventually("the link is up", async || link.is_up()).await;
        Self { together, link, bucket, ahead }
    }
}

/// A proxy's clock that does not step back.
fn now(ahead: &AtomicU64) -> Now {
    let nanos = BEGAN.elapsed().as_nanos() as u64 + ahead.load(Ordering::Relaxed);
    Now { nanos, unix_seconds: nanos / 1_000_000_000 }
}

static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Admissions: the time before each and the time after, nanoseconds.
type Log = Vec<(u64, u64)>;

struct Fleet {
    proxies: Vec<Proxy>,
    rate: Rate,
}

impl Fleet {
    /// Proxies for which Redis may take its time, as it does on a busy machine: in most tests that is not what fails.
    async fn start(url: &str, rate: Rate) -> Self {
        Self::over(|| patient_link(url), rate).await
    }

    async fn over(links: impl Fn() -> (Link, Keeper), rate: Rate) -> Self {
        let mut proxies = Vec::new();
        for number in 0..PROXIES {
            proxies.push(Proxy::start(links(), rate, number).await);
        }
        Self { proxies, rate }
    }

    /// Every proxy is called by three callers, each `pause` after its last answer, for `time`; meanwhile `happens`.
    async fn under_load(&self, pause: Duration, time: Duration, happens: impl Future<Output = ()>) -> Log {
        let over = Arc::new(AtomicBool::new(false));
        let callers: Vec<_> = self
            .proxies
            .iter()
            .flat_map(|proxy| [proxy; 3])
            .map(|proxy| {
                let (together, bucket) = (proxy.together.clone(), proxy.bucket.clone());
                let (ahead, over) = (Arc::clone(&proxy.ahead), Arc::clone(&over));
                tokio::spawn(async move {
                    let mut log = Log::new();
                    while !over.load(Ordering::Relaxed) {
                        let before = BEGAN.elapsed().as_nanos() as u64;
                        if together.take(smallvec![bucket.clone()], now(&ahead)).await.is_ok() {
                            log.push((before, BEGAN.elapsed().as_nanos() as u64));
                        }
                        tokio::time::sleep(pause).await;
                    }
                    log
                })
            })
            .collect();
        tokio::join!(happens, tokio::time::sleep(time));
        over.store(true, Ordering::Relaxed);
        let mut log = Log::new();
        for caller in callers {
            log.extend(caller.await.unwrap());
        }
        log.sort_unstable();
        log
    }

    fn held_at_most(&self) -> u32 {
        PROXIES * Terms { rate: self.rate.storable(), proxies: PROXIES }.most_held()
    }

    /// Asserts that no window holds more than `times` (burst + rate · T) + `extra`.
    fn keeps(&self, log: &Log, times: f64, extra: u32) {
        let Rate { per_minute, burst } = self.rate;
        assert!(log.len() > burst as usize / 2, "{} admissions show nothing", log.len());
        for (first, &(from, _)) in log.iter().enumerate() {
            let mut until = from;
            for (place, &(_, after)) in log.iter().enumerate().skip(first) {
                until = until.max(after);
                let flowed = f64::from(per_minute) * (until - from) as f64 / 60e9;
                let most = times * (f64::from(burst) + flowed) + f64::from(extra) + 1.0;
                let units = (place - first + 1) as f64;
                assert!(units <= most, "{units} in {} ms, {most} allowed", (until - from) / 1_000_000);
            }
        }
    }
}

async fn after(time: Duration) {
    tokio::time::sleep(time).await;
}

const SECOND: Duration = Duration::from_secs(1);
/// A call each few milliseconds: more than any of the limits below admits.
const HOT: Duration = Duration::from_millis(3);
const LARGE: Rate = Rate { per_minute: 12_000, burst: 400 };
/// Under 20 units for each proxy.
const SMALL: Rate = Rate { per_minute: 79, burst: 79 };

#[tokio::test(flavor = "multi_thread")]
async fn healthy_a_small_limit_is_exact_and_a_large_one_within_its_leases() {
    let redis = Redis::start();
    let small = Fleet::start(&redis.url(), SMALL).await;
    let log = small.under_load(HOT, 3 * SECOND, async {}).await;
    small.keeps(&log, 1.0, 0);
    let other = Redis::start();
    let large = Fleet::start(&other.url(), LARGE).await;
    let log = large.under_load(HOT, 3 * SECOND, async {}).await;
    large.keeps(&log, 1.0, large.held_at_most());
    assert!(large.held_at_most() <= LARGE.burst / 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn forgotten_scripts_and_evicted_buckets_admit_nothing_more() {
    let redis = Redis::start();
    let fleet = Fleet::start(&redis.url(), LARGE).await;
    let link = fleet.proxies[0].link.clone();
    let happens = async {
        for _ in 0..10 {
            after(SECOND / 5).await;
            let _ = link.call::<()>(cmd("SCRIPT").arg("FLUSH")).await;
            let _ = link.call::<()>(cmd("DEL").arg(KEY.to_string())).await;
        }
    };
    let log = fleet.under_load(HOT, 3 * SECOND, happens).await;
    // What was lost is rebuilt from what the proxy that asks first knows of it, which is at most a lease old.
    fleet.keeps(&log, 1.0, 11 * fleet.held_at_most());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_redis_costs_at_most_the_shares() {
    let redis = Redis::start();
    let fleet = Fleet::over(|| link(&redis.url()), LARGE).await;
    let happens = async {
        after(SECOND).await;
        redis.pause();
        after(2 * SECOND).await;
        redis.go_on();
    };
    let log = fleet.under_load(HOT, 5 * SECOND, happens).await;
    fleet.keeps(&log, 2.0, fleet.held_at_most() + PROXIES);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_redis_has_lost_everything_and_still_admits_no_third_burst() {
    let mut redis = Redis::start();
    let fleet = Fleet::start(&redis.url(), LARGE).await;
    let happens = async {
        after(SECOND).await;
        redis.stop();
        after(SECOND).await;
        redis.start_again();
    };
    let log = fleet.under_load(HOT, 5 * SECOND, happens).await;
    fleet.keeps(&log, 2.0, fleet.held_at_most() + PROXIES);
    assert!(fleet.proxies.iter().all(|proxy| proxy.link.is_up()), "everybody is back");
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
    fleet.keeps(&log, 1.0 + 1.0 / f64::from(PROXIES), fleet.held_at_most() + 1);
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
    fleet.keeps(&log, 1.0, fleet.held_at_most());
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
            let taken = proxy.together.take(smallvec![proxy.bucket.clone()], now(&proxy.ahead)).await;
            assert!(taken.is_ok(), "{taken:?}");
        }
        after(SECOND / 25).await;
    }
    let mut refused = None;
    for _ in 0..200 {
        let proxy = &fleet.proxies[0];
        refused =
            refused.or(proxy.together.take(smallvec![proxy.bucket.clone()], now(&proxy.ahead)).await.err());
    }
    assert!(refused.is_some_and(|refused| refused.by_share), "{refused:?}");
}
