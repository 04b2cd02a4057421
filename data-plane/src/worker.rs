//! One worker: a thread with its own runtime, socket, upstream connections and caches. Nothing on a call's way is shared
//! with another worker but atomics.

mod connection;
#[cfg(test)]
mod tests;

use std::{
    cell::{Cell, RefCell},
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use arc_swap::{ArcSwap, Cache};
use connection::{Connection, Registered, Wish};
use http::HeaderMap;
use ids::CallId;
use limits::address::AddressKey;
use listen::{front::Untold, handshakes::Handshakes};
use seams::{Monotonic, Timestamp};
use tokio::{
    net::TcpStream,
    runtime::{Builder, LocalOptions},
};

use crate::{
    app::Shared,
    audit::Pen,
    checks::Tokens,
    decisions::Decisions,
    drain::Phase,
    listener,
    meters::Meters,
    refuse::Refusal,
    snapshot::{index::Map, store::Fleet},
    tasks,
    timings::Timings,
    upstream,
    watch::{self, Watchers},
};

/// After a drain began, a connection that has been idle so long is closed. Until then it may send one more request, whose
/// response tells it to go.
const IDLE_GRACE: Duration = Duration::from_secs(2);
/// After new connections are refused, one that is being opened has so long to arrive: a few round trips.
const NEARLY_CONNECTED: Duration = Duration::from_millis(250);
/// How often connections are looked at: that much later than allowed a silent one is closed.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Between the end of a drain and the worker's: time for last bytes to leave.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Ids of calls are drawn in batches, so that a call does not cost a system call for its name.
const ID_BATCH: usize = 64;

/// What a worker's calls share.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pool: Rc<upstream::Pool>,
    pub(crate) decisions: Decisions,
    pub(crate) tokens: Tokens,
    pub(crate) meters: Meters,
    /// `None` unless wanted.
    pub(crate) timings: Option<Timings>,
    pub(crate) watchers: Watchers,
    pub(crate) pen: Rc<Pen>,
    handshakes: Handshakes,
    fleet: RefCell<Cache<Arc<ArcSwap<Fleet>>, Arc<Fleet>>>,
    ids: RefCell<Vec<[u8; 10]>>,
    connections: RefCell<Map<u64, Rc<Connection>>>,
    /// How many of these come from where.
    sources: RefCell<Map<AddressKey, u32>>,
    opened: Cell<u64>,
    /// Time as of the last sweep: good enough for idleness, and free.
    coarse_now: Cell<Monotonic>,
}

/// Where a request came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// Whether the caller speaks TLS, be it to us or to a declared load balancer.
    pub(crate) tls: bool,
    /// It is a declared load balancer, which says in each request whose it is.
    pub(crate) passed_on: bool,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let pool = upstream::Pool::new(shared.upstream_parts());
        let fleet = RefCell::new(Cache::new(shared.snapshots.shared()));
        let coarse_now = Cell::new(shared.clock.monotonic());
        let meters = Meters::new(shared.tallies.seat());
        let pen = Pen::new(shared.recorder.clone());
        let handshakes = Handshakes::new(shared.bounds.handshakes, shared.bounds.handshake_timeout);
        Self {
            shared,
            pool,
            decisions: Decisions::default(),
            tokens: Tokens::default(),
            meters,
            timings: Timings::if_wanted(),
            watchers: Watchers::default(),
            pen,
            handshakes,
            fleet,
            ids: RefCell::default(),
            connections: RefCell::default(),
            sources: RefCell::default(),
            opened: Cell::new(0),
            coarse_now,
        }
    }

    /// Reads the configuration in force.
    pub(crate) fn with_fleet<R>(&self, read: impl FnOnce(&Fleet) -> R) -> R {
        read(self.fleet.borrow_mut().load())
    }

    /// Whose a request is, where a balancer in front says it in each; `Err` where it should and does not.
    pub(crate) fn whose(&self, peer: Peer, headers: &HeaderMap) -> (Peer, Result<(), Refusal>) {
        let Some(front) = self.shared.front.as_ref().filter(|_| peer.passed_on) else {
            return (peer, Ok(()));
        };
        match front.client(headers) {
            Ok(address) => (Peer { address: SocketAddr::new(address, 0), ..peer }, Ok(())),
            Err(Untold::Address) => (peer, Err(Refusal::SourceUntold)),
            Err(Untold::Plain) => (Peer { tls: false, ..peer }, Err(Refusal::PlainHttp)),
        }
    }

    /// Counts a connection from there; `None` when there are as many as may be.
    fn count_source(&self, address: IpAddr) -> Option<AddressKey> {
        let from = AddressKey::from(address);
        let mut sources = self.sources.borrow_mut();
        let of_source = sources.get(&from).copied().unwrap_or_default();
        let most = self.with_fleet(|fleet| fleet.global().connections_per_address);
        if of_source >= most.unwrap_or(self.shared.bounds.connections_per_address) {
            self.meters.turned_away();
            return None;
        }
        sources.insert(from, of_source + 1);
        Some(from)
    }

    /// A name for a call that begins now.
    pub(crate) fn call_id(&self, now: Timestamp) -> CallId {
        let mut ids = self.ids.borrow_mut();
        let random = ids.pop().unwrap_or_else(|| {
            let drawn: [u8; ID_BATCH * 10] = self.shared.entropy.bytes();
            ids.extend(drawn.chunks_exact(10).map(|chunk| {
                let mut id = [0; 10];
                id.copy_from_slice(chunk);
                id
            }));
            self.shared.entropy.bytes()
        });
        CallId::from_parts(now.millis(), random)
    }
}

