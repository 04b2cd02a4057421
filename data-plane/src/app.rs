//! A proxy process: its threads, what they share, and how it starts and ends.
//!
//! Workers serve calls, each on a thread of its own. Everything else — configuration, audit upload, discovery, health —
//! runs on one small runtime beside them, so that no amount of control work slows a call.

mod kept;
mod start_error;

use std::{net::SocketAddr, sync::Arc, thread, time::Duration};

use ids::ProxyId;
use listen::{files::Followed, front::Front};
use redis_link::Link;
use seams::{Clock, Entropy};
use tokio::{runtime::Runtime, sync::watch};
use tokio_rustls::TlsAcceptor;

use kept::Kept;
pub use start_error::StartError;

use crate::{
    admin,
    audit::{
        Recorder,
        spool::{self, Spool},
    },
    checks::{Proofs, address_limit::Addresses, endpoint::Hosts},
    config::{Bounds, Config},
    control::{self, Control, ServerClock},
    discover,
    drain::{Drain, Phase},
    issuers,
    kills::{self, Kills},
    limiter::{self, Limiter},
    listener,
    ready::Readiness,
    redis,
    snapshot::{
        archive,
        fleet::{CallersCertificates, DomainCertificates},
        store::Snapshots,
    },
    tally::Tallies,
    tasks::Tasks,
    upstream::{self, Resolver, SystemResolver, Watched},
    worker,
};

/// Threads for everything that is no call.
const CONTROL_THREADS: usize = 2;
const SPOOL_SEGMENT_BYTES: u64 = 8 << 20;
/// A record is on disk at most so long after it was written.
const SYNC_WITHIN: Duration = Duration::from_millis(50);
/// For control tasks to end at shutdown.
const TASKS_PATIENCE: Duration = Duration::from_secs(5);
/// For the spool to be acknowledged while the control plane is not reachable: what is left is uploaded after the next start.
const FLUSH_UNCONNECTED: Duration = Duration::from_secs(1);
/// Between the end of a drain and giving up on workers.
const WORKERS_PATIENCE: Duration = Duration::from_secs(2);

/// What all workers share. Read-only, or atomic.
pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) kills: Arc<Kills>,
    pub(crate) watched: Arc<Watched>,
    pub(crate) recorder: Recorder,
    pub(crate) addresses: Addresses,
    pub(crate) hosts: Hosts,
    pub(crate) bounds: Bounds,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) front: Option<Front>,
    pub(crate) drain: Arc<Drain>,
    pub(crate) ready: Arc<Readiness>,
    pub(crate) trace_calls: bool,
    pub(crate) resolver: Arc<dyn Resolver>,
    /// `None` where no Redis is configured.
    pub(crate) redis: Option<Link>,
    pub(crate) limiter: Arc<Limiter>,
    /// That callers have shown.
    pub(crate) proofs: Proofs,
    pub(crate) tallies: Arc<Tallies>,
}

impl Shared {
    /// What a worker's upstream connections are made of.
    pub(crate) fn upstream_parts(&self) -> upstream::Parts {
        upstream::Parts {
            spawn: std::rc::Rc::new(|task| crate::tasks::spawn_local("upstream", task)),
            resolver: Arc::clone(&self.resolver),
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            watched: Arc::clone(&self.watched),
        }
    }
}

/// Starts proxies.
#[derive(Debug)]
pub struct Proxy;

/// A proxy that runs. Dropping it ends it at once, as a crash would; [`Running::shutdown`] loses no call.
#[derive(Debug)]
pub struct Running {
    gateway: SocketAddr,
    admin: SocketAddr,
    shared: Arc<Shared>,
    control: Control,
    tasks: Tasks,
    keeper: Option<archive::Keeper>,
    /// Workers that run.
    workers: watch::Receiver<usize>,
    runtime: Option<Runtime>,
}

