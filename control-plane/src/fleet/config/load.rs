//! Reading what a stream is to send: what changed since what the proxy holds, or the whole tenant.
//!
//! A change concerns every proxy of its pool in the same moment, and most of them hold the same revision: what one stream has
//! read, the others of this replica are given too.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use crypto::{DataKey, SealError};
use ids::{PoolId, TenantId};
use parking_lot::Mutex;
use seams::Monotonic;
use tokio::sync::{OnceCell, Semaphore};
use wire::{
    global::SCOPE,
    snapshot::delta,
    stream::server::{Delta, Input, Load, LoadFailure, Snapshot},
    v1,
};

use super::queries::{self, StoredChanges, StoredSnapshot, WrappedKey};
use crate::{app::Core, db::StoreError, global};

/// Snapshots read at once by all streams of a replica: a fleet that reconnects must not take all connections.
const LOADS: usize = 4;
/// What was read is given to others for so long: as a fleet that lacks everything needs for it, one proxy after the other.
const KEPT: Duration = Duration::from_secs(10);
/// So many of them, each of at most so many bytes, and all of so many.
const KEPT_MOST: usize = 8_192;
const KEPT_BYTES: usize = 256 << 10;
const KEPT_ALL_BYTES: usize = 32 << 20;

/// What one stream asked for. What is found is a function of it, of the moment, and of nothing else.
type Key = (PoolId, Load);

#[derive(Debug, Clone)]
enum Found {
    Changes(Delta),
    Whole(Snapshot),
    /// It vanished; the hub will say so.
    Nothing,
}

type Cell = Arc<OnceCell<Found>>;

/// What was read lately, and what is being read.
#[derive(Debug, Default)]
struct Shelf {
    kept: HashMap<Key, Kept>,
    /// In the order in which they began to be read.
    order: VecDeque<(Monotonic, Key)>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    since: Monotonic,
    cell: Cell,
    /// Once it has been read.
    bytes: usize,
}

/// Reads for all streams of a replica.
#[derive(Debug)]
pub(super) struct Loader {
    core: Core,
    turns: Semaphore,
    shelf: Mutex<Shelf>,
}

impl Loader {
    pub(super) fn new(core: Core) -> Arc<Self> {
        Arc::new(Self { core, turns: Semaphore::new(LOADS), shelf: Mutex::default() })
    }

    /// What there is for a proxy of `pool`.
    pub(super) async fn load(self: Arc<Self>, pool: PoolId, what: Load) -> Input {
        let tenant = what.tenant;
        let key = (pool, what);
        // All who ask for the same wait for one of them to read it.
        let cell = self.shelf.lock().cell(key, self.core.clock.monotonic());
        let found = cell.get_or_try_init(|| self.find(pool, what)).await;
        self.shelf.lock().read(&key, &cell, found.ok().map(Found::size));
        match found {
            Ok(Found::Changes(delta)) => Input::LoadedDelta(tenant, delta.clone()),
            Ok(Found::Whole(snapshot)) => Input::Loaded(tenant, snapshot.clone()),
            Ok(Found::Nothing) => Input::NotLoaded(tenant, LoadFailure::Broken),
            Err(failure) => Input::NotLoaded(tenant, failure),
        }
    }

    async fn find(&self, pool: PoolId, what: Load) -> Result<Found, LoadFailure> {
        let tenant = what.tenant;
        let _turn = self.turns.acquire().await.map_err(|_| LoadFailure::Unavailable)?;
        self.read(pool, what).await.map_err(|error| match error {
            LoadError::Store(error @ StoreError::Unavailable(_)) => {
                tracing::warn!(portcullis.tenant.id = %tenant, error.cause = %error, "snapshot cannot be read");
                LoadFailure::Unavailable
            }
            LoadError::Store(error) => {
                tracing::error!(portcullis.tenant.id = %tenant, error.cause = %error, "snapshot cannot be read");
                LoadFailure::Broken
            }
            LoadError::Keys(error) => {
                tracing::error!(portcullis.tenant.id = %tenant, error.cause = %error, "tenant's data keys do not open");
                LoadFailure::Broken
            }
        })
    }

    async fn read(&self, pool: PoolId, what: Load) -> Result<Found, LoadError> {
        let tenant = what.tenant;
        let mut tx = self.core.store.stream().await?;
        if tenant == SCOPE {
            // The revision that this proxy is to have, not the newest; small enough to go whole.
            let found = global::queries::body(&mut tx, what.target.rev).await?;
            return Ok(found.map_or(Found::Nothing, |(version, body)| {
                Found::Whole(Snapshot::new(version, body.into(), Vec::new()))
            }));
        }
        if let Some(from) = what.from {
            match queries::changes(&mut tx, tenant, pool, from).await {
                Ok(Some(StoredChanges { version, changes, keys })) => {
                    let keys = self.open(tenant, keys)?;
                    return Ok(Found::Changes(Delta::new(from, version, changes, keys)));
                }
                Ok(None) => {}
                Err(error @ StoreError::Unavailable(_)) => return Err(error.into()),
                // The whole tenant does not need them.
                Err(error) => {
                    tracing::error!(portcullis.tenant.id = %tenant, error.cause = %error, "changes cannot be read");
                    // Two at once would wait for each other.
                    drop(tx);
                    tx = self.core.store.stream().await?;
                }
            }
        }
        Ok(match queries::snapshot(&mut tx, tenant, pool).await? {
            Some(StoredSnapshot { version, body, keys }) => {
                Found::Whole(Snapshot::new(version, body, self.open(tenant, keys)?))
            }
            None => Found::Nothing,
        })
    }

