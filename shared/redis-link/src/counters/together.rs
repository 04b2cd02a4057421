//! Counting together: from leases where the near end holds one, by one script call where not, and by this proxy's share of
//! the limit while Redis is away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use limits::{
    budget::Now,
    near::Step,
    shared::{Ask, Of},
};
use smallvec::SmallVec;
use tokio::sync::mpsc;

use super::{
    CounterKey, Counters, Refund, Reserved,
    end::{Asking, End, Source},
};

/// One counter that a request takes from.
pub trait Wanted: Clone + Send + Sync + 'static {
    /// Its name.
    fn key(&self) -> CounterKey;
    /// Its end in this process, and what it admits.
    fn end(&self) -> End<'_>;
    /// How much is wanted of it.
    fn units(&self) -> u32;
}

/// A refusal by one of the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Which of those wanted, by its place in the list.
    pub index: usize,
    /// After this time the same may be admitted; [`limits::NEVER`] if no time is enough.
    pub retry_after: Duration,
    /// Whole units left.
    pub remaining: u32,
    /// Whether this proxy's share decided, because Redis is away.
    pub by_share: bool,
}

/// What was taken of one counter, and from where.
#[derive(Debug, Clone, Copy)]
pub struct Part<W> {
    wanted: W,
    from: Source,
}

/// What a request has taken of all its counters.
pub type Parts<W> = SmallVec<[Part<W>; 4]>;
/// The counters of a request.
pub type List<W> = SmallVec<[W; 4]>;

/// Work that no call waits for.
#[derive(Debug)]
pub enum Later<W> {
    /// The lease of this counter is half spent.
    TopUp(W),
    /// A call was refused after it had taken: charge `instead`, and if that is there give the parts back.
    GiveBack {
        /// Charged one unit; nothing if `None`.
        instead: Option<W>,
        /// Given back.
        parts: Parts<W>,
    },
}

/// One proxy's part in counting together. Clones share it.
#[derive(Debug)]
pub struct Together<W> {
    counters: Counters,
    proxies: Arc<AtomicU32>,
    later: mpsc::Sender<Later<W>>,
    calls: Arc<AtomicU64>,
}

impl<W> Clone for Together<W> {
    fn clone(&self) -> Self {
        Self {
            counters: self.counters.clone(),
            proxies: Arc::clone(&self.proxies),
            later: self.later.clone(),
            calls: Arc::clone(&self.calls),
        }
    }
}

/// Work that may wait; more is given up, which loses units and admits nothing.
const WAITING: usize = 4_096;

impl<W: Wanted> Together<W> {
    /// Counts through `counters`. Somebody has to [`Self::do_later`] what comes out of the receiver.
    #[must_use]
    pub fn new(counters: Counters) -> (Self, mpsc::Receiver<Later<W>>) {
        let (later, receiver) = mpsc::channel(WAITING);
        (Self { counters, proxies: Arc::new(AtomicU32::new(1)), later, calls: Arc::default() }, receiver)
    }

    /// Proxies that live, as far as is known; at least 1.
    #[must_use]
    pub fn proxies(&self) -> u32 {
        self.proxies.load(Ordering::Relaxed)
    }

