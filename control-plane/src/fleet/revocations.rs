//! Proxies that were revoked, known to every replica within a poll: their open streams end at once.

use std::{collections::HashSet, sync::Arc, time::Duration};

use ids::ProxyId;
use seams::Timestamp;
use tokio::sync::watch;

use super::queries;
use crate::{app::Core, db::StoreError, publish::hub::Hub};

/// Revocations are looked for that are up to so much older than the last look: clocks of replicas differ.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// Those revoked lately.
#[derive(Debug, Default)]
pub struct Revocations(watch::Sender<HashSet<ProxyId>>);

impl Revocations {
    /// Follows the database for as long as this replica runs.
    pub(super) fn follow(core: &Core, hub: &Arc<Hub>) {
        let (core, mut polls) = (core.clone(), hub.polls());
        let stopping = core.tasks.stopping();
        core.tasks.clone().spawn("revocations", async move {
            let mut looked = core.clock.now();
            loop {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    changed = polls.changed() => if changed.is_err() {
                        return;
                    },
                }
                let now = core.clock.now();
                // Also those made while this replica could not look; the hub says when the database cannot be read.
                if look(&core, looked.min(now)).await.is_ok() {
                    looked = now;
                }
            }
        });
    }

    /// Resolves when the proxy has been revoked.
    pub(super) async fn until(&self, proxy: ProxyId) {
        let mut revoked = self.0.subscribe();
        if revoked.wait_for(|revoked| revoked.contains(&proxy)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn look(core: &Core, looked: Timestamp) -> Result<(), StoreError> {
    let since = looked.micros().saturating_sub(REMEMBERED.as_micros() as u64);
    let mut tx = core.store.operator().await?;
    let revoked = queries::revoked_after(&mut tx, Timestamp::from_micros(since)).await?;
    let revoked: HashSet<_> = revoked.into_iter().collect();
    core.revocations.0.send_if_modified(|known| {
        let changed = *known != revoked;
        *known = revoked;
        changed
    });
    Ok(())
}
