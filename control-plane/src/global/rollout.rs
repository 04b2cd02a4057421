//! The rollout's row, and what is done to it. Every function here works on a row that its transaction has locked.

use std::time::Duration;

use bytes::Bytes;
use ids::ProxyId;
use seams::Timestamp;
use wire::{global, v1::GlobalSnapshot};

use super::{STAGES, Stage, State, WHOLE, gate::Member, queries, share};
use crate::{
    app::Core,
    audit::{Act, Actor},
    db::{OperatorTx, StoreError, Unreadable},
    publish::commit::commit_global,
};

/// The row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// How far it is.
    pub state: State,
    /// The newest revision; 0: there was never any.
    pub target_rev: u64,
    /// What proxies outside the stage are to enforce; 0: what they were started with.
    pub stable_rev: u64,
    /// Whom the newest revision reaches.
    pub stage: Stage,
    /// Since when.
    pub stage_at: Timestamp,
    /// How long each stage has to hold.
    pub soak: Duration,
    /// Why it was halted or rolled back.
    pub reason: Option<String>,
}

/// A stored revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Its bytes, decoded.
    pub snapshot: GlobalSnapshot,
    /// Its digest, as stored.
    pub digest: [u8; 32],
}

impl Revision {
    /// What is in force where there is no revision.
    #[must_use]
    pub fn none() -> Self {
        let snapshot = GlobalSnapshot { schema: global::SCHEMA, ..GlobalSnapshot::default() };
        Self { digest: global::digest(&snapshot), snapshot }
    }

    pub(super) fn read(body: Vec<u8>, digest: Vec<u8>) -> Result<Self, Unreadable> {
        let snapshot =
            global::decode_exact(&Bytes::from(body)).map_err(|_| Unreadable("global configuration"))?;
        Ok(Self { snapshot, digest: digest.try_into().map_err(|_| Unreadable("digest"))? })
    }
}

/// The live proxy that tries a revision first: of those that take it, the one with the least share.
pub(super) fn first_of(fleet: &[Member]) -> Option<ProxyId> {
    let live = fleet.iter().filter(|member| member.live && member.takes_global).map(|member| member.proxy);
    live.min_by_key(|proxy| (share(*proxy), *proxy))
}

/// The next stage that reaches a live proxy more than `stage` does; the last one where none does. `None` after the last.
pub(super) fn next(stage: Stage, fleet: &[Member]) -> Option<Stage> {
    let reached = |stage: &Stage| {
        let tries = |each: &&Member| each.live && each.takes_global && stage.has(each.proxy);
        fleet.iter().filter(tries).count()
    };
    let later = STAGES.into_iter().filter(|percent| *percent > stage.percent);
    later
        .map(|percent| Stage { percent, ..stage })
        .find(|next| next.percent == WHOLE || reached(next) > reached(&stage))
}

/// Whether the revision changes how many connections an address may have.
pub(super) async fn bounds_connections(tx: &mut OperatorTx, rollout: &Rollout) -> Result<bool, StoreError> {
    let stable = match rollout.stable_rev {
        0 => Revision::none(),
        rev => queries::revision(tx, rev).await?,
    };
    // One that a newer build made, and that this one cannot read, may change anything.
    Ok(match queries::revision(tx, rollout.target_rev).await {
        Ok(target) => target.snapshot.connections_per_address != stable.snapshot.connections_per_address,
        Err(StoreError::Bug(_)) => true,
        Err(error) => return Err(error),
    })
}

/// Makes the next revision and begins to roll it out. What every proxy outside the stage has already goes to all at once: there
/// is nothing in it to be tried.
///
/// # Errors
/// [`StoreError`].
pub async fn begin(
    tx: &mut OperatorTx,
    rollout: &mut Rollout,
    content: GlobalSnapshot,
    repeats: Option<u64>,
    actor: Actor,
    now: Timestamp,
) -> Result<Revision, StoreError> {
    let snapshot = GlobalSnapshot { schema: global::SCHEMA, rev: rollout.target_rev + 1, ..content };
    let revision = Revision { digest: global::digest(&snapshot), snapshot };
    let body = global::encode(&snapshot);
    queries::insert(tx, snapshot.rev, &body, &revision.digest, repeats, &actor.to_string(), now).await?;
    let stable = match rollout.stable_rev {
        0 => Revision::none(),
        rev => queries::revision(tx, rev).await?,
    };
    let is_everywhere = stable.digest == revision.digest;
    rollout.target_rev = snapshot.rev;
    rollout.stage_at = now;
    rollout.reason = None;
    if is_everywhere {
        (rollout.state, rollout.stage) = (State::Complete, Stage::WHOLE);
        rollout.stable_rev = snapshot.rev;
    } else {
        let first = first_of(&queries::fleet(tx, now).await?);
        (rollout.state, rollout.stage) = (State::Rolling, Stage { percent: STAGES[0], first });
    }
    queries::store(tx, rollout).await?;
    Ok(revision)
}

/// On to the next stage, or to the end.
///
/// # Errors
/// [`StoreError`].
pub async fn promote(tx: &mut OperatorTx, rollout: &mut Rollout, now: Timestamp) -> Result<(), StoreError> {
    let fleet = queries::fleet(tx, now).await?;
    match next(rollout.stage, &fleet) {
        Some(stage) => {
            rollout.state = State::Rolling;
            rollout.stage = Stage { first: stage.first.or_else(|| first_of(&fleet)), ..stage };
        }
        None => {
            (rollout.state, rollout.stage) = (State::Complete, Stage::WHOLE);
            rollout.stable_rev = rollout.target_rev;
        }
    }
    (rollout.stage_at, rollout.reason) = (now, None);
    queries::store(tx, rollout).await
}

/// Takes the stage's proxies back to what all others have.
///
/// # Errors
/// [`StoreError`].
pub async fn roll_back(
    tx: &mut OperatorTx,
    rollout: &mut Rollout,
    reason: String,
    actor: Actor,
    now: Timestamp,
) -> Result<(), StoreError> {
    let content = match rollout.stable_rev {
        0 => Revision::none(),
        rev => queries::revision(tx, rev).await?,
    };
    let repeats = (rollout.stable_rev > 0).then_some(rollout.stable_rev);
    begin(tx, rollout, content.snapshot, repeats, actor, now).await?;
    (rollout.state, rollout.reason) = (State::RolledBack, Some(reason));
    queries::store(tx, rollout).await
}

/// Commits what was done, with its record, and wakes the replicas.
///
/// # Errors
/// [`StoreError`].
pub async fn commit(tx: OperatorTx, core: &Core, act: &Act) -> Result<(), StoreError> {
    commit_global(tx, core, act).await
}
