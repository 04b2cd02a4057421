//! Several proxies, the counting part of each, and one bucket. Every admission is written down with the time before and after
//! it; no window may hold more than its bound, which is computed from what `limits::near` states.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use harness::{eventually, redis::patient_link};
use ids::TenantId;
use limits::{
    Rate,
    budget::Now,
    near::{Near, Terms},
};
use redis_link::{
    Keeper, Link,
    counters::{Counter, CounterKey, Counters, End, Subject, Together, together::Wanted},
};
use smallvec::smallvec;

pub(crate) const PROXIES: u32 = 4;
pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// A call each few milliseconds: more than any of the limits below admits.
pub(crate) const HOT: Duration = Duration::from_millis(3);
pub(crate) const LARGE: Rate = Rate { per_minute: 12_000, burst: 400 };
/// Under 20 units for each proxy.
pub(crate) const SMALL: Rate = Rate { per_minute: 79, burst: 79 };

/// The calls of a tenant.
pub(crate) const fn key(tenant: u128) -> CounterKey {
    let tenant = TenantId::from_uuid(uuid::Uuid::from_u128(tenant));
    CounterKey { tenant, subject: Subject::Tenant, counter: Counter::Calls }
}

pub(crate) const KEY: CounterKey = key(7);

#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    key: CounterKey,
    near: Arc<Near>,
    rate: Rate,
}

impl Wanted for Bucket {
    fn key(&self) -> CounterKey {
        self.key
    }
    fn end(&self) -> End<'_> {
        End::Rate(&self.near, self.rate)
    }
    fn units(&self) -> u32 {
        1
    }
}

/// The counting part of one proxy.
pub(crate) struct Proxy {
    pub(crate) together: Together<Bucket>,
    pub(crate) link: Link,
    pub(crate) bucket: Bucket,
    /// Nanoseconds its clock shows more than the others'; moved in the tests of clocks.
    pub(crate) ahead: Arc<AtomicU64>,
}

impl Proxy {
    pub(crate) async fn start((link, keeper): (Link, Keeper), rate: Rate, number: u32) -> Self {
        tokio::spawn(keeper.run());
        Self::on(link, rate, number).await
    }

    /// Where somebody keeps the link already.
    pub(crate) async fn on(link: Link, rate: Rate, number: u32) -> Self {
        let (together, mut later) = Together::new(Counters::new(link.clone()));
        together.set_proxies(PROXIES);
        let bucket = Bucket { key: KEY, near: Arc::default(), rate };
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

    /// One call of a tenant's: whether it is admitted, and if not whether the share decided.
    pub(crate) async fn call(&self, bucket: &Bucket) -> Result<(), bool> {
        let taken = self.together.take(smallvec![bucket.clone()], now(&self.ahead)).await;
        taken.map(drop).map_err(|refused| refused.by_share)
    }

    /// This proxy's end of another tenant's bucket.
    pub(crate) fn bucket_of(&self, tenant: u128) -> Bucket {
        Bucket { key: key(tenant), near: Arc::default(), rate: self.bucket.rate }
    }
}

/// A proxy's clock that does not step back.
pub(crate) fn now(ahead: &AtomicU64) -> Now {
    let nanos = BEGAN.elapsed().as_nanos() as u64 + ahead.load(Ordering::Relaxed);
    Now { nanos, unix_seconds: nanos / 1_000_000_000 }
}

/// As the times of a [`Log`].
pub(crate) fn since_began() -> u64 {
    BEGAN.elapsed().as_nanos() as u64
}

static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Admissions: the time before each and the time after, nanoseconds, and by which proxy.
pub(crate) type Log = Vec<(u64, u64, usize)>;

pub(crate) struct Fleet {
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) rate: Rate,
}

impl Fleet {
    /// Proxies for which Redis may take its time, as it does on a busy machine: in most tests that is not what fails.
    pub(crate) async fn start(url: &str, rate: Rate) -> Self {
        Self::over(|| patient_link(url), rate).await
    }

