//! The copy that all share: looked at twice a second, so that a kill comes through also when this proxy's control plane does
//! not.

use std::{sync::Arc, time::Duration};

use redis_link::{Link, redis};
use tokio_util::sync::CancellationToken;
use wire::kill::REDIS_KEY;

use super::Kills;

/// Between looks.
const EVERY: Duration = Duration::from_millis(500);

/// Looks until `stopping`.
pub(crate) async fn follow_shared(kills: Arc<Kills>, link: Link, stopping: CancellationToken) {
    let looking = async {
        let mut seen: Option<Vec<u8>> = None;
        loop {
            let found = link.call::<Option<Vec<u8>>>(redis::cmd("GET").arg(REDIS_KEY)).await;
            // Without keys nothing can be checked yet: they come with the control plane's first set.
            if let Ok(Some(bytes)) = found
                && kills.can_verify()
                && seen.as_ref() != Some(&bytes)
            {
                kills.add(&bytes).await;
                seen = Some(bytes);
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    tokio::select! {
        () = looking => {}
        () = stopping.cancelled() => {}
    }
}
