//! Who is given everything now, who waits for it, and who is told to come back.
//!
//! After a restart, or when a fleet joins, each of a thousand proxies lacks everything at once. Some are given it; the others are
//! welcome and wait for their turn, in the order in which they came, and cost no more than a fleet at rest. Only where too
//! many wait is one sent away, for about as long as those before it need; the longer it is known, the sooner it asks again
//! and the sooner it is let in.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use ids::ProxyId;
use parking_lot::Mutex;
use seams::{Clock, Entropy, Monotonic};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Proxies of a replica that are being given everything at once.
const PLACES: usize = 16;
/// Proxies that wait for that at a replica. Others may find one with less to do.
const WAITING: usize = 2_048;
/// Whoever is sent away comes back after so long at least, and at most.
const LEAST: Duration = Duration::from_secs(2);
const MOST: Duration = Duration::from_secs(30);
/// One that was sent away and did not come again for this long is no longer counted.
const FORGOTTEN: Duration = Duration::from_secs(150);
/// How long a place is taken to be held before one has been given back.
const USUAL: Duration = Duration::from_secs(2);
/// Who needs longer, such as one that does not read, goes on without a place.
const LONGEST: Duration = Duration::from_secs(120);

/// Places of a replica.
#[derive(Debug)]
pub(super) struct Places {
    places: Arc<Semaphore>,
    room: Arc<Semaphore>,
    away: Mutex<Away>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Away {
    /// When each was sent away first, and last.
    proxies: HashMap<ProxyId, (Monotonic, Monotonic)>,
    /// How long a place is held, on average.
    held: Duration,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    since: Monotonic,
    _permit: Option<OwnedSemaphorePermit>,
}

/// What becomes of one that asks.
pub(super) enum Answer<T> {
    Now(Place),
    Wait(T),
    ComeBack(Duration),
}

impl Places {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let away = Mutex::new(Away { proxies: HashMap::new(), held: USUAL });
        let [places, room] = [PLACES, WAITING].map(|most| Arc::new(Semaphore::new(most)));
        Arc::new(Self { places, room, away, clock })
    }

    /// A place for `proxy`, or its turn.
    pub(super) fn ask(
        self: &Arc<Self>,
        proxy: ProxyId,
        entropy: &dyn Entropy,
    ) -> Answer<impl Future<Output = Place> + Send + use<>> {
        let now = self.clock.monotonic();
        let mut away = self.away.lock();
        away.proxies.retain(|_, (_, last)| now.since(*last) < FORGOTTEN);
        // Whoever waits is given a place before it is free for others.
        if let Ok(permit) = self.places.clone().try_acquire_owned() {
            away.proxies.remove(&proxy);
            return Answer::Now(self.taken(Some(permit)));
        }
        let first = away.proxies.get(&proxy).map_or(now, |(first, _)| *first);
        let before = away.proxies.iter().filter(|(other, (since, _))| **other != proxy && *since <= first);
        let before = before.count();
        // The last of the room is for those that were sent away before.
        let has_room = self.room.available_permits() > before;
        if let Some(room) = has_room.then(|| self.room.clone().try_acquire_owned().ok()).flatten() {
            away.proxies.remove(&proxy);
            let places = self.clone();
            return Answer::Wait(async move {
                // It is never closed; if it were, there would be no places to count.
                let permit = places.places.clone().acquire_owned().await.ok();
                drop(room);
                places.taken(permit)
            });
        }
        away.proxies.insert(proxy, (first, now));
        let turns = u32::try_from(before + 1).unwrap_or(u32::MAX);
        let expected = away.held.saturating_mul(turns) / PLACES as u32;
        Answer::ComeBack(LEAST + up_to(expected.min(MOST - LEAST), entropy))
    }

    fn taken(self: &Arc<Self>, permit: Option<OwnedSemaphorePermit>) -> Place {
        Place { places: self.clone(), since: self.clock.monotonic(), _permit: permit }
    }
}

impl Place {
    /// Whether it is to be given back though not everything has been given.
    pub(super) fn is_over(&self) -> bool {
        self.places.clock.monotonic().since(self.since) >= LONGEST
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let held = self.places.clock.monotonic().since(self.since);
        let mut away = self.places.away.lock();
        away.held = (away.held * 7 + held) / 8;
    }
}

