//! How many run at once, counted together: on permits this proxy holds where there are any, after one script call where not,
//! and by its share of the limit while Redis is away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use limits::running::{Ask, Asking, Permits, Reading, Start};
use parking_lot::Mutex;
use redis::RedisResult;
use smallvec::SmallVec;
use tokio::{sync::mpsc, task::JoinSet};

use super::{Counters, PermitsKey};

/// Between two looks at what is held and not needed.
pub const SETTLED_EVERY: Duration = Duration::from_secs(1);
/// Limits of one tenant that are told to the store at once.
const SETTLED_AT_ONCE: usize = 32;
/// Questions to the store at once, each about one tenant.
const ASKED_AT_ONCE: usize = 64;
/// Permits that wait to go back; more wait for the next look.
const WAITING: usize = 4_096;

/// One limit of how many run at once.
pub trait Runs: Clone + Send + Sync + 'static {
    /// Its name.
    fn key(&self) -> PermitsKey;
    /// Its end in this process.
    fn permits(&self) -> &Permits;
    /// How many; at least 1.
    fn max(&self) -> u32;
}

/// A call that runs, by one limit. Ends when dropped.
#[must_use = "the permit lasts as long as this value"]
#[derive(Debug)]
pub struct Permit<R: Runs> {
    of: R,
    /// Takes the limits whose permits should go back at once.
    settle: Option<mpsc::Sender<R>>,
}

/// The permits of one request.
pub type List<R> = SmallVec<[Permit<R>; 3]>;

/// A refusal by one of the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Which of those wanted, by its place in the list.
    pub index: usize,
    /// Whether this proxy's share decided, because Redis is away.
    pub by_share: bool,
}

/// What the store answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The place of the limit that refused; nothing was given then.
    pub refused: Option<usize>,
    /// One for each limit asked.
    pub readings: SmallVec<[Reading; 3]>,
}

/// One proxy's part in it. Clones share it.
#[derive(Debug, Clone)]
pub struct Running<R> {
    counters: Counters,
    proxies: Arc<AtomicU32>,
    /// A number of this process's own, so that what an earlier one held comes back with the end of its lease.
    holder: u64,
    /// The limits of which something is held.
    holding: Arc<Mutex<Vec<R>>>,
    settle: mpsc::Sender<R>,
    calls: Arc<AtomicU64>,
}

impl Held {
    pub(super) fn read(reply: &[u64], limits: usize) -> RedisResult<Self> {
        let (refused, readings) = super::threes(reply, limits)?;
        let clamp = |number| u32::try_from(number).unwrap_or(u32::MAX);
        let readings = readings.map(|[held, others, short]| Reading {
            held: clamp(held),
            others: clamp(others),
            short: short != 0,
        });
        Ok(Self { refused, readings: readings.collect() })
    }
}

impl<R: Runs> Running<R> {
    /// Counts through `counters` as `holder`, which no other process is. `proxies`: how many live. Somebody has to
    /// [`Self::settle_soon`] what comes out of the receiver, and [`Self::settle_all`] each [`SETTLED_EVERY`].
    #[must_use]
    pub fn new(counters: Counters, proxies: Arc<AtomicU32>, holder: u64) -> (Self, mpsc::Receiver<R>) {
        let (settle, receiver) = mpsc::channel(WAITING);
        let holding = Arc::default();
        (Self { counters, proxies, holder, holding, settle, calls: Arc::default() }, receiver)
    }

    /// Calls to the store so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Starts a call by all of `wanted` or by none. Asks the store at most once, and only where no permit is held. All are
    /// of one tenant, each once.
    ///
    /// # Errors
    /// The first limit that refuses.
    pub async fn start(&self, wanted: SmallVec<[R; 3]>, now: u64) -> Result<List<R>, Refused> {
        let mut started = List::new();
        let is_up = wanted.first().is_some_and(|first| self.counters.is_up(first.key().tenant));
        let mut missing: SmallVec<[(usize, R); 3]> = SmallVec::new();
        for (index, of) in wanted.into_iter().enumerate() {
            if !is_up {
                missing.push((index, of));
                continue;
            }
            match of.permits().start(now, of.max()) {
                Start::Started => started.push(self.permit(of)),
                Start::Ask => missing.push((index, of)),
                Start::Refused => return Err(Refused { index, by_share: false }),
            }
        }
        if missing.is_empty() {
            return Ok(started);
        }
        if is_up {
            let pending = Pending::new(self, &missing, now);
            match pending.ask().await {
                Some(None) => {
                    started.extend(missing.into_iter().map(|(_, of)| self.permit(of)));
                    return Ok(started);
                }
                Some(Some(place)) => {
                    let index = missing.get(place).map_or(0, |(index, _)| *index);
                    return Err(Refused { index, by_share: false });
                }
                None => {}
            }
        }
        for (index, of) in missing {
            if !of.permits().start_alone(now, of.max(), self.proxies()) {
                return Err(Refused { index, by_share: true });
            }
            self.keep(&of);
            started.push(self.permit(of));
        }
        Ok(started)
    }

    /// Tells the store of one limit of which others are short.
    pub async fn settle_soon(&self, of: R, now: u64) {
        if self.counters.is_up(of.key().tenant)
            && let Some(asking) = of.permits().settle(now, false)
        {
            self.settle(vec![(of, asking)]).await;
        }
    }

