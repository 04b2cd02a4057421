//! The kill switch and revoked credentials: kept in Postgres, signed, and pushed by every replica to the proxies connected
//! to it.
//!
//! A poll is the truth and a notification only brings it forward, as with revisions ([`crate::publish::hub`]), with one
//! difference: an operator's kill needs no Postgres. What is ordered while it is away ([`Kills::order_now`]) is signed and
//! pushed at once, and its row is written when Postgres is back, by whichever replica knows of it ([`unsaved`]).

mod acks;
mod file;
mod issuance;
mod queries;
mod shared;
mod unsaved;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crypto::SigningKey;
use ids::{KillId, ProxyId};
use parking_lot::Mutex;
use prost::Message as _;
use seams::Timestamp;
use tokio::sync::watch;
use wire::{
    kill::{Credential, MAX_KILLS, MAX_REVOKED, SET_CONTEXT, TOKENS_KEPT, Target},
    v1::{self, KillLevel},
};

pub use acks::{Acknowledgement, ProxyAcknowledgement, ProxyState, acknowledgement, wait};
pub(crate) use queries::through;
pub use unsaved::{Full, ORDERED_BY, Unsaved};

use crate::{
    app::Core,
    db::{OperatorTx, StoreError, TenantTx},
    publish::hub::Hub,
    secrets::Secrets,
};

/// Between polls where no notification comes, ±20 %: with a proxy's own time this stays well below the promised second.
const POLL: Duration = Duration::from_millis(400);
/// How long something urgent waits for Postgres to answer, and how long when it did not answer the last time.
const PATIENCE: Duration = Duration::from_secs(2);
const PATIENCE_AWAY: Duration = Duration::from_millis(100);
/// Lifts that every message repeats: a proxy that missed more of them, being away, keeps what they lifted until it is lifted
/// again.
const LIFTS: i64 = 4_096;
/// How long a revoked credential is told of. Longer than any proxy serves from old configuration.
const REVOKED_FOR: Duration = Duration::from_secs(48 * 60 * 60);
/// Kills in force that a tenant's own tokens may have made. Whoever wants to stop more stops what they are part of.
const MOST_OF_TENANT: usize = 256;
/// Kills in force of which tenants make no more,
const ROOM_FOR_TENANTS: usize = MAX_KILLS / 2;
/// but for the first few of each: those that have many leave room for those that have none.
const ASSURED: usize = 8;
/// And so many, of which they make none at all, so that there is always room for operators'.
const ROOM_FOR_ASSURED: usize = MAX_KILLS / 4 * 3;

/// A signed set, and its place in what this replica has signed.
#[derive(Debug)]
pub struct Signed {
    /// Counted from 1 by this replica: of two, the greater holds what the other does and more.
    pub serial: u64,
    /// Of the body.
    pub epoch: u64,
    /// Without a nonce.
    pub set: v1::KillSet,
}

/// How far a proxy is with one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Progress {
    proxy: ProxyId,
    /// The highest epoch it has in force.
    epoch: u64,
    live: bool,
    acked_at: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct State {
    /// As Postgres has it; `None` before it was first read.
    read: Option<v1::KillBody>,
    unsaved: Vec<Unsaved>,
    /// Of these, which had no row either, the tenant does not exist: they have ended. The newest of them.
    dropped: BTreeSet<KillId>,
    /// What the copy in Redis says of kills that Postgres does not know: other replicas' unsaved ones.
    borrowed: Vec<v1::KillEntry>,
    serial: u64,
    /// Who is given no tokens, as the set was last signed.
    stopped: HashSet<Target>,
    /// Proxies with kill streams here, and how many each has.
    streams: HashMap<ProxyId, usize>,
}

/// This replica's kill set.
#[derive(Debug)]
pub struct Kills {
    key: SigningKey,
    sealers: unsaved::Sealers,
    /// The one that signs first.
    public_keys: Vec<Vec<u8>>,
    state: Mutex<State>,
    /// The last attempt to read failed.
    store_away: AtomicBool,
    /// Where this replica keeps what has no row yet; `None`: nowhere.
    state_dir: Option<PathBuf>,
    /// What the file holds, where that is known; empty: there is none.
    written: Arc<tokio::sync::Mutex<Option<Vec<u8>>>>,
    /// The last attempt to write it failed.
    file_fails: AtomicBool,
    /// There is one that can neither be read nor be set aside.
    file_is_stuck: AtomicBool,
    signed: watch::Sender<Option<Arc<Signed>>>,
}

