//! One worker's connections to upstreams. Nothing here is shared with other workers, so there are no locks.
//!
//! A connection is used again only for the same upstream with the same options, and only while its address is still
//! allowed. HTTP/1.1 connections carry one exchange at a time, HTTP/2 connections many.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use ids::UpstreamId;
use seams::{Clock, Entropy, Monotonic};
use tokio::sync::oneshot;

use super::{
    connect::{self, Connected},
    error::UpstreamError,
    meters::Meters,
    origin::Origin,
    resolve::Resolver,
    watched::Watched,
};
use crate::snapshot::index::UpstreamIndex;

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

/// The body of a request to an upstream: always held whole.
pub(super) type Outbound = Full<Bytes>;

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
    swept: Cell<Monotonic>,
}

/// What is known of one upstream.
struct Place {
    fingerprint: [u8; 32],
    origin: Rc<Origin>,
    idle: Vec<Idle>,
    shared: Vec<Shared>,
    used: Monotonic,
}

struct Idle {
    connection: Connection,
    until: Monotonic,
}

/// A connection that carries one exchange at a time. Dropping it closes it.
struct Connection {
    sender: http1::SendRequest<Outbound>,
    address: SocketAddr,
    _driver: Driver,
}

/// A connection that carries many.
#[derive(Clone)]
struct Shared {
    sender: http2::SendRequest<Outbound>,
    address: SocketAddr,
    driver: Rc<Driver>,
}

