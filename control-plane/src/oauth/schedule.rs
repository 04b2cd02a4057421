//! Signing keys that nobody rotates rotate by themselves.

use std::time::Duration;

use ids::TenantId;
use seams::Timestamp;

use super::{
    keys::{self, ROTATED_EVERY, RotateError},
    queries,
};
use crate::{
    app::Core,
    audit::{Act, Actor},
    db::StoreError,
    publish::commit::commit,
    tasks::again,
};

/// Between looks. Every replica takes them; who comes second finds nothing due.
const EVERY: Duration = Duration::from_secs(10 * 60);
/// Tenants of one look: the rest waits for the next.
const AT_ONCE: i64 = 50;

/// Between looks for private halves that are needed no more.
const TIDIED_EVERY: Duration = Duration::from_secs(30);

/// Rotates what is due until shutdown.
pub async fn follow(core: Core) {
    let failed = "signing keys that are due were not looked for; trying again later";
    again(&core.tasks, EVERY, failed, || async { turn(&core).await.map(drop) }).await;
}

/// Forgets private halves as soon as their keys sign no more, and seals anew what an earlier version sealed otherwise, until shutdown.
pub async fn tidy(core: Core) {
    let failed = "private halves of signing keys were not looked for; trying again later";
    again(&core.tasks, TIDIED_EVERY, failed, || async {
        let now = core.clock.now();
        for tenant in queries::untidy(&mut core.store.operator().await?, now, AT_ONCE).await? {
            let tidied = async {
                let mut tx = core.store.tenant_for_write(tenant).await?;
                queries::forget(&mut tx, now).await?;
                keys::reseal(&mut tx, &core).await?;
                tx.commit_unpublished().await
            };
            if let Err(error) = tidied.await {
                tracing::error!(tenant.id = %tenant, error.cause = %error, "private halves of signing keys stay as they are");
            }
        }
        Ok(())
    })
    .await;
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
                tracing::error!(tenant.id = %tenant, error.cause = error, "a signing key that is due was not rotated");
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
    let id = match keys::rotate(&mut tx, core, None, false).await {
        Err(RotateError::Upcoming | RotateError::TooMany) => return Ok(false),
        made => made?,
    };
    let act = Act {
        actor: Actor::System,
        operation: "rotate_signing_keys",
        target: id.to_string(),
        address: None,
        request_id: None,
        ending: Default::default(),
    };
    commit(tx, core, &act).await?;
    Ok(true)
}
