//! What runs at once, over several proxies: the script is the model, and no history lets more run than is stated in
//! `limits::running`.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use harness::{
    eventually,
    redis::{Redis, link, patient_link},
};
use ids::{ClientId, TenantId};
use limits::running::{Ask, Holding, Permits, Pool, hold};
use proptest::{prelude::*, test_runner::TestRunner};
use redis_link::{
    Keeper, Link,
    counters::{
        Counters, PermitsKey, Running, Subject,
        running::{Permit, Runs, SETTLED_EVERY},
    },
    redis::cmd,
};
use smallvec::smallvec;

fn key(number: u8) -> PermitsKey {
    let subject = Subject::Client(ClientId::from_parts(1, [number; 10]));
    PermitsKey { tenant: TenantId::from_parts(1, [9; 10]), subject }
}

async fn stored(link: &Link, key: PermitsKey) -> Pool {
    let all: HashMap<String, String> = link.call(cmd("HGETALL").arg(key)).await.unwrap();
    let mut pool = Pool::default();
    for (name, value) in all {
        let number = |place: usize| value.split(' ').nth(place).unwrap().parse::<u64>().unwrap();
        match name.as_str() {
            "short" => pool.short = true,
            "lost" => pool.lost = Some((number(0) as u32, number(1))),
            _ => {
                let holding = Holding { units: number(0) as u32, until: number(1), turn: number(2) };
                pool.holders.insert(u64::from_str_radix(&name, 16).unwrap(), holding);
            }
        }
    }
    pool
}

/// Puts a pool as a clock that has moved would show it.
async fn moved(link: &Link, key: PermitsKey, by: i64) {
    let pool = stored(link, key).await;
    for (holder, Holding { units, until, turn }) in pool.holders {
        let value = format!("{units} {} {turn}", until.saturating_add_signed(by));
        link.call::<()>(cmd("HSET").arg(key).arg(format!("{holder:016x}")).arg(value)).await.unwrap();
    }
    if let Some((units, until)) = pool.lost {
        let value = format!("{units} {} 0", until.saturating_add_signed(by));
        link.call::<()>(cmd("HSET").arg(key).arg("lost").arg(value)).await.unwrap();
    }
}

#[derive(Debug, Clone)]
struct Turn {
    holder: u64,
    asks: [Option<Ask>; 2],
    event: u8,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let ask = (1u32..40, 0u32..12, 0u32..6, 0u32..9, 0u64..30, prop::option::of(0u32..30));
    let ask = ask.prop_map(|(max, running, claimed, extra, turn, least)| Ask {
        max,
        running,
        claimed,
        extra,
        turn,
        least,
    });
    let asks = (prop::option::weighted(0.9, ask.clone()), prop::option::weighted(0.5, ask));
    let turn = (1u64..4, asks, 0u8..24);
    let turn =
        turn.prop_map(|(holder, (first, second), event)| Turn { holder, asks: [first, second], event });
    prop::collection::vec(turn, 1..40)
}