impl Proxy {
    /// Binds, opens the audit spool, reads the configuration kept on disk and starts all threads. Blocks for a moment; enrolment
    /// and configuration go on after it has returned. Where nothing usable was kept, calls are refused as `not_ready` until
    /// they are done.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(
        config: Config,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Running, StartError> {
        config.validate()?;
        // From here on everything goes by the control plane's time, but for how old the configuration is: that is this machine's
        // to say, also after a restart with nobody to ask.
        let own_clock = Arc::clone(&clock);
        let server_clock = Arc::new(ServerClock::new(clock));
        let clock: Arc<dyn Clock> = server_clock.clone();
        let own = Arc::clone(&own_clock);
        let sockets = listener::bind(config.listen, config.workers)
            .and_then(|sockets| sockets.give_up_unread(config.bounds.unread_timeout).map(|()| sockets))
            .map_err(|error| StartError::Bind(config.listen, error))?;
        let admin = listener::bind_alone(config.admin_listen)
            .map_err(|error| StartError::Bind(config.admin_listen, error))?;
        let admin_address =
            admin.local_addr().map_err(|error| StartError::Bind(config.admin_listen, error))?;
        let metrics = telemetry::metrics_handle();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(CONTROL_THREADS)
            .thread_name("control")
            .enable_all()
            .build()
            .map_err(StartError::Threads)?;
        let tasks = Tasks::new(runtime.handle().clone());

        let boot: [u8; 16] = entropy.bytes();
        let kills = Kills::load(config.state_dir.clone(), config.kill_order_key, Arc::clone(&clock));
        let kills = Arc::new(kills);
        let kept = Kept::read(&config, &kills, (&own_clock, &clock), &entropy);
        let of_domains = Arc::new(DomainCertificates(kept.snapshots.shared()));
        let wants = Arc::new(CallersCertificates(kept.snapshots.shared()));
        let open = |tls| Followed::open_asking(tls, Some(of_domains), Some(wants), own);
        let tls = config.tls.as_ref().map(open).transpose()?;
        // Where there is no identity yet, it is set after enrolment, before the first record: no call is taken without
        // configuration.
        let spool = Spool::open(
            spool::Config {
                dir: config.state_dir.join("spool"),
                proxy: kept.proxy.unwrap_or_else(|| ProxyId::from_uuid(ids::Uuid::nil())),
                boot,
                quota_bytes: config.bounds.spool_bytes,
                tenant_quota_bytes: config.bounds.spool_tenant_bytes,
                segment_bytes: SPOOL_SEGMENT_BYTES,
                sync_within: SYNC_WITHIN,
            },
            Arc::clone(&clock),
        )?;
        let recorder = Recorder::start(Arc::clone(&spool), Arc::clone(&clock), Arc::clone(&entropy))?;

        let Kept { archive, snapshots, ready, .. } = kept;
        let keeper = archive::Keeper::start(Arc::clone(&archive)).map_err(StartError::Threads)?;
        let files = kills::follow_files(Arc::clone(&kills), config.state_dir.clone(), tasks.token());
        tasks.spawn("kill orders", files);
        let resolver: Arc<dyn Resolver> = Arc::new(SystemResolver);
        let (watched, noticed) = Watched::new();
        let (asked, now, random) = (Arc::clone(&resolver), Arc::clone(&clock), Arc::clone(&entropy));
        let discovery = Arc::new(discover::Discovery::new(asked, now, random));
        let tallies = Arc::<Tallies>::default();
        let control = control::start(control::Parts {
            config: config.control,
            state_dir: config.state_dir,
            boot,
            snapshots: Arc::clone(&snapshots),
            archive: Arc::clone(&archive),
            readiness: Arc::clone(&ready),
            kills: Arc::clone(&kills),
            discoverer: Arc::clone(&discovery) as _,
            tallies: Arc::clone(&tallies),
            tasks: tasks.clone(),
            clock: server_clock,
            entropy: Arc::clone(&entropy),
        });
        let noticing = discover::watch(
            noticed,
            Arc::clone(&snapshots),
            discovery,
            control.reporter(),
            Arc::clone(&clock),
            tasks.token(),
        );
        tasks.spawn("watch upstreams", noticing);

        let keys = issuers::follow(
            Arc::clone(&snapshots),
            Arc::clone(&resolver),
            tasks.clone(),
            Arc::clone(&clock),
            tasks.token(),
        );
        tasks.spawn("issuers' keys", keys);

        let redis = config.redis.map(|address| redis::start(address, &tasks, &entropy));
        let told = limiter::Told {
            identity: control.identity(),
            live_proxies: control.live_proxies(),
            archive: Arc::clone(&archive),
        };
        let limiter = limiter::start(redis.as_ref(), told, &tasks, &clock, &entropy);
        if let Some(link) = redis.clone() {
            tasks.spawn("shared kills", kills::follow_shared(Arc::clone(&kills), link, tasks.token()));
        }
        let own_name = sockets.address.to_string();
        let names = config.gateway_hosts.iter().map(String::as_str).chain([own_name.as_str()]);
        let shared = Arc::new(Shared {
            addresses: Addresses::new(config.bounds.address, seed(&*entropy)),
            hosts: Hosts::new(names, sockets.address.ip().to_canonical().is_loopback()),
            clock,
            entropy,
            snapshots,
            kills,
            watched,
            recorder,
            bounds: config.bounds,
            tls: tls.as_ref().map(|tls| TlsAcceptor::from(tls.config())),
            front: config.front,
            drain: Arc::new(Drain::new()),
            ready,
            trace_calls: config.trace_calls,
            resolver,
            redis,
            limiter,
            proofs: Proofs::default(),
            tallies,
        });
        if let Some(tls) = tls {
            tasks.spawn("certificates", tls.follow(tasks.token()));
        }
        tasks.spawn("identify records", kept::identify(control.clone(), spool));
        let becoming = kept::become_ready(Arc::clone(&shared.ready), control.clone(), archive, &shared.kills);
        tasks.spawn("become ready", becoming);
        let serving = admin::serve(admin, Arc::clone(&shared), control.connected(), metrics);
        tasks.spawn("admin", admin::until(serving, tasks.token()));
        let workers = start_workers(&shared, sockets.listeners)?;
        tracing::info!(gateway = %sockets.address, admin = %admin_address, "proxy listens");
        Ok(Running {
            gateway: sockets.address,
            admin: admin_address,
            shared,
            control,
            tasks,
            keeper: Some(keeper),
            workers,
            runtime: Some(runtime),
        })
    }
}

