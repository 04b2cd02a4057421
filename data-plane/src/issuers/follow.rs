//! Fetches what is due.

use std::{sync::Arc, time::Duration};

use ids::TenantId;
use seams::Clock;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{fetch::fetch, keys::WANTED};
use crate::{
    snapshot::{index::ExternalIssuerIndex, store::Snapshots},
    tasks::Tasks,
    upstream::Resolver,
};

/// How often everything is looked at; whoever misses a key does not wait for that.
const EVERY: Duration = Duration::from_millis(500);
/// Fetches at a time, of all tenants, and of one.
const AT_ONCE: usize = 32;
const AT_ONCE_OF_TENANT: usize = 4;

/// Keeps keys of external issuers until `stopping`.
pub(crate) async fn follow(
    snapshots: Arc<Snapshots>,
    resolver: Arc<dyn Resolver>,
    tasks: Tasks,
    clock: Arc<dyn Clock>,
    stopping: CancellationToken,
) {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = WANTED.notified() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
        let fleet = snapshots.shared().load_full();
        let trusting = fleet.tenants().filter(|tenant| !tenant.external.is_empty() && !tenant.suspended);
        for tenant in trusting {
            let due = tenant.external.values().filter(|issuer| issuer.keys.begin(clock.now()));
            let mut due: Vec<Arc<ExternalIssuerIndex>> = due.cloned().collect();
            if due.is_empty() {
                continue;
            }
            // Each of these chains fetches one set after the other, so that one tenant takes few of the turns.
            while !due.is_empty() {
                let per_chain = due.len().div_ceil(AT_ONCE_OF_TENANT);
                let chain = due.split_off(due.len().saturating_sub(per_chain));
                let (turns, tenant, resolver) =
                    (Arc::clone(&turns), Arc::clone(tenant), Arc::clone(&resolver));
                let clock = Arc::clone(&clock);
                tasks.spawn("issuer's keys", async move {
                    for issuer in chain {
                        let _turn = turns.acquire().await;
                        one(tenant.id, &issuer, &tenant.egress, &*resolver, &*clock).await;
                    }
                });
            }
        }
    }
}

async fn one(
    tenant: TenantId,
    issuer: &ExternalIssuerIndex,
    rules: &egress::Rules,
    resolver: &dyn Resolver,
    clock: &dyn Clock,
) {
    let fetched = fetch(issuer, rules, resolver).await;
    let result = if fetched.is_ok() { "fetched" } else { "failed" };
    metrics::counter!(telemetry::metric::ISSUER_KEYS_FETCHED, "result" => result).increment(1);
    match &fetched {
        Ok((document, age)) => {
            tracing::debug!(tenant.id = %tenant, issuer.id = %issuer.id, "keys of an issuer fetched");
            issuer.keys.done(Some((document, *age)), clock.now());
        }
        Err(error) => {
            let cause: &dyn std::error::Error = error;
            tracing::warn!(tenant.id = %tenant, issuer.id = %issuer.id, cause, "keys of an issuer not fetched");
            issuer.keys.done(None, clock.now());
        }
    }
}