/// Uniform in `0..=most`: those that were sent away together do not come back together.
fn up_to(most: Duration, entropy: &dyn Entropy) -> Duration {
    let bound = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX - 1).min(u64::MAX - 1);
    Duration::from_nanos(u64::from_le_bytes(entropy.bytes()) % (bound + 1))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use seams::{ManualClock, SeededEntropy, Timestamp};

    use super::*;

    fn proxy(n: usize) -> ProxyId {
        ProxyId::from_parts(n as u64, [0; 10])
    }

    fn places() -> (Arc<Places>, Arc<ManualClock>, SeededEntropy) {
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)));
        (Places::new(clock.clone()), clock, SeededEntropy::new(5))
    }

    fn now<T>(answer: Answer<T>) -> Place {
        match answer {
            Answer::Now(place) => place,
            _ => panic!("no place"),
        }
    }

    fn turn<T>(answer: Answer<T>) -> T {
        match answer {
            Answer::Wait(turn) => turn,
            _ => panic!("no turn"),
        }
    }

    fn wait<T>(answer: &Answer<T>) -> Duration {
        match answer {
            Answer::ComeBack(after) => *after,
            _ => panic!("let in"),
        }
    }

    #[test]
    fn turns_come_in_the_order_of_asking() {
        let (places, _, entropy) = places();
        let mut held: Vec<_> = (0..PLACES).map(|n| now(places.ask(proxy(n), &entropy))).collect();
        let mut first = Box::pin(turn(places.ask(proxy(100), &entropy)));
        let mut second = Box::pin(turn(places.ask(proxy(101), &entropy)));
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
        held.pop();
        assert!(second.as_mut().now_or_never().is_none(), "the first is before it");
        assert!(!matches!(places.ask(proxy(102), &entropy), Answer::Now(_)), "nobody overtakes them");
        let given = first.as_mut().now_or_never().expect("its turn");
        drop(given);
        assert!(second.as_mut().now_or_never().is_some());
    }

    #[test]
    fn whoever_is_sent_away_waits_the_longer_the_more_are_before_it_and_is_let_in_before_newcomers() {
        let (places, clock, entropy) = places();
        let held: Vec<_> = (0..PLACES).map(|n| now(places.ask(proxy(n), &entropy))).collect();
        let mut turns: Vec<_> =
            (0..WAITING).map(|n| Box::pin(turn(places.ask(proxy(1_000 + n), &entropy)))).collect();
        for turn in &mut turns {
            assert!(turn.as_mut().now_or_never().is_none());
        }
        let sent_away: Vec<_> = (0..400)
            .map(|n| {
                clock.advance(Duration::from_millis(1));
                wait(&places.ask(proxy(10_000 + n), &entropy))
            })
            .collect();
        assert!(sent_away.iter().all(|after| (LEAST..=MOST).contains(after)));
        let mean = |part: &[Duration]| part.iter().sum::<Duration>() / part.len() as u32;
        assert!(mean(&sent_away[300..]) > mean(&sent_away[..100]) * 3, "{sent_away:?}");
        let spread: std::collections::HashSet<_> = sent_away.iter().collect();
        assert!(spread.len() > 390, "they do not come back together");

        // There is room for one: for the first of them, whoever asks before.
        turns.pop();
        assert!(matches!(places.ask(proxy(20_000), &entropy), Answer::ComeBack(_)), "a newcomer");
        assert!(matches!(places.ask(proxy(10_001), &entropy), Answer::ComeBack(_)), "the second");
        assert!(matches!(places.ask(proxy(10_000), &entropy), Answer::Wait(_)));
        // One that does not come again holds up nobody for ever.
        clock.advance(FORGOTTEN);
        turns.pop();
        assert!(matches!(places.ask(proxy(20_000), &entropy), Answer::Wait(_)));
        drop(held);
    }

    #[test]
    fn a_place_is_not_held_for_ever() {
        let (places, clock, entropy) = places();
        let place = now(places.ask(proxy(1), &entropy));
        assert!(!place.is_over());
        clock.advance(LONGEST);
        assert!(place.is_over());
        drop(place);
        assert!(places.away.lock().held > USUAL, "and it was slow");
    }
}