/// Runs a worker until the proxy ends. Blocks its thread.
pub(crate) fn run(shared: Arc<Shared>, listener: TcpListener) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let worker = Rc::new(Worker::new(shared));
        let drain = Arc::clone(&worker.shared.drain);
        tasks::spawn_local("watch", watch::follow(Rc::clone(&worker)));
        tasks::spawn_local("sweep", Rc::clone(&worker).sweep());
        accept(&worker, listener).await;
        // Every connection that was accepted is served to its end, or to the end of the drain.
        let idle = async {
            if tokio::time::timeout(IDLE_GRACE, worker.all_closed()).await.is_err() {
                worker.dismiss();
                worker.all_closed().await;
            }
        };
        tokio::select! {
            () = idle => {}
            () = drain.reached(Phase::Ending) => {
                worker.dismiss();
                let _ = tokio::time::timeout(LAST_WORDS, worker.all_closed()).await;
            }
        }
        Ok(())
    })
}

/// Accepts until a drain has begun and no connection has come for a while. Closing the socket earlier would reset those
/// that the kernel has already answered.
async fn accept(worker: &Rc<Worker>, listener: tokio::net::TcpListener) {
    let drain = &worker.shared.drain;
    let mut draining = pin!(drain.reached(Phase::Draining));
    loop {
        tokio::select! {
            accepted = listener.accept() => worker.admit(accepted).await,
            () = &mut draining => break,
        }
    }
    let bounds = &worker.shared.bounds;
    let mut over = pin!(async {
        tokio::select! {
            () = tokio::time::sleep(bounds.drain_accept) => {}
            () = drain.reached(Phase::Ending) => {}
        }
    });
    loop {
        tokio::select! {
            accepted = tokio::time::timeout(bounds.drain_quiet, listener.accept()) => match accepted {
                Ok(accepted) => worker.admit(accepted).await,
                Err(_quiet) => break,
            },
            () = &mut over => break,
        }
    }
    // Whoever is connected already, or nearly, is still served; whoever comes now finds the next proxy.
    if let Err(error) = listener::refuse_new(&listener) {
        tracing::warn!(%error, "new connections may be reset while the listener closes");
    }
    while let Ok(accepted) = tokio::time::timeout(NEARLY_CONNECTED, listener.accept()).await {
        worker.admit(accepted).await;
    }
}

impl Worker {
    async fn admit(self: &Rc<Self>, accepted: io::Result<(TcpStream, SocketAddr)>) {
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors or memory: the connection waits in the kernel's queue meanwhile.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                return;
            }
        };
        if self.shared.front.as_ref().is_some_and(|front| !front.admits(address.ip())) {
            tracing::debug!(%address, "not one of the load balancers in front; closed it");
            return;
        }
        if self.connections.borrow().len() >= self.shared.bounds.connections {
            tracing::debug!("too many connections; closed one");
            return;
        }
        // Counted before it is served, so that a burst does not pass the bound.
        let Some(registered) = Registered::new(self, address.ip()) else {
            tracing::debug!("too many connections from one address; closed one");
            return;
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        tasks::spawn_local("connection", connection::serve(registered, stream, address));
    }

    /// Tells every connection to end after what it is doing.
    fn dismiss(&self) {
        self.connections.borrow().values().for_each(|connection| connection.want(Wish::Leave));
    }

    /// Closes connections whose next request does not come. Also keeps the coarse time by which that is known.
    async fn sweep(self: Rc<Self>) {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            let now = self.shared.clock.monotonic();
            self.coarse_now.set(now);
            let time = self.shared.bounds.header_timeout;
            let connections = self.connections.borrow();
            connections
                .values()
                .filter(|each| each.is_idle_for(time, now))
                .for_each(|each| each.want(Wish::Close));
        }
    }

    async fn all_closed(&self) {
        while !self.connections.borrow().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("connections", &self.connections.borrow().len())
            .finish_non_exhaustive()
    }
}
