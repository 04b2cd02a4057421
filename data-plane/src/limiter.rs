//! Counting: in this process where there is no Redis, together with the other proxies where there is one.

mod alive;

use std::{borrow::Borrow, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture};
use limits::{
    Bucket, Rate,
    budget::{Budget, NearBudget, Now, Window},
    running::Permits,
};
use redis_link::{
    Link,
    counters::{Counter, CounterKey, Counters, End, PermitsKey, Running, Together, running, together},
};
use seams::{Clock, Entropy, Monotonic, Timestamp};
use smallvec::SmallVec;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

pub(crate) use self::alive::Told;
use crate::{snapshot::index::SubjectLimit, tasks::Tasks};

/// Calls to the store that no call waits for, at once.
const LATER_AT_ONCE: usize = 256;

/// Counts calls.
#[derive(Debug)]
pub(crate) struct Limiter {
    fleet: Option<Fleet>,
}

/// This proxy's part in counting together.
#[derive(Debug)]
struct Fleet {
    together: Together<Wanted>,
    running: Running<Concurrent>,
}

/// One of a subject's limits of how many calls run at once.
#[derive(Debug, Clone)]
pub(crate) struct Concurrent(pub(crate) Arc<SubjectLimit>);

/// What runs, by each of its limits. Ends when dropped.
pub(crate) type Leases = running::List<Concurrent>;

/// One of a subject's counters, held as long as something taken from it may be given back.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) limit: Arc<SubjectLimit>,
    pub(crate) counter: Counter,
    pub(crate) units: u32,
}

/// Who counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// This proxy for itself, because no Redis is configured.
    Here,
    /// All proxies together.
    Together,
    /// This proxy its share of the limit, because Redis is away.
    Share,
}

impl Counted {
    /// As told to the caller.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Here => "by_proxy",
            Self::Together => "together",
            Self::Share => "by_share",
        }
    }
}

/// A refusal by one of the buckets.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Which of those wanted.
    pub(crate) index: usize,
    pub(crate) retry_after: Duration,
    pub(crate) remaining: u32,
    pub(crate) counted: Counted,
}

/// What was taken. Dropping it keeps it taken.
#[derive(Debug)]
pub(crate) enum Taken {
    Here { rates: limits::Reservation<Wanted>, budgets: SmallVec<[Wanted; 1]> },
    Together(Together<Wanted>, together::Parts<Wanted>),
}

impl Limiter {
    /// Each proxy counts for itself.
    pub(crate) fn alone() -> Self {
        Self { fleet: None }
    }

    /// For health reports: who counts now, and among how many a limit is shared where Redis is away.
    pub(crate) fn state(&self) -> (Counted, u32) {
        let Some(Fleet { together, .. }) = &self.fleet else { return (Counted::Here, 1) };
        let is_up = together.counters().link().is_up();
        (if is_up { Counted::Together } else { Counted::Share }, together.proxies())
    }

    /// Starts a call by all limits or by none. Waits as [`Self::take`].
    ///
    /// # Errors
    /// The place of the limit that refuses, and who counted.
    pub(crate) async fn start(
        &self,
        wanted: SmallVec<[Concurrent; 3]>,
        now: Now,
    ) -> Result<Leases, (usize, Counted)> {
        let Some(Fleet { running, .. }) = &self.fleet else {
            let started = wanted
                .into_iter()
                .enumerate()
                .map(|(index, limit)| running::Permit::alone(limit, now.nanos).ok_or((index, Counted::Here)));
            return started.collect();
        };
        // Boxed as below.
        Box::pin(running.start(wanted, now.nanos)).await.map_err(|running::Refused { index, by_share }| {
            (index, if by_share { Counted::Share } else { Counted::Together })
        })
    }

    /// Takes from all counters or from none. Waits only where Redis has to be asked, at most [`redis_link::BUDGET`].
    pub(crate) async fn take(&self, wanted: together::List<Wanted>, now: Now) -> Result<Taken, Refused> {
        let Some(Fleet { together, .. }) = &self.fleet else { return take_here(wanted, now) };
        // Boxed, because every call keeps room for it, also where each proxy counts for itself.
        match Box::pin(together.take(wanted, now)).await {
            Ok(parts) => Ok(Taken::Together(together.clone(), parts)),
            Err(together::Refused { index, retry_after, remaining, by_share }) => {
                let counted = if by_share { Counted::Share } else { Counted::Together };
                Err(Refused { index, retry_after, remaining, counted })
            }
        }
    }
}

fn take_here(wanted: together::List<Wanted>, now: Now) -> Result<Taken, Refused> {
    let refused =
        |index, retry_after, remaining| Refused { index, retry_after, remaining, counted: Counted::Here };
    // Rates stand before budgets, so a rate's place among the rates is its place among all.
    let priced: SmallVec<[(Wanted, Rate, u32); 3]> =
        wanted.iter().filter_map(|wanted| Some((wanted.clone(), wanted.rate()?, wanted.units))).collect();
    let rates = limits::reserve(&priced, now.nanos).map_err(
        |limits::Refused { index, retry_after, remaining }| refused(index, retry_after, remaining),
    )?;
    let mut budgets: SmallVec<[Wanted; 1]> = SmallVec::new();
    for (index, wanted) in wanted.into_iter().enumerate() {
        let Some((near, budget)) = wanted.budget() else { continue };
        if let Err((retry_after, remaining)) = near.spend_alone(now, budget, 1, wanted.units) {
            give_back_budgets(&budgets, now);
            rates.refund();
            return Err(refused(index, retry_after, remaining));
        }
        budgets.push(wanted);
    }
    Ok(Taken::Here { rates, budgets })
}

