//! One worker's connections to upstreams. Nothing here is shared with other workers, so there are no locks.
//!
//! A connection is used again only for the same upstream with the same options, and only while its address is still
//! allowed. HTTP/1.1 connections carry one exchange at a time, HTTP/2 connections many.

mod budget;
mod place;

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use ids::UpstreamId;
use seams::{Clock, Entropy, Monotonic};
use tokio::{sync::oneshot, time::Instant};

use super::{
    connect::{self, Connected},
    error::{Break, Fault, UpstreamError},
    exchange::Outgoing,
    http1,
    meters::Meters,
    origin::Origin,
    received::{Inbound, Received},
    resolve::Resolver,
    watched::Watched,
};
use crate::snapshot::index::UpstreamIndex;
use budget::Budget;
use place::{Driver, Idle, Place, Shared};

/// Idle HTTP/1.1 connections kept for one upstream.
const MAX_IDLE: usize = 64;
/// How long a connection may lie idle. Common servers close after 5 s, and a request that meets the close cannot be
/// repeated safely.
const IDLE_FOR: Duration = Duration::from_secs(4);
/// The longest time a server's `Keep-Alive: timeout=` is believed.
const IDLE_AT_MOST: Duration = Duration::from_secs(60);
/// Upstreams not used for this long are forgotten, with their connections.
const FORGET_AFTER: Duration = Duration::from_secs(120);
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// A task that lives on the worker.
pub(crate) type LocalTask = Pin<Box<dyn Future<Output = ()>>>;

/// What a pool is made of.
pub(crate) struct Parts {
    /// Runs a task on this worker.
    pub(crate) spawn: Rc<dyn Fn(LocalTask)>,
    /// Asked for every new connection.
    pub(crate) resolver: Arc<dyn Resolver>,
    /// Time.
    pub(crate) clock: Arc<dyn Clock>,
    /// Randomness of seals.
    pub(crate) entropy: Arc<dyn Entropy>,
    /// Where changed definitions are noticed.
    pub(crate) watched: Arc<Watched>,
}

/// One worker's connections.
pub(crate) struct Pool {
    pub(super) parts: Parts,
    pub(super) meters: Rc<Meters>,
    places: RefCell<hashbrown::HashMap<UpstreamId, Place, ahash::RandomState>>,
    /// A task looks after what lies idle.
    sweeping: Cell<bool>,
}

/// A connection in use.
pub(super) struct Lease {
    pool: Rc<Pool>,
    upstream: UpstreamId,
    fingerprint: [u8; 32],
    origin: Rc<Origin>,
    kind: Kind,
    /// It has carried an exchange before, so the server may have closed it meanwhile.
    pub(super) reused: bool,
}

enum Kind {
    /// Carries one exchange at a time. Dropping it closes it.
    One(Rc<http1::Connection>),
    Many(Shared),
}

impl Pool {
    /// No connections yet.
    pub(crate) fn new(parts: Parts) -> Rc<Self> {
        let meters = Rc::new(Meters::new());
        Rc::new(Self { parts, meters, places: RefCell::default(), sweeping: Cell::new(false) })
    }

    /// A connection that is there and idle, unless `fresh` is asked for; or else the upstream's place, from what is known or
    /// anew.
    pub(super) fn idle(
        self: &Rc<Self>,
        upstream: &UpstreamIndex,
        rules: &egress::Rules,
        sticky: Option<SocketAddr>,
        fresh: bool,
    ) -> Result<Result<Lease, Rc<Origin>>, UpstreamError> {
        let now = self.parts.clock.monotonic();
        let mut places = self.places.borrow_mut();
        if let Some(place) = places.get_mut(&upstream.id)
            && place.fingerprint == upstream.fingerprint
        {
            place.used = now;
            if !fresh {
                place.retries.earn();
            }
            let kind = if fresh { None } else { place.take(now, rules, sticky) };
            return Ok(match kind {
                Some(kind) => Ok(self.leased(upstream, place.origin.clone(), kind, true)),
                None => Err(place.origin.clone()),
            });
        }
        let turn = u16::from_le_bytes(self.parts.entropy.bytes());
        let origin = Rc::new(Origin::new(upstream)?.beginning_at(turn));
        // Connections made under other options are closed by being dropped here.
        places.insert(
            upstream.id,
            Place {
                fingerprint: upstream.fingerprint,
                origin: origin.clone(),
                idle: Vec::new(),
                shared: Vec::new(),
                used: now,
                widened: Monotonic::from_nanos(0),
                retries: Budget::default(),
            },
        );
        Ok(Err(origin))
    }

