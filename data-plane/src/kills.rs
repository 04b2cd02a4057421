//! What must stop, as this proxy knows it: in memory for every call to read, on disk for the next start.
//!
//! A request reads one number ([`Kills::turn`]); only while something is killed or revoked does it look further. The number
//! moves after what it stands for, and a change is acknowledged when every worker has seen it move and has woken what runs:
//! so no call is admitted, and none is sent to an upstream, after the acknowledgement of what stops it.

mod disk;
mod index;
mod orders;
mod seats;
mod shared;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::{ArcSwap, Guard};
use crypto::signature;
use parking_lot::Mutex;
use prost::Message as _;
use seams::Clock;
use telemetry::metric;
use tokio::sync::watch;
use wire::{
    kill::{KillSet, MAX_SET, ORDER_CONTEXT, OrderError, SET_CONTEXT, Unverified},
    v1,
};

pub(crate) use index::{KillIndex, Running, Shown};
pub(crate) use orders::follow_files;
pub(crate) use seats::Seat;
use seats::Seats;
pub(crate) use shared::follow_shared;

/// Keys of an installation: the one that signs, and while a rotation lasts the one before.
const MAX_KEYS: usize = 4;

/// What is known, and by whose signature more may come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Held {
    set: KillSet,
    public_keys: Vec<[u8; 32]>,
    /// Kills that have no row yet, as the control plane signed them for others of its kind: kept for them, and not looked at.
    unsaved: Vec<u8>,
    unsaved_signature: Vec<u8>,
}

/// The kill set of this proxy.
#[derive(Debug)]
pub(crate) struct Kills {
    /// Moves with every change; odd while anything is killed or revoked.
    turn: AtomicU64,
    index: ArcSwap<KillIndex>,
    turns: watch::Sender<u64>,
    /// Held while it changes; never by a call.
    held: Mutex<Held>,
    /// What the disk has.
    written: Arc<tokio::sync::Mutex<Held>>,
    /// Whether a set was ever received, in this run or an earlier one: before, nobody knows what must not be served.
    known: watch::Sender<bool>,
    seats: Seats,
    state_dir: PathBuf,
    order_key: Option<[u8; 32]>,
    clock: Arc<dyn Clock>,
}

impl Kills {
    /// What an earlier run kept in `state_dir`. A file that cannot be used counts as none: the proxy is not ready until the
    /// control plane has said what is killed. `order_key` checks offline orders.
    pub(crate) fn load(state_dir: PathBuf, order_key: Option<[u8; 32]>, clock: Arc<dyn Clock>) -> Self {
        let found = disk::load(&state_dir).unwrap_or_else(|error| {
            tracing::error!(error.cause = %error, "the kept kill set cannot be used; waiting for the control plane's");
            None
        });
        let held = found.unwrap_or_default();
        // The keys come with the control plane's first set; an order alone says nothing of what else is killed.
        let known = !held.public_keys.is_empty();
        let index = KillIndex::of(&held.set);
        let turn = u64::from(!index.is_empty());
        if known {
            tracing::info!(epoch = held.set.epoch(), kills = held.set.kills().count(), "kill set loaded");
        }
        index.meter();
        Self {
            turn: AtomicU64::new(turn),
            index: ArcSwap::from_pointee(index),
            turns: watch::Sender::new(turn),
            written: Arc::new(tokio::sync::Mutex::new(held.clone())),
            held: Mutex::new(held),
            known: watch::Sender::new(known),
            seats: Seats::default(),
            state_dir,
            order_key,
            clock,
        }
    }

    /// Which change is in force.
    pub(crate) fn turn(&self) -> u64 {
        self.turn.load(Ordering::SeqCst)
    }

    /// What to look for; `None` in the common case that there is nothing.
    pub(crate) fn look(&self) -> Option<Guard<Arc<KillIndex>>> {
        (self.turn() & 1 == 1).then(|| self.index.load())
    }

    /// Changes of [`Self::turn`].
    pub(crate) fn turns(&self) -> watch::Receiver<u64> {
        self.turns.subscribe()
    }

    /// Whether a set was ever received.
    pub(crate) fn known(&self) -> watch::Receiver<bool> {
        self.known.subscribe()
    }

    /// What is held may be older than what was held once: it stays in force, and counts as none until a control plane has spoken.
    pub(crate) fn doubt(&self) {
        if self.known.send_replace(false) {
            tracing::warn!(
                epoch = self.epoch(),
                "the kept kill set may be an old one; waiting for the control plane's"
            );
        }
    }

    /// The highest epoch the control plane's stream has brought.
    pub(crate) fn epoch(&self) -> u64 {
        self.held.lock().set.epoch()
    }

    /// What opens the stream: it gives back to whichever control plane what the last one had no row for.
    pub(crate) fn greeting(&self) -> v1::KillAck {
        let held = self.held.lock();
        let (unsaved, unsaved_signature) = (held.unsaved.clone(), held.unsaved_signature.clone());
        v1::KillAck { nonce: 0, epoch: held.set.epoch(), unsaved, unsaved_signature }
    }