    /// Tells the store of every limit what is still held, and what is not needed any more.
    pub async fn settle_all(&self, now: u64) {
        if !self.counters.link().is_up() {
            return;
        }
        let mut all = std::mem::take(&mut *self.holding.lock());
        all.sort_by_key(|of| of.key().tenant);
        let mut kept = Vec::with_capacity(all.len());
        // One tenant's after the other's would take longer than a lease where there are many.
        let mut asking = JoinSet::new();
        let parts = all.chunk_by(|one, other| one.key().tenant == other.key().tenant);
        for part in parts.flat_map(|tenant| tenant.chunks(SETTLED_AT_ONCE)) {
            while asking.len() >= ASKED_AT_ONCE {
                kept.extend(asking.join_next().await.and_then(Result::ok).into_iter().flatten());
            }
            let mut asked: Vec<(R, Asking)> = Vec::new();
            for of in part {
                match of.permits().settle(now, true) {
                    Some(asking) => asked.push((of.clone(), asking)),
                    None => kept.push(of.clone()),
                }
            }
            if !asked.is_empty() {
                let this = self.clone();
                asking.spawn(async move { this.settle(asked).await });
            }
        }
        for settled in asking.join_all().await {
            kept.extend(settled);
        }
        kept.retain(|of| !of.permits().ends_holding());
        self.holding.lock().extend(kept);
    }

    /// Returns what was asked.
    async fn settle(&self, asked: Vec<(R, Asking)>) -> Vec<R> {
        let unsettled = Unsettled { asked };
        let all = unsettled.asked.iter().map(|(of, _)| of.clone()).collect();
        let asks: Vec<_> = unsettled.asked.iter().map(|(of, asking)| (of.key(), asking.ask)).collect();
        if asks.is_empty() {
            return all;
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        if let Ok(held) = self.counters.hold(self.holder, &asks).await {
            for ((of, asking), reading) in unsettled.answered().into_iter().zip(held.readings) {
                of.permits().settled(&asking, reading);
                self.settle_if_short(&of);
            }
        }
        all
    }

    fn proxies(&self) -> u32 {
        self.proxies.load(Ordering::Relaxed)
    }

    fn permit(&self, of: R) -> Permit<R> {
        Permit { of, settle: Some(self.settle.clone()) }
    }

    fn keep(&self, of: &R) {
        if of.permits().begins_to_hold() {
            self.holding.lock().push(of.clone());
        }
    }

    fn settle_if_short(&self, of: &R) {
        if of.permits().settles_soon() {
            // A full queue only means that the next look tells it.
            let _ = self.settle.try_send(of.clone());
        }
    }
}

impl<R: Runs> Permit<R> {
    /// Starts a call where there is no store.
    #[must_use]
    pub fn alone(of: R, now: u64) -> Option<Self> {
        let started = of.permits().start_alone(now, of.max(), 1);
        // Made only where it started: dropping one ends a call.
        started.then(|| Self { of, settle: None })
    }
}

impl<R: Runs> Drop for Permit<R> {
    fn drop(&mut self) {
        self.of.permits().end();
        if let Some(settle) = &self.settle
            && self.of.permits().settles_soon()
        {
            // As above.
            let _ = settle.try_send(self.of.clone());
        }
    }
}

/// A question of a call that wants to start. Dropped before its answer, as when the caller hangs up, it claims nothing.
struct Pending<'a, R: Runs> {
    running: &'a Running<R>,
    asked: SmallVec<[(R, Asking); 3]>,
}

impl<'a, R: Runs> Pending<'a, R> {
    fn new(running: &'a Running<R>, missing: &[(usize, R)], now: u64) -> Self {
        let asked = missing.iter().map(|(_, of)| {
            let asking = of.permits().ask(now, of.max(), running.proxies());
            // Though it be never answered, the store may hold something for this proxy then.
            running.keep(of);
            (of.clone(), asking)
        });
        Self { running, asked: asked.collect() }
    }

    /// Says which refused; `None` where the store did not answer.
    async fn ask(mut self) -> Option<Option<usize>> {
        let asks: SmallVec<[(PermitsKey, Ask); 3]> =
            self.asked.iter().map(|(of, asking)| (of.key(), asking.ask)).collect();
        self.running.calls.fetch_add(1, Ordering::Relaxed);
        let held = self.running.counters.hold(self.running.holder, &asks).await.ok()?;
        let asked = std::mem::take(&mut self.asked);
        for (place, ((of, asking), reading)) in asked.into_iter().zip(held.readings).enumerate() {
            of.permits().answered(&asking, reading, held.refused.is_none(), held.refused == Some(place));
            self.running.settle_if_short(&of);
        }
        Some(held.refused)
    }
}

impl<R: Runs> Drop for Pending<'_, R> {
    fn drop(&mut self) {
        for (of, _) in &self.asked {
            of.permits().unanswered();
        }
    }
}

/// The same for what is told and not asked.
struct Unsettled<R: Runs> {
    asked: Vec<(R, Asking)>,
}

impl<R: Runs> Unsettled<R> {
    fn answered(mut self) -> Vec<(R, Asking)> {
        std::mem::take(&mut self.asked)
    }
}

impl<R: Runs> Drop for Unsettled<R> {
    fn drop(&mut self) {
        for (of, _) in &self.asked {
            of.permits().unsettled();
        }
    }
}
