//! A new connection to an upstream: resolve, look at every address, dial those that were looked at, speak TLS.
//!
//! The address that was checked is the one that is dialled, so a name that changes between the two (DNS rebinding) gains
//! nothing. Redirects are never followed, so no other host can be reached by an answer.
//!
//! Addresses are dialled one after the other, the next when the one before has failed or has taken a quarter of a second (RFC
//! 8305); the first that connects wins, and the others are dropped.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use telemetry::metric;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use url::Host;

use super::{
    addresses::{Addresses, Order},
    error::{UpstreamError, Waiting},
    origin::Origin,
    pins::is_mismatch,
    resolve::Resolver,
};

/// After so long the next address is dialled beside the one before (RFC 8305 section 5).
const NEXT_AFTER: Duration = Duration::from_millis(250);
/// The same where the first is the one a session lives at: at every other it is lost.
const NEXT_AFTER_STICKY: Duration = Duration::from_secs(1);
/// And before one that was left alone.
const NEXT_AFTER_LEFT_ALONE: Duration = Duration::from_secs(1);

/// A connection, with the address at its other end.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) io: Io,
    pub(crate) address: SocketAddr,
    /// ALPN chose HTTP/2.
    pub(crate) h2: bool,
}

/// Dials the upstream. `sticky` is preferred where the name still has it: a session lives in one server.
///
/// # Errors
/// See [`UpstreamError`]; within `timeout` in any case.
pub(crate) async fn connect(
    origin: &Origin,
    rules: &egress::Rules,
    resolver: &dyn Resolver,
    sticky: Option<SocketAddr>,
    timeout: Duration,
) -> Result<Connected, UpstreamError> {
    let end = Instant::now() + timeout;
    let late = |_| UpstreamError::Timeout(Waiting::Connect);
    let allowed = tokio::time::timeout_at(end, allowed(origin, rules, resolver)).await.map_err(late)??;
    let mut race = Race::new(&origin.addresses, allowed, sticky);
    let connected = match tokio::time::timeout_at(end, finish(origin, &mut race)).await {
        Ok(connected) => connected,
        Err(elapsed) => {
            race.late();
            Err(late(elapsed))
        }
    };
    if connected.is_err() {
        origin.addresses.forget_answer();
    }
    connected
}

/// The first address that connects, and with which TLS can be spoken. Nothing of a request was written before that, so
/// whichever fails costs no more than time.
async fn finish(origin: &Origin, race: &mut Race<'_>) -> Result<Connected, UpstreamError> {
    loop {
        let (stream, address) = race.run().await.map_err(UpstreamError::Connect)?;
        // Small requests must not wait for the acknowledgement of earlier ones.
        stream.set_nodelay(true).map_err(UpstreamError::Connect)?;
        race.securing = Some(address);
        let secured = secure(origin, stream, address).await;
        race.securing = None;
        match secured {
            Ok(connected) => {
                origin.addresses.connected(address);
                return Ok(connected);
            }
            Err(error) => {
                // No other address is asked until it finds one that fits, by later calls neither.
                if matches!(error, UpstreamError::Pin) {
                    return Err(error);
                }
                origin.addresses.unreachable(address, Instant::now());
                if race.is_over() {
                    return Err(error);
                }
            }
        }
    }
}

/// The addresses that may be dialled. One refused address does not spoil the others: a public name with a stray
/// private record stays reachable, at its public addresses only.
async fn allowed(
    origin: &Origin,
    rules: &egress::Rules,
    resolver: &dyn Resolver,
) -> Result<Vec<SocketAddr>, UpstreamError> {
    let resolved: Vec<IpAddr> = match &origin.host {
        Host::Ipv4(ip) => vec![(*ip).into()],
        Host::Ipv6(ip) => vec![(*ip).into()],
        Host::Domain(name) => {
            origin.addresses.resolve(name, resolver).await.map_err(UpstreamError::Resolve)?
        }
    };
    let mut refused = None;
    let mut addresses = Vec::with_capacity(resolved.len());
    for ip in resolved {
        match rules.check(ip, origin.port) {
            Ok(()) => addresses.push(SocketAddr::new(ip, origin.port)),
            Err(error) => refused = Some(error),
        }
    }
    match (addresses.is_empty(), refused) {
        (false, _) => Ok(addresses),
        (true, error) => {
            origin.addresses.forget_answer();
            Err(error.map_or_else(
                || UpstreamError::Resolve(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
                UpstreamError::AddressRefused,
            ))
        }
    }
}

type Dialling = Pin<Box<dyn Future<Output = (SocketAddr, io::Result<TcpStream>)> + Send>>;

/// Attempts at the addresses of one server, of which one wins.
struct Race<'a> {
    of: &'a Addresses,
    order: Order,
    /// So many have been begun, in order.
    begun: usize,
    running: FuturesUnordered<Dialling>,
    /// Those that run, in the order in which they were begun.
    pending: Vec<SocketAddr>,
    /// The one that is spoken TLS to.
    securing: Option<SocketAddr>,
    next_after: Duration,
}