    /// A place for a worker, which says what it has seen. Whoever has none is not waited for.
    pub(crate) fn seat(&self) -> Seat<'_> {
        self.seats.take(self.turn())
    }

    /// Takes what the control plane's stream says. `true` when all of it is in force on every worker and on disk: then it
    /// may be acknowledged.
    pub(crate) async fn follow(&self, message: &v1::KillSet) -> bool {
        let keys: Option<Vec<[u8; 32]>> =
            message.public_keys.iter().map(|key| key.as_slice().try_into().ok()).collect();
        let Some(keys) = keys.filter(|keys| keys.len() <= MAX_KEYS) else {
            return refused("its keys are none");
        };
        let Some(body) = verified(message, &keys) else {
            return refused("its signature or its body is wrong");
        };
        let fits = message.unsaved.len() <= MAX_SET;
        let taken = self
            .change(|held| {
                held.public_keys = keys;
                if fits {
                    held.unsaved.clone_from(&message.unsaved);
                    held.unsaved_signature.clone_from(&message.unsaved_signature);
                }
                held.set.follow(&body)
            })
            .await;
        // Also when not all of it could be taken: that it is not acknowledged is for operators to see.
        self.known.send_replace(true);
        taken
    }

    /// Whether a set can be checked that does not come by the stream.
    pub(crate) fn can_verify(&self) -> bool {
        !self.held.lock().public_keys.is_empty()
    }

    /// Takes the copy that all share, which may only add. `false` when it is none, or not all of it could be taken.
    pub(crate) async fn add(&self, bytes: &[u8]) -> bool {
        let keys = self.held.lock().public_keys.clone();
        let message = if bytes.len() <= MAX_SET { v1::KillSet::decode(bytes).ok() } else { None };
        let Some(body) = message.and_then(|message| verified(&message, &keys)) else {
            return refused("the shared copy's signature or body is wrong");
        };
        self.change(|held| held.set.add(&body)).await
    }

    /// Follows an order that was signed offline. It is in force everywhere here when this returns.
    ///
    /// # Errors
    /// [`OrderError`]; nothing has changed then.
    pub(crate) async fn obey(&self, text: &[u8]) -> Result<(), OrderError> {
        let key = self.order_key.ok_or(OrderError::NoKey)?;
        let order = Unverified::parse(text)?;
        if !signature::verify(&key, ORDER_CONTEXT, &order.body, &order.signature) {
            return Err(OrderError::Signature);
        }
        let order = order.read(self.clock.now())?;
        tracing::warn!(kill = ?order.kill, lifted = ?order.lifted, "following an offline order");
        if self.change(|held| held.set.obey(&order)).await { Ok(()) } else { Err(OrderError::Full) }
    }

    /// Makes a change, keeps it and waits until every worker has seen it. `false` when `change` says so, or it cannot be kept;
    /// what could be taken is in force all the same, and at once: it waits for neither the disk nor a worker.
    async fn change(&self, change: impl FnOnce(&mut Held) -> bool) -> bool {
        let (whole, turn) = {
            let mut held = self.held.lock();
            let before = held.clone();
            let whole = change(&mut held);
            if *held != before {
                self.put_in_force(&held);
            }
            (whole, self.turn())
        };
        let kept = self.keep().await;
        self.seats.all_have_seen(turn).await;
        whole && kept
    }

    /// For every call that looks from now on. Under the lock of what is held, so that changes follow each other.
    fn put_in_force(&self, held: &Held) {
        let index = KillIndex::of(&held.set);
        index.meter();
        let something = u64::from(!index.is_empty());
        self.index.store(Arc::new(index));
        // After what it stands for.
        let turn = (self.turn() | 1) + 1 + something;
        self.turn.store(turn, Ordering::SeqCst);
        self.turns.send_replace(turn);
    }

    /// Writes what is held now, which may be more than the change that asked for it.
    async fn keep(&self) -> bool {
        let mut written = Arc::clone(&self.written).lock_owned().await;
        let held = self.held.lock().clone();
        if *written == held {
            return true;
        }
        let state_dir = self.state_dir.clone();
        // The lock goes with the write: whoever waits for it may be gone before it ends.
        let writing = move || {
            disk::save(&state_dir, &held)?;
            *written = held;
            Ok::<_, io::Error>(())
        };
        match tokio::task::spawn_blocking(writing).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::error!(error.cause = %error, "kill set is in force and cannot be kept; it is not acknowledged");
                false
            }
            Err(_) => false,
        }
    }
}

/// The body, if one of `keys` signed it.
fn verified(message: &v1::KillSet, keys: &[[u8; 32]]) -> Option<v1::KillBody> {
    let good = |key: &[u8; 32]| signature::verify(key, SET_CONTEXT, &message.body, &message.signature);
    if !keys.iter().any(good) {
        return None;
    }
    v1::KillBody::decode(message.body.as_slice()).ok()
}

fn refused(reason: &'static str) -> bool {
    metrics::counter!(metric::KILL_SETS_REFUSED).increment(1);
    tracing::error!(reason, "a kill set was ignored");
    false
}