/// Ends the task that drives a connection when dropped, and with it the connection, whatever is in flight.
struct Driver(#[expect(dead_code, reason = "dropping it is what it is for")] oneshot::Sender<()>);

/// A connection in use.
pub(super) struct Lease {
    pool: Rc<Pool>,
    upstream: UpstreamId,
    fingerprint: [u8; 32],
    kind: Kind,
    /// It has carried an exchange before, so the server may have closed it meanwhile.
    pub(super) reused: bool,
}

enum Kind {
    One(Connection),
    Many(Shared),
}

impl Pool {
    /// No connections yet.
    pub(crate) fn new(parts: Parts) -> Rc<Self> {
        let swept = Cell::new(parts.clock.monotonic());
        Rc::new(Self { parts, meters: Rc::new(Meters::new()), places: RefCell::default(), swept })
    }

    /// The upstream's place, from what is known or anew.
    pub(super) fn origin(&self, upstream: &UpstreamIndex) -> Result<Rc<Origin>, UpstreamError> {
        let now = self.parts.clock.monotonic();
        let mut places = self.places.borrow_mut();
        if let Some(place) = places.get_mut(&upstream.id)
            && place.fingerprint == upstream.fingerprint
        {
            place.used = now;
            return Ok(place.origin.clone());
        }
        let origin = Rc::new(Origin::new(upstream)?);
        // Connections made under other options are closed by being dropped here.
        places.insert(
            upstream.id,
            Place {
                fingerprint: upstream.fingerprint,
                origin: origin.clone(),
                idle: Vec::new(),
                shared: Vec::new(),
                used: now,
            },
        );
        Ok(origin)
    }

    /// A connection: an idle one if there is one, unless `fresh` is asked for.
    pub(super) async fn lease(
        self: &Rc<Self>,
        upstream: &UpstreamIndex,
        rules: &egress::Rules,
        sticky: Option<SocketAddr>,
        fresh: bool,
    ) -> Result<Lease, UpstreamError> {
        let origin = self.origin(upstream)?;
        let lease = |kind, reused| Lease {
            pool: self.clone(),
            upstream: upstream.id,
            fingerprint: upstream.fingerprint,
            kind,
            reused,
        };
        if !fresh && let Some(kind) = self.take(upstream, rules, &origin, sticky) {
            return Ok(lease(kind, true));
        }
        let resolver = &*self.parts.resolver;
        let connecting = connect::connect(&origin, rules, resolver, sticky, upstream.connect_timeout);
        let connected = Box::pin(connecting).await?;
        let kind = self.handshake(connected).await.map_err(UpstreamError::Broken)?;
        if let Kind::Many(shared) = &kind
            && let Some(place) = self.places.borrow_mut().get_mut(&upstream.id)
            && place.fingerprint == upstream.fingerprint
            && !place.shared.iter().any(|other| other.address == shared.address && !other.sender.is_closed())
        {
            place.shared.push(shared.clone());
        }
        Ok(lease(kind, false))
    }

    fn take(
        &self,
        upstream: &UpstreamIndex,
        rules: &egress::Rules,
        origin: &Origin,
        sticky: Option<SocketAddr>,
    ) -> Option<Kind> {
        let now = self.parts.clock.monotonic();
        let mut places = self.places.borrow_mut();
        let place = places.get_mut(&upstream.id)?;
        // An address that an operator no longer allows is not used again.
        let permitted = |address: SocketAddr| rules.check(address.ip(), origin.port).is_ok();
        place.shared.retain(|shared| !shared.sender.is_closed() && permitted(shared.address));
        place.idle.retain(|idle| {
            now < idle.until && !idle.connection.sender.is_closed() && permitted(idle.connection.address)
        });
        let wanted = |address: SocketAddr| sticky.is_none_or(|sticky| sticky == address);
        if let Some(shared) = place.shared.iter().find(|shared| wanted(shared.address)) {
            return Some(Kind::Many(shared.clone()));
        }
        // The one used last is the least likely to be closed soon.
        let at = place
            .idle
            .iter()
            .rposition(|idle| idle.connection.sender.is_ready() && wanted(idle.connection.address))?;
        Some(Kind::One(place.idle.remove(at).connection))
    }

    async fn handshake(&self, connected: Connected) -> hyper::Result<Kind> {
        let io = TokioIo::new(connected.io);
        let (driver, dropped) = oneshot::channel();
        let driver = Driver(driver);
        let address = connected.address;
        if connected.h2 {
            let (sender, connection) = http2::Builder::new(LocalExecutor(self.parts.spawn.clone()))
                .timer(TokioTimer::new())
                .handshake(io)
                .await?;
            (self.parts.spawn)(Box::pin(drive(connection, dropped)));
            return Ok(Kind::Many(Shared { sender, address, driver: Rc::new(driver) }));
        }
        let (sender, connection) = http1::Builder::new().handshake(io).await?;
        (self.parts.spawn)(Box::pin(drive(connection, dropped)));
        Ok(Kind::One(Connection { sender, address, _driver: driver }))
    }

    fn give_back(&self, lease: Lease, idle_for: Option<Duration>) {
        let Kind::One(connection) = lease.kind else { return };
        let now = self.parts.clock.monotonic();
        let keep = idle_for.unwrap_or(IDLE_FOR).min(IDLE_AT_MOST);
        let mut places = self.places.borrow_mut();
        if let Some(place) = places.get_mut(&lease.upstream)
            && place.fingerprint == lease.fingerprint
            && !connection.sender.is_closed()
            && !keep.is_zero()
        {
            if place.idle.len() >= MAX_IDLE {
                place.idle.remove(0);
            }
            let until = Monotonic::from_nanos(now.nanos().saturating_add(keep.as_nanos() as u64));
            place.idle.push(Idle { connection, until });
            place.used = now;
        }
        if now.since(self.swept.get()) >= SWEEP_EVERY {
            self.swept.set(now);
            places.retain(|_, place| {
                place.idle.retain(|idle| now < idle.until && !idle.connection.sender.is_closed());
                place.shared.retain(|shared| !shared.sender.is_closed());
                now.since(place.used) < FORGET_AFTER
            });
        }
    }

    /// Idle HTTP/1.1 connections to an upstream.
    #[cfg(test)]
    pub(super) fn idle(&self, upstream: UpstreamId) -> usize {
        self.places.borrow().get(&upstream).map_or(0, |place| place.idle.len())
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
            Kind::One(connection) => connection.address,
            Kind::Many(shared) => shared.address,
        }
    }

    /// Whether requests on it name scheme and authority in their target.
    pub(super) const fn is_h2(&self) -> bool {
        matches!(self.kind, Kind::Many(_))
    }

    /// Sends a request. The request comes back when none of it was written.
    pub(super) async fn send(
        &mut self,
        request: http::Request<Outbound>,
    ) -> Result<http::Response<hyper::body::Incoming>, Unsent> {
        let sent = match &mut self.kind {
            Kind::One(connection) => connection.sender.try_send_request(request).await,
            Kind::Many(shared) => shared.sender.try_send_request(request).await,
        };
        sent.map_err(|mut error| Unsent { request: error.take_message(), error: error.into_error() })
    }

    /// Nothing came back on it: no other call is to try the same.
    pub(super) fn discard(self) {
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
pub(super) struct Unsent {
    /// The request, if nothing of it was written.
    pub(super) request: Option<http::Request<Outbound>>,
    pub(super) error: hyper::Error,
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
