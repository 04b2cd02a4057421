//! Reading what a stream is to send: what changed since what the proxy holds, or the whole tenant.

use std::sync::Arc;

use crypto::{DataKey, SealError};
use ids::TenantId;
use tokio::sync::Semaphore;
use wire::{
    stream::{
        Version,
        server::{Delta, Input, Load, LoadFailure, Snapshot},
    },
    v1,
};

use super::{
    super::Peer,
    queries::{self, StoredChanges, StoredSnapshot, WrappedKey},
};
use crate::{app::Core, db::StoreError};

enum Stored {
    Changes(Version, StoredChanges),
    Whole(StoredSnapshot),
}

pub(super) async fn load(core: Core, loads: Arc<Semaphore>, peer: Peer, what: Load) -> Input {
    let tenant = what.tenant;
    let Ok(_permit) = loads.acquire().await else {
        return Input::NotLoaded(tenant, LoadFailure::Unavailable);
    };
    let stored = match read(&core, peer, what).await {
        Ok(Some(stored)) => stored,
        // It vanished; the hub will say so.
        Ok(None) => return Input::NotLoaded(tenant, LoadFailure::Broken),
        Err(error @ StoreError::Unavailable(_)) => {
            tracing::warn!(portcullis.tenant.id = %tenant, error.cause = %error, "snapshot cannot be read");
            return Input::NotLoaded(tenant, LoadFailure::Unavailable);
        }
        Err(error) => {
            tracing::error!(portcullis.tenant.id = %tenant, error.cause = %error, "snapshot cannot be read");
            return Input::NotLoaded(tenant, LoadFailure::Broken);
        }
    };
    match opened(&core, tenant, stored) {
        Ok(input) => input,
        Err(error) => {
            tracing::error!(portcullis.tenant.id = %tenant, error.cause = %error, "tenant's data keys do not open");
            Input::NotLoaded(tenant, LoadFailure::Broken)
        }
    }
}

async fn read(core: &Core, peer: Peer, what: Load) -> Result<Option<Stored>, StoreError> {
    let mut tx = core.store.operator().await?;
    if let Some(from) = what.from {
        match queries::changes(&mut tx, what.tenant, peer.pool, from).await {
            Ok(Some(changes)) => return Ok(Some(Stored::Changes(from, changes))),
            Ok(None) => {}
            Err(error @ StoreError::Unavailable(_)) => return Err(error),
            // The whole tenant does not need them.
            Err(error) => {
                tracing::error!(portcullis.tenant.id = %what.tenant, error.cause = %error, "changes cannot be read");
                tx = core.store.operator().await?;
            }
        }
    }
    Ok(queries::snapshot(&mut tx, what.tenant, peer.pool).await?.map(Stored::Whole))
}

fn opened(core: &Core, tenant: TenantId, stored: Stored) -> Result<Input, SealError> {
    Ok(match stored {
        Stored::Whole(StoredSnapshot { version, body, keys }) => {
            Input::Loaded(tenant, Snapshot { version, bytes: body, keys: open(core, tenant, keys)? })
        }
        Stored::Changes(from, StoredChanges { version, changes, keys }) => {
            Input::LoadedDelta(tenant, Delta { from, version, changes, keys: open(core, tenant, keys)? })
        }
    })
}

fn open(core: &Core, tenant: TenantId, keys: Vec<WrappedKey>) -> Result<Vec<v1::TenantKey>, SealError> {
    let keys = keys.into_iter().map(|key| {
        let opened = DataKey::unwrap(core.secrets.kek(), tenant, key.id, &key.wrapped)?;
        Ok(v1::TenantKey {
            id: key.id.uuid().as_bytes().to_vec(),
            material: opened.material.to_vec(),
            current: key.current,
        })
    });
    keys.collect()
}
