//! When the operator has changed the origins of issuers or endpoints: what proxies were told is told anew. From the moment at which this
//! control plane starts tokens are issued under the new names, and proxies accept no others than those they know.

use ids::TenantId;

use super::queries;
use crate::{
    app::Core,
    audit::{Act, Actor},
    db::StoreError,
    publish::commit::{CommitError, commit},
};

/// Tenants read at a time.
const AT_ONCE: i64 = 50;

/// Publishes once each tenant that issues tokens and whose latest revision was compiled under other origins than this control plane has.
/// Once and not again: of two control planes that were given different ones neither gives way.
pub async fn publish(core: Core) {
    if let Err(error) = publish_all(&core).await {
        tracing::error!(error.cause = %error, "tenants were not all told of this control plane's origins; they are with their next change");
    }
}

async fn publish_all(core: &Core) -> Result<(), StoreError> {
    let stopping = core.tasks.stopping();
    let mut after = TenantId::from_parts(0, [0; 10]);
    while !stopping.is_cancelled() {
        let origins = core.config.urls.published();
        let tenants =
            queries::published_otherwise(&mut core.store.operator().await?, &origins, after, AT_ONCE).await?;
        let Some(last) = tenants.last() else { break };
        after = *last;
        for tenant in tenants {
            if let Err(error) = republish(core, tenant, &origins).await {
                tracing::error!(tenant.id = %tenant, error.cause = %error, "a tenant was not told of this control plane's origins");
            }
        }
    }
    Ok(())
}

async fn republish(core: &Core, tenant: TenantId, origins: &str) -> Result<(), CommitError> {
    let mut tx = core.store.tenant_for_write(tenant).await?;
    // Another replica may have been faster.
    if queries::published_origins(&mut tx).await? == origins {
        return Ok(());
    }
    let act = Act {
        actor: Actor::System,
        operation: "publish_origins",
        target: tenant.to_string(),
        address: None,
        request_id: None,
        ending: Default::default(),
    };
    commit(tx, core, &act).await.map(drop)
}
