//! How many calls a server is given at once by this proxy, and who waits for a place.
//!
//! Where there is room, a call takes its place and gives it back with a few atomic operations: no lock, no
//! allocation. Only where it has to wait is there a queue, behind a lock that is never held across an await, and bounded. In it
//! each call keeps its place among its equals; of unequal ones the more important goes first, and where the queue is full the
//! least important and latest gives way. Who leaves while it waits (its caller hung up, its time is over) is forgotten at once.
//!
//! All workers of a proxy share one gate for each server. Proxies do not share: each gives a server its own number of calls.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use ::limits::adaptive::{Adaptive, Samples};
use parking_lot::Mutex;
use seams::Monotonic;
use telemetry::metric;
use tokio::sync::oneshot;

use super::priority::Priority;

/// What is told to wait before it comes again waits so long at least, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// How many calls a server is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Calls at once; 0: as many as come.
    pub max: u32,
    /// Calls that wait.
    pub queue: u32,
    /// How long one waits at most.
    pub wait: Duration,
    /// Whether fewer are given while the server takes longer than usual.
    pub adaptive: bool,
}

/// Why there was no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crowded {
    /// As many wait as may.
    QueueFull,
    /// It would wait, or has waited, for too long.
    TooLate,
    /// A more important call has taken its place in the queue.
    GaveWay,
}

impl Crowded {
    /// As callers and metrics read it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::TooLate => "too_late",
            Self::GaveWay => "gave_way",
        }
    }
}

/// One server's calls.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Calls that have a place.
    running: AtomicU32,
    /// Calls that wait for one.
    waiting: AtomicU32,
    /// Calls that may have one, as the configuration said last; the lowest bit: whether it adapts.
    rules: AtomicU64,
    /// What was found out; 0: nothing yet.
    found: AtomicU32,
    /// Nanoseconds that a call takes, roughly.
    usual: AtomicU64,
    samples: Samples,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    ticket: u64,
    /// By importance, the least first.
    waiters: [VecDeque<Waiter>; Priority::ALL.len()],
    adaptive: Adaptive,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    place: oneshot::Sender<Place>,
}

/// One of the calls a server is given. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Place(Option<Arc<Gate>>);

/// What a call gets at the gate.
#[derive(Debug)]
pub(super) enum Entry {
    In(Place),
    Waits(Waiting),
}

/// A call in the queue. It leaves when dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    gate: Arc<Gate>,
    priority: Priority,
    ticket: u64,
    place: oneshot::Receiver<Place>,
}

impl Gate {
    /// A place, or one in the queue.
    pub(super) fn enter(self: &Arc<Self>, limits: Limits, priority: Priority) -> Result<Entry, Crowded> {
        self.allow(limits);
        if self.waiting.load(Ordering::SeqCst) == 0 && self.take() {
            return Ok(Entry::In(Place(Some(Arc::clone(self)))));
        }
        self.queue_up(limits, priority)
    }

    /// So many may have a place from now on. Those who wait hear of it.
    pub(super) fn allow(self: &Arc<Self>, limits: Limits) {
        let rules = (u64::from(limits.max) << 1) | u64::from(limits.adaptive);
        if self.rules.load(Ordering::Relaxed) == rules {
            return;
        }
        // In one order with the count of those who wait: who comes to wait meanwhile looks once more, at these rules.
        self.rules.store(rules, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.hand_on();
        }
    }

    /// How many may have a place.
    fn allowed(&self) -> u32 {
        let rules = self.rules.load(Ordering::SeqCst);
        let max = u32::try_from(rules >> 1).unwrap_or(u32::MAX);
        match max {
            // Not bounded any more: whoever waits goes.
            0 => u32::MAX,
            _ if rules & 1 == 0 => max,
            _ => match self.found.load(Ordering::Relaxed) {
                0 => Adaptive::default().limit(max),
                found => found.min(max),
            },
        }
    }

    fn take(&self) -> bool {
        let allowed = self.allowed();
        let more = |running: u32| (running < allowed).then(|| running + 1);
        self.running.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }

    fn queue_up(self: &Arc<Self>, limits: Limits, priority: Priority) -> Result<Entry, Crowded> {
        let mut queue = self.queue.lock();
        // Counted before it looks once more: who leaves looks for those who wait after having given back a place, so one of the
        // two sees the other.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let ahead = queue.ahead(priority);
        if ahead == 0 && self.take() {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            return Ok(Entry::In(Place(Some(Arc::clone(self)))));
        }
        // The first in line waits in any case: what is usual may have been learned from one slow call.
        let refused = if ahead > 0 && self.takes(ahead) > limits.wait {
            Some(Crowded::TooLate)
        } else if queue.len() >= limits.queue as usize && !self.make_room(&mut queue, priority) {
            Some(Crowded::QueueFull)
        } else {
            None
        };
        if let Some(crowded) = refused {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            return Err(crowded);
        }
        let (sender, place) = oneshot::channel();
        queue.ticket += 1;
        let ticket = queue.ticket;
        queue.of(priority).push_back(Waiter { ticket, place: sender });
        metrics::gauge!(metric::UPSTREAM_WAITING).increment(1.0);
        Ok(Entry::Waits(Waiting { gate: Arc::clone(self), priority, ticket, place }))
    }

