//! The signed copy in Redis: the way to proxies whose control plane is gone, and between replicas while Postgres is away.
//!
//! Written after every change and looked after in between. What another replica has ordered without Postgres is taken from
//! there, pushed from here too, and kept and stored as if it had been ordered here ([`super::unsaved`]).

use std::{sync::Arc, time::Duration};

use crypto::signature;
use prost::Message as _;
use redis_link::{Link, redis};
use seams::Timestamp;
use wire::{
    kill::{REDIS_KEY, SET_CONTEXT},
    v1,
};

use super::{Kills, Signed, State, unsaved::Unsaved};
use crate::app::Core;

/// Between looks at a copy that should not have changed.
const REPAIR: Duration = Duration::from_secs(1);
/// How old a kill may be that is taken from the copy, or from a proxy. By then whoever knew of it has written its row.
const BORROWED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

impl Kills {
    /// Keeps the copy right until shutdown.
    pub(super) async fn share(self: Arc<Self>, core: Core, link: Link) {
        let stopping = core.tasks.stopping();
        let mut signed = self.subscribe();
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = self.look_after_copy(&core, &link) => {}
            }
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(REPAIR) => {}
                changed = signed.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    async fn look_after_copy(&self, core: &Core, link: &Link) {
        let found = match link.call::<Option<Vec<u8>>>(redis::cmd("GET").arg(REDIS_KEY)).await {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(error.cause = %error, "the shared kill set cannot be read");
                return;
            }
        };
        let copy = found.as_deref().and_then(|bytes| self.verified(bytes));
        if let Some(copy) = &copy {
            self.borrow(copy, core.clock.now());
            self.keep_in_time().await;
        } else if found.is_some() {
            tracing::error!("the shared kill set is not one of ours; it is written anew");
        }
        let Some(ours) = self.subscribe().borrow().clone() else { return };
        let is_right = |copy: Found| {
            !says_more(&ours, &copy.body)
                && self.knows_no_more_than(&copy)
                && !self.has_what_was_dropped(&copy)
        };
        if copy.is_some_and(is_right) {
            return;
        }
        let Some(value) = self.copy() else { return };
        if let Err(error) = link.call::<()>(redis::cmd("SET").arg(REDIS_KEY).arg(value)).await {
            tracing::debug!(error.cause = %error, "the shared kill set was not written");
        }
    }

    /// What is to be there; `None` before anything was signed.
    pub(super) fn copy(&self) -> Option<Vec<u8>> {
        let ours = self.signed.borrow().clone()?;
        let (unsaved, unsaved_signature) = self.signed_unsaved(&self.state.lock());
        let set = v1::KillSet { public_keys: Vec::new(), unsaved, unsaved_signature, ..ours.set.clone() };
        Some(set.encode_to_vec())
    }

    /// What it says, if one of the installation's keys signed it. A copy whose set is good counts also when its kills without rows
    /// are signed by nobody, which older builds do not write.
    pub(super) fn verified(&self, bytes: &[u8]) -> Option<Found> {
        let set = v1::KillSet::decode(bytes).ok()?;
        let good = |key: &Vec<u8>| signature::verify(key, SET_CONTEXT, &set.body, &set.signature);
        if !self.public_keys.iter().any(good) {
            return None;
        }
        let unsaved = self.verified_unsaved(&set.unsaved, &set.unsaved_signature);
        let unsaved = unsaved.map(|(unsaved, _)| unsaved).unwrap_or_default();
        Some(Found { body: v1::KillBody::decode(set.body.as_slice()).ok()?, unsaved })
    }

    /// Takes what another replica has ordered and Postgres does not know.
    pub(super) fn borrow(&self, copy: &Found, now: Timestamp) {
        let mut state = self.state.lock();
        let mut changed = state.take_over(&copy.unsaved, now);
        let entries = copy.body.entries.iter();
        let borrowed: Vec<_> =
            entries.filter(|kill| is_fresh(kill, now) && !state.knows(kill)).cloned().collect();
        changed |= borrowed != state.borrowed;
        state.borrowed = borrowed;
        if changed {
            self.sign(&mut state);
        }
    }

    /// Whether the copy has what has ended here.
    pub(super) fn has_what_was_dropped(&self, copy: &Found) -> bool {
        let state = self.state.lock();
        copy.body.entries.iter().any(|kill| state.has_dropped(kill))
            || copy.unsaved.iter().any(|unsaved| state.dropped.contains(&unsaved.kill.id))
    }

    /// Whether the copy has everything that has no row and that this replica knows of.
    pub(super) fn knows_no_more_than(&self, copy: &Found) -> bool {
        let known = |unsaved: &Unsaved| copy.unsaved.iter().any(|copied| copied.kill.id == unsaved.kill.id);
        self.state.lock().unsaved.iter().all(known)
    }
}

