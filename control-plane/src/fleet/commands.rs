//! Work that only a proxy can do, because only proxies dial upstreams: asked for in a tenant's transaction, done by any
//! one live proxy of the tenant's pool.
//!
//! Each replica looks for open commands at the hub's polls and claims them on behalf of the proxies connected to it. A
//! command nobody answered in time is claimed again, perhaps elsewhere: doing one twice is harmless.

mod queries;

use std::{collections::HashMap, sync::Arc, time::Duration};

use ids::{PoolId, ProxyId, TenantId, UpstreamId, Uuid};
use parking_lot::Mutex;
use seams::{Clock, Entropy};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use wire::v1;

use super::{Peers, authorities::Authorities, peer::revoked};
use crate::{
    app::Core,
    db::{OperatorTx, StoreError, TenantTx},
    publish::hub::Hub,
};

/// A claimed command that is not answered for this long is claimed again.
const CLAIM: Duration = Duration::from_secs(15);
/// Commands older than this are given up.
const LIFE: Duration = Duration::from_secs(600);
/// Commands are kept so long after they were asked for, for those who want to know what came of them. Much longer than [`LIFE`]:
/// those nobody did go too.
const KEEP: Duration = Duration::from_secs(24 * 60 * 60);
/// Claimed at one poll.
const BATCH: i64 = 64;
/// Commands a proxy may leave unread.
const QUEUE: usize = 64;

/// Asks a proxy of the tenant's pool to list what `upstream` offers. While such a command waits to be claimed, there is no
/// second one.
///
/// # Errors
/// [`StoreError`].
pub async fn enqueue(
    tx: &mut TenantTx,
    upstream: UpstreamId,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<Uuid, StoreError> {
    let now = clock.now();
    let id = ids::CallId::from_parts(now.millis(), entropy.bytes()).uuid();
    queries::insert(tx, id, upstream, now, LIFE).await
}

/// Deletes commands that are over for a day.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn forget(core: &Core) -> Result<(), StoreError> {
    let mut tx = core.store.operator().await?;
    let forgotten = queries::forget(&mut tx, core.clock.now(), KEEP).await?;
    tx.commit().await?;
    tracing::debug!(forgotten, "commands of the past deleted");
    Ok(())
}

/// Marks a command as answered.
pub(super) async fn finish(
    tx: &mut OperatorTx,
    tenant: TenantId,
    id: Uuid,
    error_code: Option<&str>,
    clock: &dyn Clock,
) -> Result<(), StoreError> {
    queries::finish(tx, tenant, id, error_code, clock.now()).await
}

/// An open command, claimed for a pool.
#[derive(Debug)]
struct Claimed {
    id: Uuid,
    tenant: TenantId,
    upstream: UpstreamId,
    pool: PoolId,
}

type Sender = mpsc::Sender<Result<v1::Command, Status>>;

#[derive(Debug, Default)]
struct Watchers(Mutex<HashMap<PoolId, Vec<(ProxyId, Sender)>>>);

impl Watchers {
    fn pools(&self) -> Vec<Uuid> {
        let mut pools = self.0.lock();
        pools.retain(|_, watchers| {
            watchers.retain(|(_, sender)| !sender.is_closed());
            !watchers.is_empty()
        });
        pools.keys().map(|pool| pool.uuid()).collect()
    }

    /// The pool's watchers take turns.
    fn next(&self, pool: PoolId) -> Option<(ProxyId, Sender)> {
        let mut pools = self.0.lock();
        let watchers = pools.get_mut(&pool)?;
        let next = watchers.pop()?;
        watchers.insert(0, next.clone());
        Some(next)
    }
}

pub(super) struct CommandsService {
    core: Core,
    peers: Peers,
    watchers: Arc<Watchers>,
    authorities: watch::Receiver<Arc<Authorities>>,
}

