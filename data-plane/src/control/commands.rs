//! What the control plane asks this proxy to do.

use std::{sync::Arc, time::Duration};

use ids::{TenantId, UpstreamId, Uuid};
use tokio::sync::{Semaphore, watch};
use tonic::{Status, Streaming};
use wire::v1::{self, commands_client::CommandsClient};

use super::{Discoverer, Shared, backoff::Backoff, identity::Trust, report::Reporter};
use crate::snapshot::{
    index::{TenantIndex, UpstreamIndex},
    store::Snapshots,
};

/// Discoveries at once.
const AT_ONCE: usize = 8;
/// A command may come before the snapshot that has its upstream.
const SNAPSHOT_WAIT: Duration = Duration::from_secs(10);

#[derive(Clone)]
struct Worker {
    shared: Shared,
    snapshots: Arc<Snapshots>,
    discoverer: Arc<dyn Discoverer>,
    reporter: Reporter,
    slots: Arc<Semaphore>,
    told: watch::Sender<Option<Trust>>,
}

/// Watches for commands until shutdown.
pub(super) async fn run(
    shared: Shared,
    boot: [u8; 16],
    snapshots: Arc<Snapshots>,
    discoverer: Arc<dyn Discoverer>,
    reporter: Reporter,
    told: watch::Sender<Option<Trust>>,
) {
    let stopping = shared.tasks.token();
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let worker = Worker { shared, snapshots, discoverer, reporter, slots, told };
    tokio::select! {
        () = stopping.cancelled() => {}
        () = worker.watch(boot) => {}
    }
}

impl Worker {
    async fn watch(&self, boot: [u8; 16]) {
        let mut channel = self.shared.channel.clone();
        let mut waits = Backoff::default();
        loop {
            let current = channel.borrow_and_update().clone();
            let opened = match current {
                Some(channel) => {
                    let request = v1::WatchRequest { boot: boot.to_vec() };
                    CommandsClient::new(channel).watch(request).await.map(tonic::Response::into_inner)
                }
                None => Err(Status::unavailable("no certificate")),
            };
            if let Ok(stream) = opened {
                waits.reset();
                tokio::select! {
                    () = self.follow(stream) => {}
                    // With the new certificate.
                    changed = channel.changed() => if changed.is_ok() {
                        continue;
                    },
                }
            }
            tokio::select! {
                () = tokio::time::sleep(waits.next(&*self.shared.entropy)) => {}
                changed = channel.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    async fn follow(&self, mut stream: Streaming<v1::Command>) {
        while let Ok(Some(command)) = stream.message().await {
            let wanted = match command.body {
                Some(v1::command::Body::Discover(wanted)) => wanted,
                Some(v1::command::Body::Authorities(authorities)) => {
                    self.told.send_replace(Trust::of(&authorities));
                    continue;
                }
                None => {
                    tracing::error!("command of an unknown kind; this proxy is older than its control plane");
                    continue;
                }
            };
            let worker = self.clone();
            let stopping = self.shared.tasks.token();
            self.shared.tasks.spawn("discovery", async move {
                tokio::select! {
                    () = stopping.cancelled() => {}
                    () = worker.discover(command.id, wanted) => {}
                }
            });
        }
    }

    async fn discover(&self, command: Vec<u8>, wanted: v1::DiscoverUpstream) {
        let Ok(_slot) = self.slots.acquire().await else { return };
        let found = tokio::time::timeout(SNAPSHOT_WAIT, self.find(&wanted)).await;
        // Without an answer the command goes to another proxy.
        let Ok(Some((tenant, upstream))) = found else { return };
        let mut report = self.discoverer.discover(tenant, upstream).await;
        report.command_id = command;
        self.reporter.answer(report).await;
    }

    async fn find(&self, wanted: &v1::DiscoverUpstream) -> Option<(Arc<TenantIndex>, Arc<UpstreamIndex>)> {
        let tenant = TenantId::from_uuid(Uuid::from_slice(&wanted.tenant_id).ok()?);
        let upstream = UpstreamId::from_uuid(Uuid::from_slice(&wanted.upstream_id).ok()?);
        let mut changed = self.snapshots.changed();
        loop {
            changed.mark_unchanged();
            if let Some(tenant) = self.snapshots.load().tenant(tenant)
                && let Some(upstream) = tenant.upstreams.get(&upstream)
            {
                return Some((tenant.clone(), upstream.clone()));
            }
            changed.changed().await.ok()?;
        }
    }
}