    /// The latest of the least important ones leaves the queue, if it is less important than this.
    fn make_room(&self, queue: &mut Queue, than: Priority) -> bool {
        let less = Priority::ALL.into_iter().take_while(|priority| *priority < than);
        for priority in less {
            // Its end of the channel says so.
            if queue.of(priority).pop_back().is_some() {
                self.left(1);
                return true;
            }
        }
        false
    }

    /// So many have left the queue.
    fn left(&self, waiters: u32) {
        self.waiting.fetch_sub(waiters, Ordering::SeqCst);
        metrics::gauge!(metric::UPSTREAM_WAITING).decrement(f64::from(waiters));
    }

    /// How long it takes until so many others have had their places, and one more is free.
    fn takes(&self, ahead: usize) -> Duration {
        let usual = self.usual.load(Ordering::Relaxed);
        let turns = (ahead as u64 + 1).saturating_mul(usual) / u64::from(self.allowed().max(1));
        Duration::from_nanos(turns)
    }

    /// When to come again.
    pub(super) fn again(&self) -> Duration {
        let waiting = self.waiting.load(Ordering::Relaxed) as usize;
        self.takes(waiting).clamp(AGAIN.0, AGAIN.1)
    }

    /// Places that are free go to those who wait, the most important first.
    fn hand_on(self: &Arc<Self>) {
        let mut queue = self.queue.lock();
        while queue.len() > 0 && self.take() {
            let Some(waiter) = queue.next() else { break };
            self.left(1);
            if let Err(mut nobody) = waiter.place.send(Place(Some(Arc::clone(self)))) {
                // Its call has just ended. Not by dropping it, which would look for those who wait, here.
                nobody.0 = None;
                self.running.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn now(&self) -> (u32, u32) {
        (self.running.load(Ordering::SeqCst), self.waiting.load(Ordering::SeqCst))
    }
}

impl Queue {
    fn of(&mut self, priority: Priority) -> &mut VecDeque<Waiter> {
        let [protocol, read, write] = &mut self.waiters;
        match priority {
            Priority::Protocol => protocol,
            Priority::Read => read,
            Priority::Write => write,
        }
    }

    fn len(&self) -> usize {
        self.waiters.iter().map(VecDeque::len).sum()
    }

    /// How many go before one that comes now.
    fn ahead(&self, priority: Priority) -> usize {
        let waiters = self.waiters.iter().zip(Priority::ALL);
        waiters.filter(|(_, of)| *of >= priority).map(|(waiters, _)| waiters.len()).sum()
    }

    fn next(&mut self) -> Option<Waiter> {
        self.waiters.iter_mut().rev().find_map(VecDeque::pop_front)
    }
}

impl Place {
    /// Its call has ended, after so long.
    pub(super) fn ended(self, now: Monotonic, took: Duration, failed: bool) {
        let Some(gate) = &self.0 else { return };
        let (usual, nanos) = (gate.usual.load(Ordering::Relaxed), took.as_nanos() as u64);
        let next = match usual {
            0 => nanos,
            usual => usual - usual / 8 + nanos.min(usual.saturating_mul(8)) / 8,
        };
        gate.usual.store(next, Ordering::Relaxed);
        let rules = gate.rules.load(Ordering::Relaxed);
        if rules & 1 == 0 {
            return;
        }
        let running = gate.running.load(Ordering::Relaxed);
        if let Some(window) = gate.samples.note(now.nanos(), took, running, failed) {
            let most = u32::try_from(rules >> 1).unwrap_or(u32::MAX);
            let mut queue = gate.queue.lock();
            queue.adaptive.learn(window, most);
            gate.found.store(queue.adaptive.limit(most), Ordering::Relaxed);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(gate) = self.0.take() else { return };
        gate.running.fetch_sub(1, Ordering::SeqCst);
        if gate.waiting.load(Ordering::SeqCst) > 0 {
            gate.hand_on();
        }
    }
}

impl Waiting {
    /// Waits for its turn.
    pub(super) async fn turn(mut self, most: Duration) -> Result<Place, Crowded> {
        match tokio::time::timeout(most, &mut self.place).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) => Err(Crowded::GaveWay),
            // It may have come just now.
            Err(_) => self.place.try_recv().map_err(|_| Crowded::TooLate),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut queue = self.gate.queue.lock();
        let waiters = queue.of(self.priority);
        if let Some(at) = waiters.iter().position(|waiter| waiter.ticket == self.ticket) {
            waiters.remove(at);
            self.gate.left(1);
        }
    }
}

#[cfg(test)]
mod tests;