impl<'a> Race<'a> {
    fn new(of: &'a Addresses, allowed: Vec<SocketAddr>, sticky: Option<SocketAddr>) -> Self {
        let order = of.order(allowed, sticky, Instant::now());
        let is_sticky = sticky.is_some() && order.addresses.first().copied() == sticky;
        let next_after = if is_sticky { NEXT_AFTER_STICKY } else { NEXT_AFTER };
        let running = FuturesUnordered::new();
        Self { of, order, begun: 0, running, pending: Vec::new(), securing: None, next_after }
    }

    /// The next connection; the last error if there is none.
    async fn run(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        if self.running.is_empty() {
            self.begin();
        }
        while !self.running.is_empty() {
            // Those that were left alone too, last and later: one of them may be back, while the others are away.
            let more = self.begun < self.order.addresses.len();
            let pause = if self.begun < self.order.well { self.next_after } else { NEXT_AFTER_LEFT_ALONE };
            let (address, dialled) = tokio::select! {
                biased;
                Some(dialled) = self.running.next() => dialled,
                () = tokio::time::sleep(pause), if more => {
                    self.begin();
                    continue;
                }
                else => break,
            };
            let at = self.pending.iter().position(|pending| *pending == address).unwrap_or_default();
            self.pending.remove(at);
            match dialled {
                Ok(stream) => {
                    // Those that were begun before it had more time, and have not connected.
                    for slower in self.pending.drain(..at) {
                        count("overtaken");
                        self.of.unreachable(slower, Instant::now());
                    }
                    self.pending.clear();
                    self.running.clear();
                    count("connected");
                    return Ok((stream, address));
                }
                Err(error) => {
                    count("failed");
                    self.of.unreachable(address, Instant::now());
                    last = error;
                    if more || self.running.is_empty() {
                        self.begin();
                    }
                }
            }
        }
        Err(last)
    }

    fn begin(&mut self) {
        let Some(address) = self.order.addresses.get(self.begun).copied() else { return };
        self.begun += 1;
        self.pending.push(address);
        self.running.push(Box::pin(async move { (address, TcpStream::connect(address).await) }));
    }

    fn is_over(&self) -> bool {
        self.begun >= self.order.addresses.len()
    }

    /// The time is over: none of those that run has connected.
    fn late(&mut self) {
        let now = Instant::now();
        for address in self.pending.drain(..).chain(self.securing.take()) {
            count("late");
            self.of.unreachable(address, now);
        }
    }
}

fn count(result: &'static str) {
    metrics::counter!(metric::UPSTREAM_ATTEMPTS, "result" => result).increment(1);
}

async fn secure(origin: &Origin, stream: TcpStream, address: SocketAddr) -> Result<Connected, UpstreamError> {
    let Some(tls) = &origin.tls else { return Ok(Connected { io: Io::Plain(stream), address, h2: false }) };
    let connector = TlsConnector::from(tls.config.clone());
    let connecting = connector.connect(tls.name.clone(), stream);
    let failed = |error| if is_mismatch(&error) { UpstreamError::Pin } else { UpstreamError::Tls(error) };
    let stream = connecting.await.map_err(failed)?;
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok(Connected { io: Io::Tls(Box::new(stream)), address, h2 })
}

/// A byte stream to an upstream.
#[derive(Debug)]
pub(crate) enum Io {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