    /// A new connection.
    pub(super) async fn connect(
        self: &Rc<Self>,
        upstream: &UpstreamIndex,
        rules: &egress::Rules,
        origin: Rc<Origin>,
        sticky: Option<SocketAddr>,
        within: Duration,
    ) -> Result<Lease, UpstreamError> {
        if !self.sweeping.replace(true) {
            (self.parts.spawn)(Box::pin(sweep(Rc::downgrade(self))));
        }
        let resolver = &*self.parts.resolver;
        let connected = connect::connect(&origin, rules, resolver, sticky, within).await?;
        let kind = self.handshake(connected).await.map_err(Break::from)?;
        if let Kind::Many(shared) = &kind
            && let Some(place) = self.places.borrow_mut().get_mut(&upstream.id)
            && place.fingerprint == upstream.fingerprint
            && !place.shared.iter().any(|other| other.address == shared.address && !other.sender.is_closed())
        {
            place.shared.push(shared.clone());
        }
        Ok(self.leased(upstream, origin, kind, false))
    }

    fn leased(
        self: &Rc<Self>,
        upstream: &UpstreamIndex,
        origin: Rc<Origin>,
        kind: Kind,
        reused: bool,
    ) -> Lease {
        let fingerprint = upstream.fingerprint;
        Lease { pool: self.clone(), upstream: upstream.id, fingerprint, origin, kind, reused }
    }

    async fn handshake(&self, connected: Connected) -> hyper::Result<Kind> {
        let address = connected.address;
        if !connected.h2 {
            return Ok(Kind::One(http1::Connection::new(connected.io, address)));
        }
        let (driver, dropped) = oneshot::channel();
        let (sender, connection) = http2::Builder::new(LocalExecutor(self.parts.spawn.clone()))
            .timer(TokioTimer::new())
            .handshake(TokioIo::new(connected.io))
            .await?;
        (self.parts.spawn)(Box::pin(drive(connection, dropped)));
        Ok(Kind::Many(Shared { sender, address, driver: Rc::new(Driver(driver)) }))
    }

    fn give_back(&self, lease: Lease, idle_for: Option<Duration>) {
        let Kind::One(connection) = lease.kind else { return };
        let now = self.parts.clock.monotonic();
        let keep = idle_for.unwrap_or(IDLE_FOR).min(IDLE_AT_MOST);
        let mut places = self.places.borrow_mut();
        if let Some(place) = places.get_mut(&lease.upstream)
            && place.fingerprint == lease.fingerprint
            && connection.is_reusable()
            && !keep.is_zero()
        {
            connection.rest();
            if place.idle.len() >= MAX_IDLE {
                place.idle.remove(0);
            }
            let until = Monotonic::from_nanos(now.nanos().saturating_add(keep.as_nanos() as u64));
            place.idle.push(Idle { connection, until });
            place.used = now;
        }
    }

    /// Idle HTTP/1.1 connections to an upstream.
    #[cfg(test)]
    pub(super) fn idle_count(&self, upstream: UpstreamId) -> usize {
        self.places.borrow().get(&upstream).map_or(0, |place| place.idle.len())
    }
}

/// Closes what lies idle too long and what servers have closed, until nothing is left to look after.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(pool) = pool.upgrade() else { return };
        let now = pool.parts.clock.monotonic();
        let mut places = pool.places.borrow_mut();
        places.retain(|_, place| {
            place.idle.retain(|idle| now < idle.until && idle.connection.is_quiet());
            place.shared.retain(|shared| !shared.sender.is_closed());
            now.since(place.used) < FORGET_AFTER
        });
        if places.is_empty() {
            pool.sweeping.set(false);
            return;
        }
    }
}

