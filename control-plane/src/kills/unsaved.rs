//! Kills that were ordered while Postgres was away, until they have their rows: in memory, in a file of this replica's own, and for the
//! others in Redis and at every proxy that was told of them, which gives them to whichever replica it connects to next.
//!
//! Every replica that knows of one writes its row as soon as it can; the kill's id makes writing it twice harmless. So a
//! kill's record is lost only with the disks and the memory of all that heard of it, proxies included.

mod record;

use std::{
    io,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crypto::signature;
use ids::KillId;
use seams::{Entropy, Timestamp};
use telemetry::metric;
use wire::kill::{Kill, Target, UNSAVED_CONTEXT};

pub(super) use self::record::Sealers;
pub use self::record::Unsaved;
use super::{Kills, State, file, queries};
use crate::{
    app::Core,
    audit::{Act, ending::Ending},
    db::StoreError,
    publish::commit::commit_operator,
};

/// The operation by which they are ordered.
pub const ORDERED_BY: &str = "create_any_kill";
/// Kills that may wait for their rows: what is kept on disk and in Redis has a bound.
const MOST: usize = 512;
/// More of them, at level fleet: what stops everything always finds room.
const MOST_OF_FLEET: usize = 16;
/// Kills remembered that were dropped.
const MOST_DROPPED: usize = 4_096;
/// How long an answer waits for the disk. What it says is in force before.
const DISK_PATIENCE: Duration = Duration::from_secs(2);

/// What became of one.
enum Saved {
    /// It has its row.
    Row,
    /// It names a tenant that does not exist.
    NoTenant,
}

/// Too many kills wait for their rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many kills wait for Postgres")]
pub struct Full;

impl State {
    /// Another one, with the next set that is signed. `false` when there is no room.
    pub(super) fn wait_for_row(&mut self, unsaved: Unsaved) -> bool {
        let room = if unsaved.kill.target == Target::Fleet { MOST + MOST_OF_FLEET } else { MOST };
        let fits = self.unsaved.len() < room;
        if fits {
            self.unsaved.push(Unsaved { serial: self.serial + 1, ..unsaved });
        }
        fits
    }
}

impl Kills {
    /// What an earlier run has kept. A file that cannot be used stops nothing: it is told of and set aside.
    pub(super) fn load_unsaved(&self) {
        let Some(dir) = &self.state_dir else {
            tracing::warn!(
                "no state directory: a kill ordered while Postgres is away is forgotten if this process ends before it is back"
            );
            return;
        };
        match self.read_file(dir) {
            Ok(found) => {
                if !found.is_empty() {
                    tracing::warn!(kills = found.len(), "kills of an earlier run have no rows yet");
                }
                let mut state = self.state.lock();
                // Its length had a bound when it was written.
                state.unsaved = found;
                metrics::gauge!(metric::KILLS_UNSAVED).set(state.unsaved.len() as f64);
            }
            Err(error) => match file::set_aside(dir) {
                Ok(path) => tracing::error!(
                    error.cause = %error,
                    file = %path.display(),
                    "kept kills cannot be read: they may have no record; the file was set aside"
                ),
                Err(aside) => {
                    // It stays, so nothing may be written in its place.
                    self.file_is_stuck.store(true, Ordering::Relaxed);
                    tracing::error!(
                        error.cause = %error,
                        error.set_aside = %aside,
                        "kept kills cannot be read, nor be set aside: they may have no record, and none is kept now"
                    );
                }
            },
        }
        let unreadable = file::unreadable(dir);
        let stuck = usize::from(self.file_is_stuck.load(Ordering::Relaxed));
        metrics::gauge!(metric::KILL_FILES_UNREADABLE).set((unreadable.len() + stuck) as f64);
        for path in unreadable {
            tracing::error!(
                file = %path.display(),
                "a file of kept kills could not be read: compare with what is killed at the proxies, then delete it"
            );
        }
    }

    fn read_file(&self, dir: &Path) -> io::Result<Vec<Unsaved>> {
        let Some((body, signature)) = file::load(dir)? else { return Ok(Vec::new()) };
        match self.verified_unsaved(&body, &signature) {
            Some((found, true)) => Ok(found),
            _ => Err(file::damaged()),
        }
    }

    /// Those that one of the installation's keys signed, and whether this build knows them all.
    pub(super) fn verified_unsaved(&self, body: &[u8], signature: &[u8]) -> Option<(Vec<Unsaved>, bool)> {
        let good = |key: &Vec<u8>| signature::verify(key, UNSAVED_CONTEXT, body, signature);
        self.public_keys.iter().any(good).then(|| self.sealers.decode(body))
    }

    /// The bytes and their signature, for whoever is to keep them; both empty when there are none.
    pub(super) fn signed_unsaved(&self, state: &State) -> (Vec<u8>, Vec<u8>) {
        let body = record::encode(&state.unsaved);
        if body.is_empty() {
            return (body, Vec::new());
        }
        let signature = self.key.sign(UNSAVED_CONTEXT, &body).to_vec();
        (body, signature)
    }

    /// Orders a kill without Postgres. When this returns it is on its way to every proxy connected here, and kept on disk as
    /// far as that can be had soon.
    ///
    /// # Errors
    /// [`Full`]; it is not ordered then.
    pub async fn order_now(
        &self,
        kill: Kill,
        reason: String,
        act: Act,
        entropy: &dyn Entropy,
    ) -> Result<(), Full> {
        // Whatever the request wanted of its own transaction: this row is written in another one.
        let act = Act { ending: Ending::Commit, ..act };
        let unsaved = self.sealers.unsaved(kill, reason, act, entropy);
        {
            let mut state = self.state.lock();
            if !state.wait_for_row(unsaved) {
                return Err(Full);
            }
            self.sign(&mut state);
        }
        self.keep_in_time().await;
        Ok(())
    }

    /// Takes what a proxy gives back: a replica that is gone may have left it nowhere else. What nobody of this installation has
    /// signed is nothing.
    pub async fn given_back(&self, body: &[u8], signature: &[u8], now: Timestamp) {
        if body.is_empty() {
            return;
        }
        let Some((unsaved, _)) = self.verified_unsaved(body, signature) else {
            tracing::error!("kills without rows that a proxy gave back are not ours; ignored");
            return;
        };
        {
            let mut state = self.state.lock();
            if state.take_over(&unsaved, now) {
                self.sign(&mut state);
            }
        }
        self.keep_in_time().await;
    }

    /// As [`Self::keep`], but a disk that hangs holds nothing else up.
    pub(super) async fn keep_in_time(&self) {
        if tokio::time::timeout(DISK_PATIENCE, self.keep()).await.is_err() {
            tracing::error!(
                "kills without rows are in force and the disk does not take them; it is tried again"
            );
        }
    }

    /// Before the first set is signed: what another replica has stored meanwhile may have been lifted since.
    pub(super) async fn forget_what_has_a_row(&self, core: &Core) -> Result<(), StoreError> {
        let waiting: Vec<_> = self.state.lock().unsaved.iter().map(|unsaved| unsaved.kill.id).collect();
        if waiting.is_empty() {
            return Ok(());
        }
        let mut tx = core.store.operator().await?;
        for id in waiting {
            if queries::exists(&mut tx, id).await? {
                self.state.lock().unsaved.retain(|unsaved| unsaved.kill.id != id);
            }
        }
        Ok(())
    }

    /// A kill that has no row yet.
    #[must_use]
    pub fn unsaved(&self, id: KillId) -> Option<Unsaved> {
        self.state.lock().unsaved.iter().find(|unsaved| unsaved.kill.id == id).cloned()
    }

    /// Brings the file up to date. What it cannot keep is told once.
    pub(super) async fn keep(&self) {
        let Some(dir) = self.state_dir.clone() else { return };
        let mut written = Arc::clone(&self.written).lock_owned().await;
        let (body, signature) = self.signed_unsaved(&self.state.lock());
        metrics::gauge!(metric::KILLS_UNSAVED).set(self.state.lock().unsaved.len() as f64);
        if written.as_ref() == Some(&body) {
            return;
        }
        let stuck = self.file_is_stuck.load(Ordering::Relaxed);
        // The lock goes with the write: whoever waits for it may be gone before it ends.
        let writing = move || {
            if stuck {
                return Err(io::Error::other("an unreadable file is in its place"));
            }
            if body.is_empty() {
                file::remove(&dir)?
            } else {
                file::save(&dir, &body, &signature)?
            }
            *written = Some(body);
            Ok(())
        };
        let kept = tokio::task::spawn_blocking(writing).await;
        let kept = kept.unwrap_or_else(|error| Err(io::Error::other(error)));
        let failing = kept.is_err();
        if let Err(error) = kept
            && !self.file_fails.swap(failing, Ordering::Relaxed)
        {
            tracing::error!(error.cause = %error, "kills without rows are in force and cannot be kept on disk");
        } else if !failing {
            self.file_fails.store(false, Ordering::Relaxed);
        }
    }

    /// Writes the rows that are missing. One that is written leaves the list when the set has been read with it, so that no
    /// signed set is without it. One that cannot be written does not hold up another.
    pub(super) async fn save(self: &Arc<Self>, core: &Core) -> Result<(), StoreError> {
        let waiting = self.state.lock().unsaved.clone();
        let mut result = Ok(());
        let mut saved = false;
        for unsaved in waiting {
            match self.save_one(core, &unsaved).await {
                Ok(Saved::Row) => {
                    self.refresh(core).await?;
                    self.state.lock().unsaved.retain(|kept| kept.kill.id != unsaved.kill.id);
                    saved = true;
                }
                Err(error @ StoreError::Unavailable(_)) => {
                    result = Err(error);
                    break;
                }
                Ok(Saved::NoTenant) => self.drop_unsaved(&unsaved),
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(kill = %unsaved.kill.id, error.cause = cause, %error, "a kill's row cannot be written");
                    result = Err(error);
                }
            }
        }
        if saved {
            // Nobody need keep it any more.
            self.sign(&mut self.state.lock());
        }
        result
    }

    async fn save_one(&self, core: &Core, unsaved: &Unsaved) -> Result<Saved, StoreError> {
        let mut tx = core.store.operator().await?;
        // Before the answer to an earlier attempt was lost, or by another replica.
        if queries::exists(&mut tx, unsaved.kill.id).await? {
            return Ok(Saved::Row);
        }
        let epoch = queries::raise_as_operator(&mut tx, self.epoch()).await?;
        let by = (unsaved.reason.as_str(), unsaved.act.actor.to_string());
        if !queries::insert_late(&mut tx, &unsaved.kill, (by.0, &by.1), epoch).await? {
            // Another replica was faster while this one waited for the epoch.
            let exists = queries::exists(&mut tx, unsaved.kill.id).await?;
            return Ok(if exists { Saved::Row } else { Saved::NoTenant });
        }
        let acked = self.unsaved(unsaved.kill.id).map(|unsaved| unsaved.acked).unwrap_or_default();
        for (proxy, at) in acked {
            queries::acknowledged_before(&mut tx, epoch, proxy, at.to_offset()).await?;
        }
        commit_operator(tx, core, &unsaved.act, None).await?;
        tracing::info!(kill = %unsaved.kill.id, epoch, "a kill ordered without Postgres has its row");
        Ok(Saved::Row)
    }

    /// Ends a kill that names no tenant there is: nothing to stop, nowhere to write it. It is not taken from other replicas, or
    /// from the copy in Redis, again.
    pub(super) fn drop_unsaved(&self, unsaved: &Unsaved) {
        let id = unsaved.kill.id;
        let mut state = self.state.lock();
        state.unsaved.retain(|kept| kept.kill.id != id);
        state.borrowed.retain(|entry| entry.id != id.uuid().as_bytes()[..]);
        state.dropped.insert(id);
        while state.dropped.len() > MOST_DROPPED {
            state.dropped.pop_first();
        }
        self.sign(&mut state);
        drop(state);
        tracing::error!(
            kill = %id,
            tenant.id = unsaved.kill.target.tenant().map(tracing::field::display),
            operator = %unsaved.act.actor,
            "a kill ordered without Postgres was dropped: its tenant does not exist"
        );
    }
}

#[cfg(test)]
mod tests;