impl Kills {
    /// With what an earlier run has kept in `state_dir`; nothing else read yet.
    ///
    /// # Errors
    /// If the master key gives no signing key.
    pub fn new(
        secrets: &Secrets,
        state_dir: Option<PathBuf>,
    ) -> Result<Self, crypto::signature::SigningKeyError> {
        let seeds = secrets.kill_seeds();
        let keys = seeds.iter().map(|seed| SigningKey::from_seed(seed)).collect::<Result<Vec<_>, _>>()?;
        let public_keys = keys.iter().map(|key| key.public().to_vec()).collect();
        let key = keys.into_iter().next().ok_or(crypto::signature::SigningKeyError::Unusable)?;
        let kills = Self {
            key,
            sealers: unsaved::Sealers::new(secrets),
            public_keys,
            state: Mutex::default(),
            store_away: AtomicBool::new(false),
            state_dir,
            written: Arc::default(),
            file_fails: AtomicBool::new(false),
            file_is_stuck: AtomicBool::new(false),
            signed: watch::Sender::new(None),
        };
        kills.load_unsaved();
        Ok(kills)
    }

    /// Reads the set and goes on following it.
    ///
    /// # Errors
    /// [`StoreError`] if the first reading fails.
    pub async fn start(self: &Arc<Self>, core: &Core, hub: &Hub) -> Result<(), StoreError> {
        self.forget_what_has_a_row(core).await?;
        self.refresh(core).await?;
        core.tasks.spawn("kill set", self.clone().follow(core.clone(), hub.polls()));
        if let Some(link) = core.redis.clone() {
            core.tasks.spawn("shared kill set", self.clone().share(core.clone(), link));
        }
        Ok(())
    }

    /// Every set that is signed from now on, and the present one.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<Signed>>> {
        self.signed.subscribe()
    }

    /// How long something urgent waits for Postgres: not long once it is known to be away.
    #[must_use]
    pub fn patience(&self) -> Duration {
        if self.store_away.load(Ordering::Relaxed) { PATIENCE_AWAY } else { PATIENCE }
    }

    /// The highest epoch that was read here; 0 before the first.
    fn epoch(&self) -> u64 {
        self.state.lock().read.as_ref().map_or(0, |body| body.epoch)
    }

    /// Whether a tenant may make one more kill that has so many in force.
    #[must_use]
    pub fn has_room_for(&self, own: usize) -> bool {
        has_room(self.state.lock().read.as_ref().map_or(0, |body| body.entries.len()), own)
    }

    /// After a committed change: pushes it from here, and wakes the other replicas.
    pub async fn changed(&self, core: &Core) {
        if let Err(error) = self.refresh(core).await {
            tracing::warn!(error.cause = %error, "a committed kill waits for the next poll");
        }
        if let Err(error) = core.store.wake().await {
            tracing::debug!(error.cause = %error, "wake-up was not sent");
        }
    }

    async fn follow(self: Arc<Self>, core: Core, mut polls: watch::Receiver<u64>) {
        let stopping = core.tasks.stopping();
        loop {
            let extra = u64::from_le_bytes(core.entropy.bytes()) % (POLL.as_millis() as u64 * 2 / 5 + 1);
            let pause = POLL * 4 / 5 + Duration::from_millis(extra);
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                polled = polls.changed() => if polled.is_err() {
                    return;
                },
            }
            // What others stored is read also while something of this replica's cannot be.
            let turn = async {
                let turned = self.save(&core).await.and(self.refresh(&core).await);
                self.keep_in_time().await;
                turned
            };
            let turned = tokio::select! {
                () = stopping.cancelled() => return,
                turned = turn => turned,
            };
            self.store_away.store(turned.is_err(), Ordering::Relaxed);
            if let Err(error) = turned {
                // That Postgres is away is told by the hub, once.
                tracing::debug!(error.cause = %error, "kill set cannot be read; proxies keep what they have");
            }
        }
    }

    /// Reads the set if its epoch has moved.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn refresh(&self, core: &Core) -> Result<(), StoreError> {
        let mut tx = core.store.operator().await?;
        let known = self.state.lock().read.as_ref().map(|body| body.epoch);
        if known == Some(queries::epoch(&mut tx).await?) {
            return Ok(());
        }
        let now = core.clock.now().to_offset();
        let revoked = (now - REVOKED_FOR, now - TOKENS_KEPT, MAX_REVOKED as i64);
        let body = queries::body(&mut tx, LIFTS, revoked).await?;
        drop(tx);
        let mut state = self.state.lock();
        // Another reading may have been faster.
        if state.read.as_ref().is_none_or(|read| read.epoch < body.epoch) {
            state.read = Some(body);
            self.sign(&mut state);
        }
        Ok(())
    }

    /// Signs what there is now, and gives it to the streams.
    fn sign(&self, state: &mut State) {
        let Some(read) = &state.read else { return };
        let mut body = read.clone();
        let unsaved = state.unsaved.iter().map(|unsaved| unsaved.kill.write());
        for kill in unsaved.chain(state.borrowed.iter().cloned()) {
            if !read.lifted.contains(&kill.id) && body.entries.iter().all(|entry| entry.id != kill.id) {
                body.entries.push(kill);
            }
        }
        state.serial += 1;
        state.stopped = issuance::stopped(&body);
        let bytes = body.encode_to_vec();
        let (unsaved, unsaved_signature) = self.signed_unsaved(state);
        let set = v1::KillSet {
            signature: self.key.sign(SET_CONTEXT, &bytes).to_vec(),
            body: bytes,
            public_keys: self.public_keys.clone(),
            unsaved,
            unsaved_signature,
            ..v1::KillSet::default()
        };
        self.signed.send_replace(Some(Arc::new(Signed { serial: state.serial, epoch: body.epoch, set })));
    }
}