async fn drive<E: fmt::Display>(
    connection: impl Future<Output = Result<(), E>>,
    dropped: oneshot::Receiver<()>,
) {
    tokio::select! {
        ended = connection => {
            if let Err(error) = ended {
                tracing::debug!(%error, "upstream connection ended");
            }
        }
        _ = dropped => {}
    }
}

impl Lease {
    /// The address at the other end.
    pub(super) fn address(&self) -> SocketAddr {
        match &self.kind {
            Kind::One(connection) => connection.address(),
            Kind::Many(shared) => shared.address,
        }
    }

    /// Sends a request and waits for the response's head.
    pub(super) async fn send(&mut self, outgoing: &Outgoing<'_>) -> Result<(Received, Inbound), Unanswered> {
        let origin = &self.origin;
        match &mut self.kind {
            Kind::One(connection) => {
                let exchange = connection.exchange(|head| outgoing.write(origin, head), &outgoing.body);
                let (received, body) = exchange.await?;
                Ok((received, Inbound::One(body)))
            }
            Kind::Many(shared) => {
                let request = outgoing.request(origin).map_err(Unanswered::Failed)?;
                match shared.sender.try_send_request(request).await {
                    Ok(response) => Ok(Inbound::many(response)),
                    Err(mut error) => match error.take_message() {
                        Some(_) => Err(Unanswered::Unsent(error.into_error().into())),
                        None => Err(error.into_error().into()),
                    },
                }
            }
        }
    }

    /// Whether the upstream's budget has room for a call to be sent twice.
    pub(super) fn may_repeat(&self) -> bool {
        let now = self.pool.parts.clock.monotonic();
        let mut places = self.pool.places.borrow_mut();
        places.get_mut(&self.upstream).is_some_and(|place| place.retries.take(now))
    }

    /// A response's head came.
    pub(super) fn answered(&self) {
        self.origin.addresses.answered(self.address());
    }

    /// Nothing came back on it. Where that has happened often, no other call is to try the same server.
    pub(super) fn unanswered(&self) {
        let address = self.address();
        if self.origin.addresses.unanswered(address, Instant::now())
            && let Some(place) = self.pool.places.borrow_mut().get_mut(&self.upstream)
        {
            place.idle.retain(|idle| idle.connection.address() != address);
            place.shared.retain(|shared| shared.address != address);
        }
    }

    /// Nothing came back on it: no other call is to try the same connection.
    pub(super) fn discard(self) {
        self.unanswered();
        let Kind::Many(broken) = &self.kind else { return };
        if let Some(place) = self.pool.places.borrow_mut().get_mut(&self.upstream) {
            place.shared.retain(|shared| !Rc::ptr_eq(&shared.driver, &broken.driver));
        }
    }

    /// The response was read to its end: the connection may be used again, for `idle_for` as the server says.
    pub(super) fn give_back(self, idle_for: Option<Duration>) {
        let pool = self.pool.clone();
        pool.give_back(self, idle_for);
    }
}

/// A request that got no response.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    /// Nothing of it was written.
    #[error(transparent)]
    Unsent(Break),
    /// The connection is closed, and not a byte of a response came.
    #[error(transparent)]
    Closed(Break),
    /// It is not to be repeated.
    #[error(transparent)]
    Failed(UpstreamError),
}

impl From<hyper::Error> for Unanswered {
    fn from(error: hyper::Error) -> Self {
        Self::Failed(if error.is_parse() { Fault::NotHttp.into() } else { Break::from(error).into() })
    }
}

#[derive(Clone)]
struct LocalExecutor(Rc<dyn Fn(LocalTask)>);

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        (self.0)(Box::pin(future));
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("upstreams", &self.places.borrow().len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("upstream", &self.upstream)
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}
