//! The proxy's way to Redis. A call never waits for it longer than [`redis_link::BUDGET`], and never for a connection.

use std::sync::Arc;

use redis_link::{Address, Link};
use seams::Entropy;

use crate::tasks::Tasks;

/// Starts to connect; the connection lives on the control runtime, workers only send to it.
pub(crate) fn start(address: Address, tasks: &Tasks, entropy: &Arc<dyn Entropy>) -> Link {
    let (link, keeper) = Link::new(address, Arc::clone(entropy));
    let stopping = tasks.token();
    tasks.spawn("redis", async move {
        tokio::select! {
            () = keeper.run() => {}
            () = stopping.cancelled() => {}
        }
    });
    link
}

/// For health reports.
pub(crate) fn state(link: Option<&Link>) -> &'static str {
    match link {
        None => "none",
        Some(link) if link.is_up() => "connected",
        Some(_) => "unreachable",
    }
}