fn has_room(in_force: usize, own: usize) -> bool {
    own < MOST_OF_TENANT && (in_force < ROOM_FOR_TENANTS || (own < ASSURED && in_force < ROOM_FOR_ASSURED))
}

/// A credential is dead from now on, whatever configuration still has it. Late in the transaction: it holds up other changes
/// of the kill set from here to the commit.
///
/// # Errors
/// [`StoreError`].
pub async fn revoke(
    tx: &mut TenantTx,
    kills: &Kills,
    credential: Credential,
    now: Timestamp,
) -> Result<(), StoreError> {
    let epoch = queries::raise_in_tenant(tx, kills.epoch()).await?;
    queries::revoke(tx, credential, now.to_offset(), epoch).await
}

/// The next epoch, for a change of a tenant's kills; as [`revoke`].
///
/// # Errors
/// [`StoreError`].
pub async fn raise_in_tenant(tx: &mut TenantTx, kills: &Kills) -> Result<u64, StoreError> {
    queries::raise_in_tenant(tx, kills.epoch()).await
}

/// The next epoch, for a change of any kills; as [`revoke`].
///
/// # Errors
/// [`StoreError`].
pub async fn raise_as_operator(tx: &mut OperatorTx, kills: &Kills) -> Result<u64, StoreError> {
    queries::raise_as_operator(tx, kills.epoch()).await
}

/// Deletes revocations that nobody needs any more.
///
/// # Errors
/// [`StoreError`].
pub async fn forget(core: &Core) -> Result<(), StoreError> {
    let now = core.clock.now().to_offset();
    let mut tx = core.store.operator().await?;
    let before = (now - REVOKED_FOR, now - TOKENS_KEPT);
    let forgotten = queries::forget_revocations(&mut tx, before).await?;
    tx.commit().await?;
    tracing::debug!(forgotten, "revocations of the past deleted");
    Ok(())
}

/// A level as it is stored and written.
#[must_use]
pub const fn level_name(level: KillLevel) -> &'static str {
    match level {
        KillLevel::Fleet | KillLevel::Unspecified => "fleet",
        KillLevel::Tenant => "tenant",
        KillLevel::Endpoint => "endpoint",
        KillLevel::Upstream => "upstream",
        KillLevel::Tool => "tool",
        KillLevel::Client => "client",
        KillLevel::Key => "key",
        KillLevel::Principal => "principal",
    }
}

fn level_of(name: &str) -> Option<KillLevel> {
    Some(match name {
        "fleet" => KillLevel::Fleet,
        "tenant" => KillLevel::Tenant,
        "endpoint" => KillLevel::Endpoint,
        "upstream" => KillLevel::Upstream,
        "tool" => KillLevel::Tool,
        "client" => KillLevel::Client,
        "key" => KillLevel::Key,
        "principal" => KillLevel::Principal,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_many_kills_leaves_room_for_who_has_none() {
        assert!(has_room(0, MOST_OF_TENANT - 1) && !has_room(0, MOST_OF_TENANT));
        assert!(has_room(ROOM_FOR_TENANTS - 1, ASSURED) && !has_room(ROOM_FOR_TENANTS, ASSURED));
        assert!(has_room(ROOM_FOR_TENANTS, ASSURED - 1) && !has_room(ROOM_FOR_ASSURED, 0));
    }
}
