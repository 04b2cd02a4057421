//! How much of stored answers is kept: each for a day, and of one tenant, as of all operators together, at most the newest so many.
//! Whoever writes more than that forgets its oldest answers first: a repetition of such a write is done again.

use std::{collections::HashMap, time::Duration};

use ids::TenantId;
use parking_lot::Mutex;

use super::queries;
use crate::{app::Core, db::StoreError};

/// Answers of one tenant,
const MOST: i64 = 20_000;
/// and their bytes together. What is sealed in one is rarely more than a few KiB, and a bulk write's is at most some MiB.
const MOST_BYTES: i64 = 64 << 20;
/// Keyed writes of a tenant at a replica after which it is looked whether it has more.
const LOOK_EVERY: u32 = 100;
/// Deleted in one transaction, so that none holds many rows for long.
const AT_ONCE: i64 = 1_000;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(20);
/// Tenants whose writes are counted at once; with more all are counted anew.
const COUNTED: usize = 10_000;

/// Keyed writes at this replica since it was last looked, by tenant.
#[derive(Debug, Default)]
pub struct Written(Mutex<HashMap<Option<TenantId>, u32>>);

impl Written {
    /// Another one. Whether to look now: at the first, and at every so manieth after it.
    fn is_due(&self, tenant: Option<TenantId>) -> bool {
        let mut written = self.0.lock();
        if written.len() >= COUNTED && !written.contains_key(&tenant) {
            written.clear();
        }
        let count = written.entry(tenant).or_default();
        let is_due = *count == 0;
        *count = (*count + 1) % LOOK_EVERY;
        is_due
    }
}

/// After another answer of `tenant` (`None`: of operators) has got its place.
pub(super) fn written(core: &Core, tenant: Option<TenantId>) {
    if core.answers.is_due(tenant) {
        let work = core.clone();
        core.tasks.spawn("stored answers", async move {
            match trim(&work, tenant).await {
                Ok(0) => {}
                Ok(forgotten) => tracing::warn!(
                    tenant.id = tenant.map(tracing::field::display),
                    forgotten,
                    "more answers to keyed writes than are kept: the oldest were forgotten"
                ),
                Err(error) => tracing::debug!(error.cause = %error, "stored answers cannot be counted"),
            }
        });
    }
}

async fn trim(core: &Core, tenant: Option<TenantId>) -> Result<u64, StoreError> {
    let mut forgotten = 0;
    loop {
        let mut tx = core.store.answers(tenant.is_some()).await?;
        let deleted = queries::trim(&mut tx, tenant, (MOST, MOST_BYTES), AT_ONCE).await?;
        tx.commit().await?;
        forgotten += deleted;
        if !goes_on(core, deleted).await {
            return Ok(forgotten);
        }
    }
}

/// Deletes answers that are kept no longer.
///
/// # Errors
/// [`StoreError`].
pub async fn forget(core: &Core) -> Result<(), StoreError> {
    let mut forgotten = 0;
    loop {
        let mut tx = core.store.operator().await?;
        let deleted = queries::forget(&mut tx, core.clock.now().to_offset(), AT_ONCE).await?;
        tx.commit().await?;
        forgotten += deleted;
        if !goes_on(core, deleted).await {
            tracing::debug!(forgotten, "stored answers of the past deleted");
            return Ok(());
        }
    }
}

/// Whether there is more to delete, after a pause.
async fn goes_on(core: &Core, deleted: u64) -> bool {
    if deleted < AT_ONCE.unsigned_abs() || core.tasks.stopping().is_cancelled() {
        return false;
    }
    tokio::time::sleep(PAUSE).await;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_answers_are_counted_at_its_first_write_and_now_and_then() {
        let written = Written::default();
        let [a, b] = [1, 2].map(|n| Some(TenantId::from_parts(n, [0; 10])));
        let due: Vec<_> = (0..=LOOK_EVERY).map(|_| written.is_due(a)).collect();
        assert!(due[0] && due[LOOK_EVERY as usize] && !due[1..LOOK_EVERY as usize].contains(&true));
        assert!(written.is_due(b) && written.is_due(None));
        for n in 0..2 * COUNTED as u64 {
            written.is_due(Some(TenantId::from_parts(n, [1; 10])));
        }
        assert!(written.0.lock().len() <= COUNTED);
    }
}