    fn open(&self, tenant: TenantId, keys: Vec<WrappedKey>) -> Result<Vec<v1::TenantKey>, SealError> {
        let keys = keys.into_iter().map(|key| {
            let opened = DataKey::unwrap(self.core.secrets.kek(), tenant, key.id, &key.wrapped)?;
            Ok(v1::TenantKey {
                id: key.id.uuid().as_bytes().to_vec(),
                material: opened.material.to_vec(),
                current: key.current,
            })
        });
        keys.collect()
    }
}

impl Shelf {
    /// Where it is, or will be.
    fn cell(&mut self, key: Key, now: Monotonic) -> Cell {
        while let Some((since, _)) = self.order.front()
            && (now.since(*since) >= KEPT || self.kept.len() >= KEPT_MOST)
        {
            self.drop_oldest();
        }
        if let Some(kept) = self.kept.get(&key) {
            return kept.cell.clone();
        }
        let cell = Cell::default();
        self.kept.insert(key, Kept { since: now, cell: cell.clone(), bytes: 0 });
        self.order.push_back((now, key));
        cell
    }

    /// It has been read, or could not be (`None`): what is large, or nothing, is for those alone who wait for it.
    fn read(&mut self, key: &Key, cell: &Cell, size: Option<usize>) {
        let Some(kept) = self.kept.get_mut(key).filter(|kept| Arc::ptr_eq(&kept.cell, cell)) else { return };
        match size.filter(|size| *size <= KEPT_BYTES) {
            // Each who waited says so.
            Some(size) => self.bytes += size - std::mem::replace(&mut kept.bytes, size),
            None => self.remove(key),
        }
        while self.bytes > KEPT_ALL_BYTES && !self.order.is_empty() {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((since, key)) = self.order.pop_front() else { return };
        // It may have gone before, and come again.
        if self.kept.get(&key).is_some_and(|kept| kept.since == since) {
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &Key) {
        self.bytes -= self.kept.remove(key).map_or(0, |kept| kept.bytes);
    }
}

impl Found {
    fn size(&self) -> usize {
        match self {
            Self::Changes(delta) => delta::size(&delta.changes),
            Self::Whole(snapshot) => snapshot.bytes.len(),
            Self::Nothing => 0,
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Keys(#[from] SealError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> Key {
        let target = wire::stream::Version { rev: 1, digest: [0; 32] };
        (
            PoolId::from_parts(1, [0; 10]),
            Load { tenant: TenantId::from_parts(n, [0; 10]), target, from: None },
        )
    }

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn what_was_read_is_for_all_proxies_for_a_while() {
        let mut shelf = Shelf::default();
        let first = shelf.cell(key(1), at(0));
        assert!(Arc::ptr_eq(&first, &shelf.cell(key(1), at(9_999))), "also while it is being read");
        shelf.read(&key(1), &first, Some(100));
        shelf.read(&key(1), &first, Some(100));
        assert_eq!(shelf.bytes, 100, "counted once");
        assert!(!Arc::ptr_eq(&first, &shelf.cell(key(1), at(10_000))));
        assert_eq!(shelf.bytes, 0);
        // What an earlier reading says is not of this one.
        shelf.read(&key(1), &first, None);
        assert_eq!(shelf.kept.len(), 1);
    }

    #[test]
    fn what_is_large_or_failed_is_not_kept_and_the_oldest_make_room() {
        let mut shelf = Shelf::default();
        for size in [None, Some(KEPT_BYTES + 1)] {
            let cell = shelf.cell(key(0), at(0));
            shelf.read(&key(0), &cell, size);
            assert!(shelf.kept.is_empty());
        }
        let fit = (KEPT_ALL_BYTES / KEPT_BYTES) as u64;
        for n in 1..=fit + 1 {
            let cell = shelf.cell(key(n), at(n));
            shelf.read(&key(n), &cell, Some(KEPT_BYTES));
        }
        assert_eq!((shelf.kept.len() as u64, shelf.bytes), (fit, KEPT_ALL_BYTES));
        assert!(!shelf.kept.contains_key(&key(1)) && shelf.kept.contains_key(&key(2)));
        for n in 0..2 * KEPT_MOST as u64 {
            shelf.cell(key(1_000 + n), at(fit + n / 10));
        }
        assert!(shelf.kept.len() <= KEPT_MOST && shelf.order.len() <= KEPT_MOST + 2);
    }
}
