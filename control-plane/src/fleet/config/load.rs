//! Reading what a stream is to send: what changed since what the proxy holds, or the whole tenant.
//!
//! A change concerns every proxy of its pool in the same moment, and most of them hold the same revision: what one stream has
//! read, the others of this replica are given too.

use std::{collections::HashMap, sync::Arc, time::Duration};

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
/// What was read is given to others for so long.
const KEPT: Duration = Duration::from_secs(2);
/// So many of them, each of at most so many bytes.
const KEPT_MOST: usize = 256;
const KEPT_BYTES: usize = 256 << 10;

/// What one stream asked for. What is found is a function of it, of the moment, and of nothing else.
type Key = (PoolId, Load);

#[derive(Debug, Clone)]
enum Found {
    Changes(Delta),
    Whole(Snapshot),
    /// It vanished; the hub will say so.
    Nothing,
}

#[derive(Debug)]
struct Kept {
    since: Monotonic,
    found: Arc<OnceCell<Found>>,
}

/// Reads for all streams of a replica.
#[derive(Debug)]
pub(super) struct Loader {
    core: Core,
    turns: Semaphore,
    kept: Mutex<HashMap<Key, Kept>>,
}

impl Loader {
    pub(super) fn new(core: Core) -> Arc<Self> {
        Arc::new(Self { core, turns: Semaphore::new(LOADS), kept: Mutex::default() })
    }

    /// What there is for a proxy of `pool`.
    pub(super) async fn load(self: Arc<Self>, pool: PoolId, what: Load) -> Input {
        let tenant = what.tenant;
        let key = (pool, what);
        let cell = self.cell(key);
        let found = cell.get_or_try_init(|| self.find(pool, what)).await;
        if found.map_or(true, |found| found.size() > KEPT_BYTES) {
            self.kept.lock().remove(&key);
        }
        match found {
            Ok(Found::Changes(delta)) => Input::LoadedDelta(tenant, delta.clone()),
            Ok(Found::Whole(snapshot)) => Input::Loaded(tenant, snapshot.clone()),
            Ok(Found::Nothing) => Input::NotLoaded(tenant, LoadFailure::Broken),
            Err(failure) => Input::NotLoaded(tenant, failure),
        }
    }

    /// Where all who ask for the same wait for one of them to read it.
    fn cell(&self, key: Key) -> Arc<OnceCell<Found>> {
        let now = self.core.clock.monotonic();
        let mut kept = self.kept.lock();
        kept.retain(|_, kept| now.since(kept.since) < KEPT);
        if kept.len() >= KEPT_MOST {
            kept.clear();
        }
        kept.entry(key).or_insert_with(|| Kept { since: now, found: Arc::default() }).found.clone()
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
                Found::Whole(Snapshot { version, bytes: body.into(), keys: Vec::new() })
            }));
        }
        if let Some(from) = what.from {
            match queries::changes(&mut tx, tenant, pool, from).await {
                Ok(Some(StoredChanges { version, changes, keys })) => {
                    let keys = self.open(tenant, keys)?;
                    return Ok(Found::Changes(Delta { from, version, changes, keys }));
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
                Found::Whole(Snapshot { version, bytes: body, keys: self.open(tenant, keys)? })
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