fn give_back_budgets(taken: &[Wanted], now: Now) {
    for wanted in taken {
        if let Some((near, budget)) = wanted.budget() {
            near.give_back(now, budget, wanted.units, false);
        }
    }
}

impl Taken {
    /// Gives everything back once `instead` has been charged. Where that is used up, it stays taken.
    pub(crate) fn give_back(self, instead: Option<Wanted>, now: Now) {
        match self {
            Self::Here { rates, budgets } => {
                let charged = instead.is_none_or(|instead| {
                    let (bucket, rate): (&Bucket, _) = (instead.borrow(), instead.limit.protocol_rate);
                    bucket.try_take(now.nanos, rate, 1).admitted()
                });
                if charged {
                    give_back_budgets(&budgets, now);
                    rates.refund();
                }
            }
            Self::Together(together, parts) => together.give_back_later(instead, parts),
        }
    }
}

impl Wanted {
    /// Of a counter that is a rate.
    fn rate(&self) -> Option<Rate> {
        match self.counter {
            Counter::Calls => Some(self.limit.rate),
            Counter::Protocol => Some(self.limit.protocol_rate),
            Counter::Day | Counter::Month => None,
        }
    }

    /// Of a counter that is a budget.
    fn budget(&self) -> Option<(&NearBudget, Budget)> {
        let (near, window) = match self.counter {
            Counter::Day => (&self.limit.buckets.day, Window::Day),
            Counter::Month => (&self.limit.buckets.month, Window::Month),
            Counter::Calls | Counter::Protocol => return None,
        };
        Some((near, *self.limit.budgets.iter().find(|budget| budget.window == window)?))
    }
}

impl Borrow<Bucket> for Wanted {
    fn borrow(&self) -> &Bucket {
        match self.counter {
            Counter::Protocol => &self.limit.buckets.protocol,
            Counter::Calls | Counter::Day | Counter::Month => &self.limit.buckets.calls,
        }
    }
}

impl together::Wanted for Wanted {
    fn key(&self) -> CounterKey {
        CounterKey { tenant: self.limit.tenant, subject: self.limit.subject, counter: self.counter }
    }

    fn end(&self) -> End<'_> {
        if let Some((near, budget)) = self.budget() {
            return End::Budget(near, budget);
        }
        let near = self.limit.buckets.near.get_or_init(Box::default);
        match self.counter {
            Counter::Protocol => End::Rate(&near.protocol, self.limit.protocol_rate),
            Counter::Calls | Counter::Day | Counter::Month => End::Rate(&near.calls, self.limit.rate),
        }
    }

    fn units(&self) -> u32 {
        self.units
    }
}

impl running::Runs for Concurrent {
    fn key(&self) -> PermitsKey {
        PermitsKey { tenant: self.0.tenant, subject: self.0.subject }
    }

    fn permits(&self) -> &Permits {
        &self.0.buckets.in_flight
    }

    fn max(&self) -> u32 {
        self.0.concurrency.unwrap_or(u32::MAX)
    }
}

/// Both of a clock's times.
pub(crate) fn now(clock: &dyn Clock) -> Now {
    at(clock.now(), clock.monotonic())
}

/// The same, where they are known already.
pub(crate) const fn at(wall: Timestamp, monotonic: Monotonic) -> Now {
    Now { nanos: monotonic.nanos(), unix_seconds: wall.secs() }
}

/// Starts what counting needs beside the calls.
pub(crate) fn start(
    redis: Option<&Link>,
    told: Told,
    tasks: &Tasks,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Arc<Limiter> {
    let Some(link) = redis else { return Arc::new(Limiter::alone()) };
    let counters = Counters::new(link.clone());
    let (together, later) = Together::new(counters.clone());
    let holder = u64::from_le_bytes(entropy.bytes());
    let (running, settled) = Running::new(counters, together.proxies_shared(), holder);
    let limiter = Arc::new(Limiter { fleet: Some(Fleet { together, running }) });
    let until = |work: BoxFuture<'static, ()>, stopping: CancellationToken| async move {
        tokio::select! {
            () = work => {}
            () = stopping.cancelled() => {}
        }
    };
    let work = do_later(Arc::clone(&limiter), later, Arc::clone(clock)).boxed();
    tasks.spawn("limits, later", until(work, tasks.token()));
    let work = settle(Arc::clone(&limiter), settled, Arc::clone(clock)).boxed();
    tasks.spawn("limits, running", until(work, tasks.token()));
    let work = alive::stay_alive(Arc::clone(&limiter), told, Arc::clone(entropy)).boxed();
    tasks.spawn("limits, alive", until(work, tasks.token()));
    limiter
}

/// Fills leases up and gives back, until the limiter is gone.
async fn do_later(
    limiter: Arc<Limiter>,
    later: mpsc::Receiver<together::Later<Wanted>>,
    clock: Arc<dyn Clock>,
) {
    let Some(Fleet { together, .. }) = &limiter.fleet else { return };
    let clock = &*clock;
    ReceiverStream::new(later)
        .for_each_concurrent(LATER_AT_ONCE, |later| together.do_later(later, now(clock)))
        .await;
}

/// Gives permits back that nobody needs, and renews the others, until the limiter is gone.
async fn settle(limiter: Arc<Limiter>, mut settled: mpsc::Receiver<Concurrent>, clock: Arc<dyn Clock>) {
    let Some(Fleet { running, .. }) = &limiter.fleet else { return };
    let mut every = tokio::time::interval(running::SETTLED_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some(limit) = settled.recv() => running.settle_soon(limit, clock.monotonic().nanos()).await,
            _ = every.tick() => running.settle_all(clock.monotonic().nanos()).await,
        }
    }
}
