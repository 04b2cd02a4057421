//! One issuer's keys, as far as they are known.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use crypto::{
    digest::sha256,
    jwt::{Kid, PublicKey, usable},
};
use parking_lot::Mutex;
use seams::Timestamp;
use tokio::sync::{Notify, watch};

/// How long keys are good from when they were fetched, while their issuer cannot be asked.
pub(super) const KEPT_WHILE_AWAY: Duration = Duration::from_secs(4 * 60 * 60);
/// Between two fetches of one set, whatever they are for.
pub(super) const APART: Duration = Duration::from_secs(10);
/// The same after failures: twice as long each time, up to that.
const APART_AT_MOST: Duration = Duration::from_secs(5 * 60);
/// How long a call waits for a key that is not known.
const PATIENCE: Duration = Duration::from_secs(3);

/// Wakes whoever fetches.
pub(super) static WANTED: Notify = Notify::const_new();

/// The set. Outlives revisions in which the issuer is where it was.
pub(crate) struct Keys {
    known: ArcSwapOption<Set>,
    /// A call has looked since the last fetch: only what is used is kept fresh.
    used: AtomicBool,
    state: Mutex<State>,
    /// How many fetches have ended.
    ended: watch::Sender<u64>,
}

/// Keys as they were fetched.
struct Set {
    keys: Vec<Key>,
    at: Timestamp,
    age: Duration,
}

struct Key {
    kid: Kid,
    public: PublicKey,
    /// SHA-256 of it.
    mark: [u8; 32],
}

#[derive(Default)]
struct State {
    /// When the last fetch began.
    begun: Option<Timestamp>,
    under_way: bool,
    failures: u32,
    /// A call showed a key that is not known.
    wanted: bool,
}

/// What is known of a key's name.
#[derive(Debug)]
pub(crate) enum Found<T> {
    /// It is this.
    Key(T),
    /// The issuer has none of this name, as far as is known.
    Unknown,
    /// Nothing is known of the issuer's keys.
    Away,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            known: ArcSwapOption::empty(),
            used: AtomicBool::new(false),
            state: Mutex::default(),
            ended: watch::Sender::new(0),
        }
    }
}

impl Keys {
    /// Looks for a key by its name, and does something with it and with its mark.
    pub(crate) fn with<R>(
        &self,
        kid: &Kid,
        now: Timestamp,
        look: impl FnOnce(&PublicKey, &[u8; 32]) -> R,
    ) -> Found<R> {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        let known = self.known.load();
        let Some(set) = known.as_ref().filter(|set| between(set.at, now) < KEPT_WHILE_AWAY) else {
            return Found::Away;
        };
        match set.keys.iter().find(|key| key.kid == *kid) {
            Some(key) => Found::Key(look(&key.public, &key.mark)),
            None => Found::Unknown,
        }
    }

    /// Waits until the keys were fetched anew, if that may be done now. Says whether they were.
    pub(crate) async fn come(&self, now: Timestamp) -> bool {
        let mut ended = self.ended.subscribe();
        {
            let mut state = self.state.lock();
            if !state.under_way && !state.may_begin(now) {
                return false;
            }
            state.wanted = true;
        }
        WANTED.notify_waiters();
        tokio::time::timeout(PATIENCE, ended.changed()).await.is_ok_and(|changed| changed.is_ok())
    }

    /// Whether to fetch now; then whoever asks does so, and nobody else until [`Self::done`].
    pub(super) fn begin(&self, now: Timestamp) -> bool {
        let mut state = self.state.lock();
        if state.under_way || !state.may_begin(now) {
            return false;
        }
        let known = self.known.load();
        let due = match known.as_ref() {
            None => state.begun.is_none() || self.used.load(Ordering::Relaxed),
            Some(set) => between(set.at, now) >= set.age && self.used.load(Ordering::Relaxed),
        };
        if !due && !state.wanted {
            return false;
        }
        self.used.store(false, Ordering::Relaxed);
        *state = State { begun: Some(now), under_way: true, wanted: false, ..*state };
        true
    }