fn seed(entropy: &dyn Entropy) -> [u64; 4] {
    std::array::from_fn(|_| u64::from_le_bytes(entropy.bytes()))
}

fn start_workers(
    shared: &Arc<Shared>,
    listeners: Vec<std::net::TcpListener>,
) -> Result<watch::Receiver<usize>, StartError> {
    let (running, workers) = watch::channel(listeners.len());
    let running = Arc::new(running);
    for (number, listener) in listeners.into_iter().enumerate() {
        let (shared, running) = (Arc::clone(shared), Arc::clone(&running));
        thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || {
                if let Err(error) = worker::run(shared, listener) {
                    tracing::error!(%error, worker = number, "worker could not run");
                }
                running.send_modify(|count| *count -= 1);
            })
            .map_err(StartError::Threads)?;
    }
    Ok(workers)
}

impl Running {
    /// Where callers connect.
    #[must_use]
    pub fn gateway_addr(&self) -> SocketAddr {
        self.gateway
    }

    /// Where health and metrics are.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin
    }

    /// The id given at enrolment; `None` before.
    #[must_use]
    pub fn proxy_id(&self) -> Option<ProxyId> {
        self.control.identity().borrow().as_ref().map(|enrolled| enrolled.proxy_id)
    }

    /// Whether calls are taken.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.shared.ready.is_ready() && self.shared.drain.phase() == Phase::Serving
    }

    /// Stops taking calls without losing one: not ready any more; what still comes is served, each response ending its
    /// connection; streams that callers keep open end; then running calls end, or are cut when the drain's time is over; at
    /// last the audit spool is uploaded. Runs on the proxy's own runtime, so any executor may await it.
    pub async fn drain(&self) {
        let Some(runtime) = &self.runtime else { return };
        let (shared, mut workers) = (Arc::clone(&self.shared), self.workers.clone());
        let connected = self.control.connected();
        let draining = runtime.spawn(async move {
            tracing::info!("drain begins");
            shared.drain.enter(Phase::Draining);
            let time = shared.bounds.drain_timeout;
            if tokio::time::timeout(time, workers.wait_for(|count| *count == 0)).await.is_err() {
                tracing::warn!("drain takes too long; what still runs is cut");
                shared.drain.enter(Phase::Ending);
                let _ = tokio::time::timeout(WORKERS_PATIENCE, workers.wait_for(|count| *count == 0)).await;
            }
            shared.drain.enter(Phase::Ending);
            let patience = if *connected.borrow() { time } else { FLUSH_UNCONNECTED };
            if !shared.recorder.flush(patience).await {
                tracing::warn!("audit records are left in the spool; they are uploaded after the next start");
            }
            tracing::info!("drain ends");
        });
        if let Err(error) = draining.await {
            tracing::error!(%error, "drain failed");
        }
    }

    /// Drains, then ends everything.
    pub async fn shutdown(mut self) {
        self.drain().await;
        let Some(runtime) = self.runtime.take() else { return };
        let (tasks, recorder) = (self.tasks.clone(), self.shared.recorder.clone());
        let ending = runtime.spawn(async move {
            if !tasks.shutdown(TASKS_PATIENCE).await {
                tracing::warn!("control tasks did not end in time");
            }
        });
        let _ = ending.await;
        let keeper = self.keeper.take();
        let last = move || {
            recorder.shutdown();
            keeper.into_iter().for_each(archive::Keeper::shutdown);
        };
        let _ = runtime.spawn_blocking(last).await;
        runtime.shutdown_background();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        self.shared.drain.enter(Phase::Ending);
        self.tasks.token().cancel();
        runtime.shutdown_background();
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("ready", &self.ready).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