/// Plays a history; before each turn the model starts from what the store holds, so that a difference is where it arises.
async fn play(link: &Link, counters: &Counters, turns: Vec<Turn>) {
    link.call::<()>(&cmd("FLUSHALL")).await.unwrap();
    for Turn { holder, asks, event } in turns {
        match event {
            0 => link.call::<()>(cmd("DEL").arg(key(0))).await.unwrap(),
            1 => moved(link, key(0), 7_000_000).await,
            // Everything in it is over.
            2 => moved(link, key(0), -11_000_000).await,
            _ => {}
        }
        let wanted: Vec<_> =
            [0, 1].into_iter().zip(asks).filter_map(|(place, ask)| Some((key(place), ask?))).collect();
        if wanted.is_empty() {
            continue;
        }
        let mut pools = Vec::new();
        for (key, _) in &wanted {
            pools.push(stored(link, *key).await);
        }
        let answer = counters.hold(holder, &wanted).await.unwrap();
        let after = stored(link, wanted[0].0).await;
        // The time is not ours to choose, but what it wrote says which it was.
        let micros = after.holders[&holder].until - 10_000_000;
        let asks: Vec<_> = wanted.iter().map(|(_, ask)| *ask).collect();
        let (result, readings) = hold(&asks, &mut pools, holder, micros);
        assert_eq!(answer.refused, result.err(), "{asks:?}");
        assert_eq!(answer.readings.as_slice(), readings.as_slice(), "{asks:?}");
        for ((key, _), model) in wanted.iter().zip(pools) {
            assert_eq!(stored(link, *key).await, model, "{asks:?}");
            let life: u64 = link.call(cmd("PTTL").arg(key)).await.unwrap();
            assert!((1..=11_000).contains(&life), "{life}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_is_the_model() {
    let redis = Redis::start();
    let (link, keeper) = patient_link(&redis.url());
    tokio::spawn(keeper.run());
    eventually("the link is up", async || link.is_up()).await;
    let counters = Counters::new(link.clone());
    let handle = tokio::runtime::Handle::current();
    let run = move || {
        let mut runner = TestRunner::new(ProptestConfig { cases: 150, ..ProptestConfig::default() });
        runner.run(&turns(), |turns| {
            handle.block_on(play(&link, &counters, turns));
            Ok(())
        })
    };
    tokio::task::spawn_blocking(run).await.unwrap().unwrap();
}

const PROXIES: u32 = 4;
const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
pub(crate) struct Limit {
    pub(crate) permits: Arc<Permits>,
    pub(crate) max: u32,
}

impl Runs for Limit {
    fn key(&self) -> PermitsKey {
        key(7)
    }
    fn permits(&self) -> &Permits {
        &self.permits
    }
    fn max(&self) -> u32 {
        self.max
    }
}

/// What one proxy has of it.
struct Proxy {
    running: Running<Limit>,
    link: Link,
    limit: Limit,
    began: Instant,
    settling: tokio::task::JoinHandle<()>,
}

impl Proxy {
    async fn start((link, keeper): (Link, Keeper), max: u32, number: u64) -> Self {
        tokio::spawn(keeper.run());
        let counters = Counters::new(link.clone());
        let (running, mut settled) = Running::new(counters, Arc::new(AtomicU32::new(PROXIES)), number);
        let (does, began) = (running.clone(), Instant::now());
        let settling = tokio::spawn(async move {
            let now = || began.elapsed().as_nanos() as u64 + 1;
            let mut every = tokio::time::interval(SETTLED_EVERY);
            loop {
                tokio::select! {
                    Some(limit) = settled.recv() => does.settle_soon(limit, now()).await,
                    _ = every.tick() => does.settle_all(now()).await,
                }
            }
        });
        eventually("the link is up", async || link.is_up()).await;
        let limit = Limit { permits: Arc::default(), max };
        Self { running, link, limit, began, settling }
    }

    async fn call(&self) -> Option<Permit<Limit>> {
        let now = self.began.elapsed().as_nanos() as u64 + 1;
        let mut permits = self.running.start(smallvec![self.limit.clone()], now).await.ok()?;
        permits.pop()
    }
}

async fn fleet(links: impl Fn() -> (Link, Keeper), max: u32) -> Vec<Arc<Proxy>> {
    let mut proxies = Vec::new();
    for number in 0..PROXIES {
        proxies.push(Arc::new(Proxy::start(links(), max, u64::from(number) + 1).await));
    }
    proxies
}

/// What was seen.
#[derive(Debug, Clone, Copy)]
struct Seen {
    most: u32,
    started: u32,
}

/// Every proxy is called by so many callers, whose calls take some milliseconds, for `time`; meanwhile `happens`.
async fn under_load(
    proxies: &[Arc<Proxy>],
    callers: u32,
    time: Duration,
    happens: impl Future<Output = ()>,
) -> Seen {
    let over = Arc::new(AtomicBool::new(false));
    let (running, most, started) =
        (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let tasks: Vec<_> = (0..callers)
        .flat_map(|_| proxies)
        .enumerate()
        .map(|(number, proxy)| {
            let proxy = Arc::clone(proxy);
            let (over, running, most, started) =
                (Arc::clone(&over), Arc::clone(&running), Arc::clone(&most), Arc::clone(&started));
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    if let Some(permit) = proxy.call().await {
                        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        started.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(2 + number as u64 % 7)).await;
                        running.fetch_sub(1, Ordering::SeqCst);
                        drop(permit);
                    }
                    tokio::time::sleep(Duration::from_millis(1 + number as u64 % 3)).await;
                }
            })
        })
        .collect();
    tokio::join!(happens, tokio::time::sleep(time));
    over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    let seen = Seen { most: most.load(Ordering::SeqCst), started: started.load(Ordering::Relaxed) };
    assert!(seen.started > 200, "{seen:?} shows nothing");
    seen
}

const MAX: u32 = 10;
const SHARE: u32 = MAX.div_ceil(PROXIES);