    /// The same number, for others who share limits.
    #[must_use]
    pub fn proxies_shared(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.proxies)
    }

    /// So many proxies live.
    pub fn set_proxies(&self, count: u32) {
        self.proxies.store(count.max(1), Ordering::Relaxed);
    }

    /// Calls to the store so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// The counters in the store.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Takes from all of `wanted` or from none, at `now`. Asks the store at most once, and only for what no lease covers.
    ///
    /// # Errors
    /// The first counter that refuses. List the one first whose refusal says most.
    pub async fn take(&self, wanted: List<W>, now: Now) -> Result<Parts<W>, Refused> {
        let mut parts = Parts::new();
        if !wanted.first().is_some_and(|first| self.counters.is_up(first.key().tenant)) {
            return self.take_by_share(wanted.into_iter().enumerate(), parts, now);
        }
        let mut missing: SmallVec<[(usize, W); 4]> = SmallVec::new();
        for (index, wanted) in wanted.into_iter().enumerate() {
            match wanted.end().spend(now, self.proxies(), wanted.units()) {
                Step::Spent => parts.push(Part { wanted, from: Source::Lease }),
                Step::Ask => missing.push((index, wanted)),
                Step::Refused { retry_after, remaining } => {
                    self.give_back_here(&parts, now);
                    return Err(Refused { index, retry_after, remaining, by_share: false });
                }
            }
        }
        if missing.is_empty() {
            self.top_up_soon(&parts, now);
            return Ok(parts);
        }
        self.take_from_store(missing, parts, now).await
    }

    async fn take_from_store(
        &self,
        missing: SmallVec<[(usize, W); 4]>,
        mut parts: Parts<W>,
        now: Now,
    ) -> Result<Parts<W>, Refused> {
        let pending = Pending::new(self, missing.iter().map(|(_, wanted)| wanted.clone()), now, None);
        match pending.ask().await {
            Some(Reserved { refused: None, readings }) => {
                let taken = missing.into_iter().zip(readings).map(|((_, wanted), reading)| {
                    let from = Source::Store(reading.moment(wanted.end().of()));
                    Part { wanted, from }
                });
                parts.extend(taken);
                Ok(parts)
            }
            Some(Reserved { refused: Some(place), readings }) => {
                self.give_back_here(&parts, now);
                let ((index, wanted), reading) = (&missing[place], readings[place]);
                let of = wanted.end().of();
                Err(Refused {
                    index: *index,
                    retry_after: reading.retry_after(of, wanted.units(), now.unix_seconds),
                    remaining: reading.remaining(of),
                    by_share: false,
                })
            }
            None => self.take_by_share(missing.into_iter(), parts, now),
        }
    }

    fn take_by_share(
        &self,
        wanted: impl Iterator<Item = (usize, W)>,
        mut parts: Parts<W>,
        now: Now,
    ) -> Result<Parts<W>, Refused> {
        for (index, wanted) in wanted {
            match wanted.end().spend_alone(now, self.proxies(), wanted.units()) {
                Ok(from) => parts.push(Part { wanted, from }),
                Err((retry_after, remaining)) => {
                    self.give_back_here(&parts, now);
                    return Err(Refused { index, retry_after, remaining, by_share: true });
                }
            }
        }
        Ok(parts)
    }

    /// Gives back what was taken, after one unit of `instead` has been taken for the trouble. Waits for nothing.
    pub fn give_back_later(&self, instead: Option<W>, parts: Parts<W>) {
        // Where nobody comes after it, as at the end of a proxy, what was taken stays taken.
        let _ = self.later.try_send(Later::GiveBack { instead, parts });
    }

    /// Does what [`Self::take`] and [`Self::give_back_later`] left for later.
    pub async fn do_later(&self, later: Later<W>, now: Now) {
        match later {
            Later::TopUp(wanted) if wanted.end().wants_more(now, self.proxies()) => {
                Pending::new(self, [wanted].into_iter(), now, Some(0)).ask().await;
            }
            Later::TopUp(_) => {}
            Later::GiveBack { instead, parts } => self.give_back(instead, &parts, now).await,
        }
    }

    async fn give_back(&self, instead: Option<W>, parts: &Parts<W>, now: Now) {
        let back: SmallVec<[Refund; 4]> = parts.iter().filter_map(Part::in_store).collect();
        let mut charge = None;
        if let Some(instead) = instead {
            if !self.counters.is_up(instead.key().tenant) {
                if instead.end().spend_alone(now, self.proxies(), instead.units()).is_err() {
                    return;
                }
            } else {
                match (instead.end().spend(now, self.proxies(), instead.units()), instead.end().of()) {
                    (Step::Ask, Of::Rate(rate)) => charge = Some((instead.key(), rate)),
                    // Only a rate can be charged instead.
                    (Step::Refused { .. }, _) | (Step::Ask, Of::Budget(_)) => return,
                    (Step::Spent, _) => {}
                }
            }
        }
        if charge.is_some() || !back.is_empty() {
            self.calls.fetch_add(1, Ordering::Relaxed);
            // Unanswered: whether it was charged is not known, so nothing is given back.
            if !self.counters.refund(charge, &back).await.unwrap_or(false) {
                return;
            }
        }
        self.give_back_here(parts, now);
    }

    /// What needs no store.
    fn give_back_here(&self, parts: &Parts<W>, now: Now) {
        for Part { wanted, from } in parts {
            wanted.end().give_back(now, self.proxies(), wanted.units(), *from);
        }
    }

    fn top_up_soon(&self, parts: &Parts<W>, now: Now) {
        for part in parts {
            if part.wanted.end().wants_more(now, self.proxies()) {
                // A full queue only means that the next take asks for itself.
                let _ = self.later.try_send(Later::TopUp(part.wanted.clone()));
            }
        }
    }
}

impl<W: Wanted> Part<W> {
    fn in_store(&self) -> Option<Refund> {
        let Source::Store(moment) = self.from else { return None };
        Some(Refund {
            key: self.wanted.key(),
            of: self.wanted.end().of(),
            units: self.wanted.units(),
            moment,
        })
    }
}

/// A call to the store. Dropped before its answer, as when the caller hangs up, it leaves every near end as it was.
struct Pending<'a, W: Wanted> {
    together: &'a Together<W>,
    asked: SmallVec<[(W, Option<Asking>); 4]>,
}

impl<'a, W: Wanted> Pending<'a, W> {
    fn new(together: &'a Together<W>, wanted: impl Iterator<Item = W>, now: Now, units: Option<u32>) -> Self {
        let asking = |wanted: W| {
            let cost = units.unwrap_or_else(|| wanted.units());
            let asking = wanted.end().ask(now, together.proxies(), cost);
            (wanted, Some(asking))
        };
        Self { together, asked: wanted.map(asking).collect() }
    }

    async fn ask(mut self) -> Option<Reserved> {
        let asks: SmallVec<[(CounterKey, Ask); 4]> = self
            .asked
            .iter()
            .filter_map(|(wanted, asking)| Some((wanted.key(), asking.as_ref()?.ask())))
            .collect();
        self.together.calls.fetch_add(1, Ordering::Relaxed);
        let reserved = self.together.counters.reserve(&asks).await.ok()?;
        for (place, (wanted, asking)) in self.asked.iter_mut().enumerate() {
            let (Some(asking), Some(reading)) = (asking.take(), reserved.readings.get(place)) else {
                continue;
            };
            let (admitted, refusing) = (reserved.refused.is_none(), reserved.refused == Some(place));
            wanted.end().answered(&asking, self.together.proxies(), *reading, admitted, refusing);
        }
        Some(reserved)
    }
}

impl<W: Wanted> Drop for Pending<'_, W> {
    fn drop(&mut self) {
        for (wanted, asking) in &self.asked {
            if let Some(asking) = asking {
                wanted.end().unanswered(asking);
            }
        }
    }
}