    pub(crate) async fn over(links: impl Fn() -> (Link, Keeper), rate: Rate) -> Self {
        let mut proxies = Vec::new();
        for number in 0..PROXIES {
            proxies.push(Proxy::start(links(), rate, number).await);
        }
        Self { proxies, rate }
    }

    /// Every proxy is called by three callers, each `pause` after its last answer, for `time`; meanwhile `happens`.
    pub(crate) async fn under_load(
        &self,
        pause: Duration,
        time: Duration,
        happens: impl Future<Output = ()>,
    ) -> Log {
        let over = Arc::new(AtomicBool::new(false));
        let callers: Vec<_> = self
            .proxies
            .iter()
            .enumerate()
            .flat_map(|proxy| [proxy; 3])
            .map(|(number, proxy)| {
                let (together, bucket) = (proxy.together.clone(), proxy.bucket.clone());
                let (ahead, over) = (Arc::clone(&proxy.ahead), Arc::clone(&over));
                tokio::spawn(async move {
                    let mut log = Log::new();
                    while !over.load(Ordering::Relaxed) {
                        let before = BEGAN.elapsed().as_nanos() as u64;
                        if together.take(smallvec![bucket.clone()], now(&ahead)).await.is_ok() {
                            log.push((before, BEGAN.elapsed().as_nanos() as u64, number));
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

    pub(crate) fn all_up(&self) -> bool {
        self.proxies.iter().all(|proxy| proxy.link.is_up())
    }

    pub(crate) fn held_at_most(&self) -> u32 {
        PROXIES * Terms { rate: self.rate.storable(), proxies: PROXIES }.most_held()
    }

    pub(crate) fn per_second(&self) -> f64 {
        f64::from(self.rate.per_minute) / 60.0
    }

    /// What `proxies` admit by share in so many seconds.
    pub(crate) fn shares(&self, proxies: u32, seconds: f64) -> f64 {
        let Rate { per_minute, burst } = self.rate.share(PROXIES);
        f64::from(proxies) * (f64::from(burst) + f64::from(per_minute) * seconds / 60.0 + 1.0)
    }

    /// What an outage that lasted `away` may let through in a window of so many seconds, beside what Redis counts.
    pub(crate) fn outage(&self, away: Duration, seconds: f64) -> f64 {
        let burst = f64::from(self.rate.burst);
        let refilled = burst.min(self.per_second() * away.as_secs_f64());
        // Shares are rounded up, and so is what flows back to them.
        let rounded = f64::from(PROXIES) * (seconds / 60.0 + 1.0);
        let whole = f64::from(PROXIES * self.rate.share(PROXIES).burst) + refilled + rounded;
        whole.min(self.shares(PROXIES, seconds))
    }

    /// Asserts that no window of `seconds` holds more than burst + rate · T, what leases hold, and `beside(seconds)`.
    pub(crate) fn keeps(&self, log: &Log, beside: impl Fn(f64) -> f64) {
        let burst = f64::from(self.rate.burst);
        assert!(log.len() as f64 > burst / 2.0, "{} admissions show nothing", log.len());
        let leases = f64::from(self.held_at_most());
        for (first, &(from, ..)) in log.iter().enumerate() {
            let mut until = from;
            for (place, &(_, after, _)) in log.iter().enumerate().skip(first) {
                until = until.max(after);
                let seconds = (until - from) as f64 / 1e9;
                let most = burst + self.per_second() * seconds + leases + beside(seconds) + 1.0;
                let units = (place - first + 1) as f64;
                assert!(units <= most, "{units} in {seconds} s, {most} allowed");
            }
        }
    }

    /// The longest time in which some proxy admitted nothing, while it was called.
    pub(crate) fn longest_pause(log: &Log) -> f64 {
        let of = |proxy| {
            let times: Vec<_> = log.iter().filter(|(.., by)| *by == proxy).map(|(at, ..)| *at).collect();
            times.windows(2).map(|two| two[1] - two[0]).max().unwrap_or(0)
        };
        (0..PROXIES as usize).map(of).max().unwrap_or(0) as f64 / 1e9
    }
}

pub(crate) async fn after(time: Duration) {
    tokio::time::sleep(time).await;
}
