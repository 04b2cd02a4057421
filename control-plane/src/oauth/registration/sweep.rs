//! Clients that came by themselves and were never given a token go again after a while: anybody could bring them.

use std::time::Duration;

use ids::TenantId;
use time::OffsetDateTime;

use super::queries::dynamic as queries;
use crate::{
    app::Core,
    audit::{Act, Actor, ending::Ending},
    db::StoreError,
    publish::commit::commit,
    tasks::again,
};

/// Between looks.
const EVERY: Duration = Duration::from_secs(10 * 60);
/// How long such a client has for its first token.
const UNUSED_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// Tenants of one look, and clients of each: the rest waits for the next.
const TENANTS: i64 = 50;
const CLIENTS: i64 = 200;

/// Deletes them until shutdown.
pub async fn follow(core: Core) {
    let failed = "clients that nobody uses were not looked for; trying again later";
    again(&core.tasks, EVERY, failed, || async { turn(&core).await.map(drop) }).await;
}

/// Deletes those of some tenants that are due. Says how many it deleted.
///
/// # Errors
/// [`StoreError`]. What goes wrong with one tenant is logged, and does not keep the others'.
pub async fn turn(core: &Core) -> Result<usize, StoreError> {
    let before = core.clock.now().to_offset() - UNUSED_FOR;
    let tenants = queries::with_unused(&mut core.store.operator().await?, before, TENANTS).await?;
    let mut deleted = 0;
    for tenant in tenants {
        match delete(core, tenant, before).await {
            Ok(count) => deleted += count,
            Err(error) => {
                tracing::error!(tenant.id = %tenant, error.cause = error, "clients that nobody uses were not deleted");
            }
        }
    }
    Ok(deleted)
}

async fn delete(
    core: &Core,
    tenant: TenantId,
    before: OffsetDateTime,
) -> Result<usize, Box<dyn std::error::Error + Send + Sync>> {
    let mut tx = core.store.tenant_for_write(tenant).await?;
    let deleted = queries::delete_unused(&mut tx, before, CLIENTS).await?;
    if deleted.is_empty() {
        return Ok(0);
    }
    let act = Act {
        actor: Actor::System,
        operation: "delete_unused_clients",
        target: format!("{} clients", deleted.len()),
        address: None,
        request_id: None,
        ending: Ending::Commit,
    };
    // None of them was ever given anything, so there is nothing to end.
    commit(tx, core, &act).await?;
    Ok(deleted.len())
}