#[tokio::test(flavor = "multi_thread")]
async fn as_many_run_under_load_as_the_limit_says_and_no_more() {
    let redis = Redis::start();
    let proxies = fleet(|| patient_link(&redis.url()), MAX).await;
    let seen = under_load(&proxies, 5, 3 * SECOND, async {}).await;
    assert_eq!(seen.most, MAX, "{seen:?}");
    // Afterwards any proxy can have all of it.
    let all = async || {
        let mut running = Vec::new();
        for _ in 0..MAX {
            running.extend(proxies[2].call().await);
        }
        running.len() == MAX as usize
    };
    eventually("the others' permits went back", all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_within_what_is_held_ask_nobody() {
    let redis = Redis::start();
    let proxies = fleet(|| patient_link(&redis.url()), 400).await;
    let seen = under_load(&proxies, 5, 3 * SECOND, async {}).await;
    let calls: u64 = proxies.iter().map(|proxy| proxy.running.calls()).sum();
    let per_call = calls as f64 / f64::from(seen.started);
    println!("redis_calls_per_concurrent_call {per_call:.4}");
    assert!(per_call < 0.05, "{calls} calls to Redis for {seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn forgotten_scripts_and_evicted_pools_cost_at_most_the_limit_again() {
    let redis = Redis::start();
    let proxies = fleet(|| patient_link(&redis.url()), MAX).await;
    let link = &proxies[0].link;
    let happens = async {
        for _ in 0..8 {
            tokio::time::sleep(SECOND / 4).await;
            let _ = link.call::<()>(cmd("SCRIPT").arg("FLUSH")).await;
            let _ = link.call::<()>(cmd("DEL").arg(key(7))).await;
        }
    };
    let seen = under_load(&proxies, 5, 3 * SECOND, happens).await;
    assert!(seen.most <= 2 * MAX, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_redis_leaves_what_ran_and_the_shares() {
    let redis = Redis::start();
    let proxies = fleet(|| link(&redis.url()), MAX).await;
    let happens = async {
        tokio::time::sleep(SECOND).await;
        redis.pause();
        tokio::time::sleep(2 * SECOND).await;
        redis.go_on();
    };
    let seen = under_load(&proxies, 5, 5 * SECOND, happens).await;
    assert!(seen.most <= MAX + (PROXIES - 1) * SHARE, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_redis_is_told_what_runs() {
    let mut redis = Redis::start();
    let proxies = fleet(|| patient_link(&redis.url()), MAX).await;
    // These run all the while.
    let mut long = Vec::new();
    for proxy in &proxies {
        long.push(proxy.call().await.unwrap());
    }
    let happens = async {
        tokio::time::sleep(SECOND).await;
        redis.stop();
        tokio::time::sleep(SECOND).await;
        redis.start_again();
    };
    let seen = under_load(&proxies, 5, 5 * SECOND, happens).await;
    assert!(seen.most <= 2 * MAX + (PROXIES - 1) * SHARE, "{seen:?}");
    // It knows of the four again, though nobody started a call since.
    let told =
        async || stored(&proxies[0].link, key(7)).await.holders.values().map(|held| held.units).sum::<u32>();
    eventually("the store knows what runs", async || told().await == PROXIES).await;
    // What was feared lost besides is forgotten within a lease; then all the rest can run, and nothing beyond it.
    let mut more = Vec::new();
    let patience = Instant::now() + 2 * limits::running::LEASE;
    while (more.len() as u32) < MAX - PROXIES && Instant::now() < patience {
        more.extend(proxies[1].call().await);
        tokio::time::sleep(SECOND / 20).await;
    }
    assert_eq!(more.len() as u32, MAX - PROXIES);
    for proxy in &proxies {
        assert!(proxy.call().await.is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_away_each_proxy_runs_its_share() {
    let redis = Redis::start();
    let proxies = fleet(|| patient_link(&redis.url()), MAX).await;
    redis.stop();
    eventually("nobody has Redis", async || proxies.iter().all(|proxy| !proxy.link.is_up())).await;
    let mut running = Vec::new();
    for proxy in &proxies {
        for _ in 0..MAX {
            running.extend(proxy.call().await);
        }
    }
    assert_eq!(running.len() as u32, PROXIES * SHARE);
    running.clear();
    assert!(proxies[0].call().await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_proxy_held_comes_back() {
    let redis = Redis::start();
    let proxies = fleet(|| patient_link(&redis.url()), MAX).await;
    let mut running = Vec::new();
    for _ in 0..MAX {
        running.push(proxies[0].call().await.unwrap());
    }
    assert!(proxies[1].call().await.is_none());
    // It dies: nobody renews what it holds.
    proxies[0].settling.abort();
    let died = Instant::now();
    eventually("its permits are back", async || {
        tokio::time::sleep(SECOND / 4).await;
        proxies[1].call().await.is_some()
    })
    .await;
    // Until then nobody had them twice. It had renewed at most a third of a lease before.
    assert!(died.elapsed() > limits::running::LEASE / 2, "{:?}", died.elapsed());
}
