//! Tenants' data keys: made with the tenant, kept wrapped under the master key.

mod queries;

use crypto::DataKey;
use ids::{DataKeyId, TenantId};

use crate::{
    app::Core,
    db::{OperatorTx, StoreError, TenantTx},
};

/// Makes a tenant's first data key.
///
/// # Errors
/// [`StoreError`].
pub async fn create(tx: &mut OperatorTx, core: &Core, tenant: TenantId) -> Result<(), StoreError> {
    let now = core.clock.now();
    let id = DataKeyId::from_parts(now.millis(), core.entropy.bytes());
    let key = DataKey::generate(id, &*core.entropy);
    let wrapped = key.wrap(core.secrets.kek(), tenant, &*core.entropy).map_err(bug)?;
    queries::insert(tx, tenant, id, &wrapped, now.to_offset()).await
}

/// The key with which new secrets of the tenant are sealed and hashed.
///
/// # Errors
/// [`StoreError::Bug`] if it does not unwrap: the master key file is another one.
pub async fn current(tx: &mut TenantTx, core: &Core) -> Result<DataKey, StoreError> {
    let (id, wrapped) = queries::current(tx).await?;
    DataKey::unwrap(core.secrets.kek(), tx.tenant(), id, &wrapped).map_err(bug)
}

/// The key of this id: to open what was sealed under it.
///
/// # Errors
/// [`StoreError::Bug`] if it does not unwrap.
pub async fn get(tx: &mut TenantTx, core: &Core, id: DataKeyId) -> Result<DataKey, StoreError> {
    let wrapped = queries::get(tx, id).await?;
    DataKey::unwrap(core.secrets.kek(), tx.tenant(), id, &wrapped).map_err(bug)
}

/// All of a tenant's keys, with whether each is the current one: what a proxy needs beside a snapshot.
///
/// # Errors
/// [`StoreError::Bug`] if one does not unwrap.
pub async fn all(
    tx: &mut OperatorTx,
    core: &Core,
    tenant: TenantId,
) -> Result<Vec<(DataKey, bool)>, StoreError> {
    let rows = queries::all(tx, tenant).await?;
    rows.into_iter()
        .map(|(id, wrapped, current)| {
            Ok((DataKey::unwrap(core.secrets.kek(), tenant, id, &wrapped).map_err(bug)?, current))
        })
        .collect()
}

fn bug(error: crypto::SealError) -> StoreError {
    StoreError::Bug(Box::new(error))
}