impl CommandsService {
    /// The service, and the task that finds work for those who watch.
    pub(super) fn start(core: &Core, hub: &Hub, authorities: watch::Receiver<Arc<Authorities>>) -> Self {
        let watchers = Arc::new(Watchers::default());
        core.tasks.spawn("command dispatcher", dispatch(core.clone(), hub.polls(), watchers.clone()));
        Self { core: core.clone(), peers: Peers::new(core.clone()), watchers, authorities }
    }
}

#[tonic::async_trait]
impl v1::commands_server::Commands for CommandsService {
    type WatchStream = ReceiverStream<Result<v1::Command, Status>>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let peer = self.peers.admit(&request).await?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let mut pools = self.watchers.0.lock();
        let watchers = pools.entry(peer.pool).or_default();
        // The stream of a connection that broke may not have noticed yet.
        watchers.retain(|(proxy, _)| *proxy != peer.proxy);
        watchers.push((peer.proxy, sender.clone()));
        // Says whom the fleet trusts, and ends the stream when this replica stops.
        let mut authorities = self.authorities.clone();
        authorities.mark_changed();
        let (stopping, watchers, peers) =
            (self.core.tasks.stopping(), self.watchers.clone(), self.peers.clone());
        self.core.tasks.spawn("command stream", async move {
            let mut out = std::pin::pin!(peers.until_out(peer.named()));
            loop {
                tokio::select! {
                    () = stopping.cancelled() => break,
                    () = sender.closed() => break,
                    status = &mut out => {
                        let _gone = sender.try_send(Err(status));
                        break;
                    }
                    changed = authorities.changed() => if changed.is_err() {
                        break;
                    },
                }
                let told = told(&authorities.borrow_and_update());
                if sender.try_send(Ok(told)).is_err() {
                    break;
                }
            }
            if let Some(pool) = watchers.0.lock().get_mut(&peer.pool) {
                pool.retain(|(_, other)| !other.same_channel(&sender));
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// Whom the fleet trusts now.
fn told(authorities: &Authorities) -> v1::Command {
    let told = v1::Authorities {
        trusted: authorities.iter().map(|authority| authority.key_hash.to_vec()).collect(),
        issuing: authorities.issuing().key_hash.to_vec(),
    };
    v1::Command { id: Vec::new(), body: Some(v1::command::Body::Authorities(told)) }
}

async fn dispatch(core: Core, mut polls: tokio::sync::watch::Receiver<u64>, watchers: Arc<Watchers>) {
    let stopping = core.tasks.stopping();
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            changed = polls.changed() => if changed.is_err() {
                return;
            },
        }
        let pools = watchers.pools();
        if !pools.is_empty()
            && let Err(error) = dispatch_once(&core, &pools, &watchers).await
        {
            tracing::warn!(error.cause = %error, "commands cannot be read");
        }
    }
}

async fn dispatch_once(core: &Core, pools: &[Uuid], watchers: &Watchers) -> Result<(), StoreError> {
    let now = core.clock.now();
    let mut tx = core.store.operator().await?;
    let mut given = Vec::new();
    for claimed in queries::open(&mut tx, pools, now, CLAIM, LIFE, BATCH).await? {
        let Some((proxy, sender)) = watchers.next(claimed.pool) else { continue };
        if queries::claim(&mut tx, claimed.tenant, claimed.id, proxy, now).await? {
            given.push((claimed, sender));
        } else {
            // Since it began to watch. The command is found again at the next poll.
            let _gone = sender.try_send(Err(revoked()));
        }
    }
    tx.commit().await?;
    for (claimed, sender) in given {
        let discover = v1::DiscoverUpstream {
            tenant_id: claimed.tenant.uuid().as_bytes().to_vec(),
            upstream_id: claimed.upstream.uuid().as_bytes().to_vec(),
        };
        let body = Some(v1::command::Body::Discover(discover));
        // A proxy that went meanwhile, or does not read: the claim runs out and another gets it.
        let _later = sender.try_send(Ok(v1::Command { id: claimed.id.as_bytes().to_vec(), body }));
    }
    Ok(())
}
