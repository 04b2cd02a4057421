//! How many proxies of the pool live: among so many a limit is shared where Redis is away.

use std::{sync::Arc, time::Duration};

use seams::Entropy;
use telemetry::metric;
use tokio::{sync::watch, time::Instant};

use super::Limiter;
use crate::{control::Enrolled, snapshot::archive::Archive};

/// Between two signs of life to the other proxies, give or take a fifth.
const ALIVE_EVERY: Duration = Duration::from_secs(4);
/// By then every proxy has told a Redis that has lost everything that it lives: before, the count only grows.
const ALL_TOLD: Duration = Duration::from_secs(15);

/// Tells the other proxies of the pool that this one lives, and learns how many there are: from Redis, and from the control
/// plane. The larger number holds, and while either is away its last one; after a restart with both away, the one on disk.
pub(super) async fn stay_alive(limiter: Arc<Limiter>, told: Told, entropy: Arc<dyn Entropy>) {
    let Some(fleet) = &limiter.fleet else { return };
    let together = &fleet.together;
    let Told { mut identity, mut live_proxies, archive } = told;
    let mut seen = archive.proxies();
    together.set_proxies(seen);
    let enrolled = match identity.wait_for(Option::is_some).await {
        Ok(enrolled) => enrolled.clone(),
        Err(_) => return,
    };
    let Some(Enrolled { proxy_id, pool, .. }) = enrolled else { return };
    let name = proxy_id.to_string();
    let by_share = metrics::gauge!(metric::LIMITS_BY_SHARE);
    let mut up = together.counters().link().state();
    // Since when Redis counts without a break, and whether it ever did.
    let (mut counts_since, mut counted, mut told) = (None, false, false);
    loop {
        let is_up = *up.borrow_and_update();
        by_share.set(if is_up { 0.0 } else { 1.0 });
        if !is_up {
            counts_since = None;
        } else if let Ok(count) = together.counters().alive(&pool, &name).await {
            counted = true;
            let all_told = counts_since.get_or_insert_with(Instant::now).elapsed() > ALL_TOLD;
            seen = if all_told { count } else { seen.max(count) };
        }
        together.set_proxies(seen.max(*live_proxies.borrow_and_update()));
        archive.note_proxies(together.proxies());
        let pause = ALIVE_EVERY
            .mul_f64(0.8 + 0.4 * f64::from(u32::from_le_bytes(entropy.bytes())) / f64::from(u32::MAX));
        tokio::select! {
            () = tokio::time::sleep(pause), if is_up => {}
            changed = live_proxies.changed() => match changed {
                Ok(()) => told = true,
                Err(_) => return,
            },
            // What the control plane says is better than what was on disk, once all proxies have had time to tell it.
            () = tokio::time::sleep(ALL_TOLD), if told && !counted && seen > 1 => seen = 1,
            changed = up.changed() => {
                if changed.is_err() {
                    return;
                }
                if is_up {
                    tracing::warn!(proxies = together.proxies(), "limits are kept by share until Redis answers");
                }
            }
        }
    }
}

/// What the control plane tells, and what was kept of it.
pub(crate) struct Told {
    pub(crate) identity: watch::Receiver<Option<Enrolled>>,
    pub(crate) live_proxies: watch::Receiver<u32>,
    pub(crate) archive: Arc<Archive>,
}
