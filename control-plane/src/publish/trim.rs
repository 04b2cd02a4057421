//! A commit trims what changed in its own tenant. This trims what tenants leave behind that do not change any more.

mod queries;

use std::time::Duration;

use super::commit::KEEP_DELTAS_FOR;
use crate::{app::Core, db::StoreError, tasks::again};

/// Between turns. Every replica takes them.
const EVERY: Duration = Duration::from_secs(10 * 60);
/// Tenants whose changes are deleted in one transaction, of which each has a bounded number.
const AT_ONCE: i64 = 16;
/// Transactions of one turn: the rest waits for the next.
const MOST: usize = 1_000;

/// Trims until shutdown.
pub async fn follow(core: Core) {
    let failed = "changes of the past were not deleted; trying again later";
    again(&core.tasks, EVERY, failed, || turn(&core)).await;
}

async fn turn(core: &Core) -> Result<(), StoreError> {
    let before = core.clock.now().to_offset() - KEEP_DELTAS_FOR;
    let mut forgotten = 0;
    for _ in 0..MOST {
        let mut tx = core.store.operator().await?;
        let tenants = queries::take_tenants(&mut tx, before, AT_ONCE).await?;
        if tenants.is_empty() {
            break;
        }
        forgotten += queries::forget(&mut tx, &tenants, before).await?;
        tx.commit().await?;
    }
    tracing::debug!(forgotten, "changes of the past deleted");
    Ok(())
}
