//! Keys of assertions that nobody rotates rotate by themselves, each quarter.

use std::time::Duration;

use ids::TenantId;
use seams::Timestamp;

use super::{keys, queries};
use crate::{
    app::Core,
    audit::{Act, Actor},
    db::StoreError,
    oauth::keys::{ROTATED_EVERY, RotateError},
    publish::commit::commit,
    tasks::again,
};

/// Between looks. Every replica takes them; who comes second finds nothing due.
const EVERY: Duration = Duration::from_secs(10 * 60);
/// Tenants of one look: the rest waits for the next.
const AT_ONCE: i64 = 50;

/// Rotates what is due until shutdown.
pub async fn follow(core: Core) {
    let failed = "keys of assertions that are due were not looked for; trying again later";
    again(&core.tasks, EVERY, failed, || async { turn(&core).await.map(drop) }).await;
}

/// Rotates the keys of some tenants whose are due. Says how many it rotated.
///
/// # Errors
/// [`StoreError`]. What goes wrong with one tenant is logged, and does not keep the others'.
pub async fn turn(core: &Core) -> Result<usize, StoreError> {
    let due = queries::due(&mut core.store.operator().await?, before(core).to_offset(), AT_ONCE).await?;
    let mut rotated = 0;
    for tenant in due {
        match rotate(core, tenant).await {
            Ok(done) => rotated += usize::from(done),
            Err(error) => {
                tracing::error!(tenant.id = %tenant, error.cause = error, "a key of assertions that is due was not rotated");
            }
        }
    }
    Ok(rotated)
}

fn before(core: &Core) -> Timestamp {
    Timestamp::from_micros(core.clock.now().micros().saturating_sub(ROTATED_EVERY.as_micros() as u64))
}

async fn rotate(core: &Core, tenant: TenantId) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    let mut tx = core.store.tenant_for_write(tenant).await?;
    // Another replica may have been faster.
    let present = keys::all(&mut tx).await?;
    let newest = present.iter().filter(|key| key.revoked_at.is_none()).map(|key| key.activates_at).max();
    if newest.is_none_or(|newest| newest >= before(core)) {
        return Ok(false);
    }
    let id = match keys::rotate(&mut tx, core, false).await {
        Err(RotateError::Upcoming | RotateError::TooMany) => return Ok(false),
        made => made?,
    };
    let act = Act {
        actor: Actor::System,
        operation: "rotate_assertion_keys",
        target: id.to_string(),
        address: None,
        request_id: None,
        ending: Default::default(),
    };
    commit(tx, core, &act).await?;
    Ok(true)
}