/// What the copy says.
#[derive(Debug, Default)]
pub(super) struct Found {
    body: v1::KillBody,
    pub(super) unsaved: Vec<Unsaved>,
}

impl State {
    /// Takes what another replica has ordered and nothing here knows of. Whether there was any.
    pub(super) fn take_over(&mut self, unsaved: &[Unsaved], now: Timestamp) -> bool {
        let mut changed = false;
        for unsaved in unsaved {
            let kill = unsaved.kill.write();
            changed |= is_fresh(&kill, now) && !self.knows(&kill) && self.wait_for_row(unsaved.clone());
        }
        changed
    }

    /// Whether Postgres, or an order given here, already says what is to be done about this kill.
    fn knows(&self, kill: &v1::KillEntry) -> bool {
        let read = self.read.as_ref();
        read.is_some_and(|read| {
            read.lifted.contains(&kill.id) || read.entries.iter().any(|entry| entry.id == kill.id)
        }) || self.unsaved.iter().any(|unsaved| unsaved.kill.id.uuid().as_bytes()[..] == kill.id)
            || self.has_dropped(kill)
    }

    /// Whether it has ended without ever having had a row.
    fn has_dropped(&self, kill: &v1::KillEntry) -> bool {
        self.dropped.iter().any(|id| id.uuid().as_bytes()[..] == kill.id)
    }
}

fn is_fresh(kill: &v1::KillEntry, now: Timestamp) -> bool {
    now.since(Timestamp::from_micros(kill.at_micros)) < BORROWED_FOR
}

/// Whether the copy lacks something that this replica has signed.
fn says_more(ours: &Signed, copy: &v1::KillBody) -> bool {
    let Ok(body) = v1::KillBody::decode(ours.set.body.as_slice()) else { return false };
    body.epoch > copy.epoch || body.entries.iter().any(|entry| !copy.entries.contains(entry))
}

#[cfg(test)]
mod tests {
    use crypto::FileKek;
    use seams::SeededEntropy;

    use super::*;
    use crate::secrets::Secrets;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn kills(seed: u64, epoch: u64) -> Kills {
        let file = FileKek::generate_file(&SeededEntropy::new(seed));
        let kills = Kills::new(&Secrets::from_master_key(&file).unwrap(), None).unwrap();
        let mut state = kills.state.lock();
        state.read = Some(v1::KillBody { epoch, ..v1::KillBody::default() });
        kills.sign(&mut state);
        drop(state);
        kills
    }

    fn entry(n: u8, at: Timestamp) -> v1::KillEntry {
        let level = v1::KillLevel::Fleet.into();
        v1::KillEntry { id: vec![n; 16], level, at_micros: at.micros(), ..v1::KillEntry::default() }
    }

    fn signed(kills: &Kills) -> (Arc<Signed>, v1::KillBody) {
        let signed = kills.subscribe().borrow().clone().unwrap();
        let body = v1::KillBody::decode(signed.set.body.as_slice()).unwrap();
        (signed, body)
    }

    #[test]
    fn what_another_replica_ordered_is_pushed_from_here_until_postgres_knows_better() {
        let kills = kills(1, 5);
        let stale = Timestamp::from_micros(NOW.micros() - BORROWED_FOR.as_micros() as u64);
        let (fresh, stale) = (entry(1, NOW), entry(2, stale));
        let body = v1::KillBody { epoch: 4, entries: vec![fresh.clone(), stale], ..v1::KillBody::default() };
        let copy = Found { body, unsaved: Vec::new() };
        kills.borrow(&copy, NOW);
        let (first, body) = signed(&kills);
        assert_eq!((body.epoch, body.entries), (5, vec![fresh.clone()]));
        kills.borrow(&copy, NOW);
        assert_eq!(signed(&kills).0.serial, first.serial, "nothing new");
        kills.state.lock().read.as_mut().unwrap().lifted.push(fresh.id);
        kills.borrow(&copy, NOW);
        assert_eq!(signed(&kills).1.entries, []);
    }

    #[test]
    fn the_copy_is_written_when_it_lacks_something_and_only_ours_counts() {
        let (ours, later, foreign) = (kills(1, 5), kills(1, 6), kills(2, 5));
        let (ours_signed, ours_body) = signed(&ours);
        assert!(!says_more(&ours_signed, &ours_body));
        assert!(says_more(&signed(&later).0, &ours_body));
        assert!(!says_more(&ours_signed, &signed(&later).1));
        let body = v1::KillBody { entries: vec![entry(1, NOW)], ..v1::KillBody::default() };
        ours.borrow(&Found { body, unsaved: Vec::new() }, NOW);
        assert!(says_more(&signed(&ours).0, &signed(&later).1), "an unsaved kill of a replica that lags");
        let value = ours_signed.set.encode_to_vec();
        assert!(ours.verified(&value).is_some() && later.verified(&value).is_some());
        assert!(foreign.verified(&value).is_none() && ours.verified(b"noise").is_none());
    }
}