    /// What came of it: a document and how long it may be kept.
    pub(super) fn done(&self, fetched: Option<(&[u8], Duration)>, now: Timestamp) {
        let mut state = self.state.lock();
        state.under_way = false;
        match fetched {
            Some((document, age)) => {
                state.failures = 0;
                let keys = usable(document).into_iter().filter(|(kid, _)| !kid.as_str().is_empty());
                let keys = keys.map(|(kid, public)| Key { kid, mark: sha256(public.bytes()), public });
                self.known.store(Some(Arc::new(Set { keys: keys.collect(), at: now, age })));
            }
            None => state.failures = state.failures.saturating_add(1),
        }
        drop(state);
        self.ended.send_modify(|ended| *ended += 1);
    }
}

impl State {
    fn may_begin(&self, now: Timestamp) -> bool {
        let apart = APART.saturating_mul(1 << self.failures.saturating_sub(1).min(5)).min(APART_AT_MOST);
        self.begun.is_none_or(|begun| between(begun, now) >= apart)
    }
}

/// However the clock was set meanwhile: keys that are from the future are as old as those that are from as long ago.
fn between(then: Timestamp, now: Timestamp) -> Duration {
    now.since(then).max(then.since(now))
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(…)")
    }
}

#[cfg(test)]
mod tests {
    use crypto::jwt::{Algorithm, Jwk, generate};
    use seams::SeededEntropy;
    use serde_json::json;

    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(1_000 + secs)
    }

    fn document(kids: &[&str]) -> Vec<u8> {
        let (_, public) = generate(Algorithm::EdDsa, &SeededEntropy::new(1)).unwrap();
        let keys: Vec<_> = kids.iter().map(|kid| Jwk::new(kid, &public)).collect();
        json!({ "keys": keys }).to_string().into_bytes()
    }

    fn knows(keys: &Keys, kid: &str, now: Timestamp) -> bool {
        matches!(keys.with(&Kid::new(kid).unwrap(), now, |_, _| ()), Found::Key(()))
    }

    #[test]
    fn keys_are_fetched_at_first_and_while_they_are_used_and_by_one_at_a_time() {
        let keys = Keys::default();
        assert!(keys.begin(at(0)));
        assert!(!keys.begin(at(1)), "under way");
        let age = Duration::from_secs(300);
        keys.done(Some((&document(&["one"]), age)), at(2));
        assert!(!keys.begin(at(299)));
        assert!(!keys.begin(at(400)), "nobody has used them");
        assert!(knows(&keys, "one", at(400)), "old ones do until new ones are there");
        assert!(keys.begin(at(400)));
        keys.done(Some((&document(&["two"]), age)), at(401));
        assert!(!knows(&keys, "one", at(402)) && knows(&keys, "two", at(402)));
    }

    #[test]
    fn while_their_issuer_is_away_keys_are_good_for_four_hours() {
        let keys = Keys::default();
        assert!(keys.begin(at(0)));
        keys.done(Some((&document(&["one"]), Duration::from_secs(60))), at(0));
        let end = KEPT_WHILE_AWAY.as_secs();
        let mut tried = 0;
        for second in 0..end {
            assert!(knows(&keys, "one", at(second)), "{second}");
            if keys.begin(at(second)) {
                tried += 1;
                keys.done(None, at(second));
            }
        }
        // Every five minutes, after it was tried more often at first.
        assert!((45..=60).contains(&tried), "{tried}");
        assert!(matches!(keys.with(&Kid::new("one").unwrap(), at(end), |_, _| ()), Found::Away));
    }

    /// R46: whatever callers show, a set is fetched every ten seconds at most.
    #[tokio::test(start_paused = true)]
    async fn a_flood_of_unknown_keys_makes_few_fetches() {
        let keys = Keys::default();
        assert!(keys.begin(at(0)));
        keys.done(Some((&document(&["one"]), Duration::from_secs(3_600))), at(0));
        let mut fetches = 0;
        for tenth in 0..600 {
            let now = at(tenth / 10);
            for _ in 0..100 {
                // Whoever may not wait is refused at once.
                let _ = futures_util::FutureExt::now_or_never(keys.come(now));
            }
            if keys.begin(now) {
                fetches += 1;
                keys.done(Some((&document(&["one"]), Duration::from_secs(3_600))), now);
            }
        }
        assert_eq!(fetches, 5, "in a minute");
    }
}
