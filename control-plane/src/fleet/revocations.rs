//! Proxies that were revoked, known to every replica within a poll: their open streams end at once.

use std::{collections::HashSet, sync::Arc, time::Duration};

use ids::ProxyId;
use seams::Timestamp;
use tokio::sync::watch;

use super::queries;
use crate::{app::Core, db::StoreError, publish::hub::Hub};

/// How long a revocation is looked for. No stream lives so long without being asked whose it is.
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
            loop {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    changed = polls.changed() => if changed.is_err() {
                        return;
                    },
                }
                // The hub says when the database cannot be read.
                let _again = look(&core).await;
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

async fn look(core: &Core) -> Result<(), StoreError> {
    let since = core.clock.now().micros().saturating_sub(REMEMBERED.as_micros() as u64);
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
