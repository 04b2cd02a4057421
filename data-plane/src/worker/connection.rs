//! One caller's connection: HTTP/1.1 or HTTP/2 over it, and what its worker may want of it meanwhile.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    error::Error as _,
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use limits::address::AddressKey;
use listen::{
    front::{Front, Tells},
    http as bound, proxy_protocol,
    tls::H2,
};
use seams::Monotonic;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::{Peer, Worker};
use crate::{pipeline, presented::Presented, tasks, upstream::Body};

/// Where a connection comes from, and what was shown when it began.
type Source = (Peer, Option<Arc<Presented>>);

/// One caller's connection, as its worker sees it.
pub(super) struct Connection {
    /// Responses that are being made or sent.
    busy: Cell<u32>,
    /// Since when nothing is, in the worker's coarse time.
    idle_since: Cell<Monotonic>,
    wish: Cell<Wish>,
    waker: RefCell<Option<Waker>>,
}

/// What a worker wants of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wish {
    Stay,
    /// Go after what it is doing.
    Leave,
    /// Go now: its next request does not come, or comes too slowly.
    Close,
}

/// Serves a connection to its end.
pub(super) async fn serve(mut registered: Registered, mut stream: TcpStream, address: SocketAddr) {
    let worker = Rc::clone(&registered.worker);
    let _counted = worker.meters.connection();
    let mut peer = Peer { address, tls: worker.shared.tls.is_some(), passed_on: false };
    if let Some(front) = worker.shared.front.as_ref().filter(|front| front.declares(address.ip())) {
        peer.tls |= front.ends_tls();
        if front.tells() == Tells::ProxyProtocol {
            match introduced(&mut registered, front, &mut stream).await {
                Ok(source) => peer.address = source.unwrap_or(address),
                Err(why) => return tracing::debug!(%address, why, "no connection"),
            }
        } else {
            peer.passed_on = true;
        }
    }
    let Some(acceptor) = worker.shared.tls.clone() else {
        return http1(&worker, TokioIo::new(stream), (peer, None), &registered.connection).await;
    };
    let stream = match worker.handshakes.run(acceptor.accept(stream)).await {
        Ok(stream) => stream,
        Err(error) => return tracing::debug!(%error, cause = error.source(), "no connection"),
    };
    let tls = stream.get_ref().1;
    let shown = Presented::of(tls.peer_certificates()).map(Arc::new);
    if tls.alpn_protocol() == Some(H2) {
        http2(&worker, TokioIo::new(stream), (peer, shown), &registered.connection).await;
    } else {
        http1(&worker, TokioIo::new(stream), (peer, shown), &registered.connection).await;
    }
}

/// Reads whose the connection of a declared balancer is; `None`: its own. From here on it counts as that one's.
async fn introduced(
    registered: &mut Registered,
    front: &Front,
    stream: &mut TcpStream,
) -> Result<Option<SocketAddr>, &'static str> {
    let reading = registered.worker.handshakes.run(proxy_protocol::read(stream));
    let header = reading.await.map_err(|_| "no PROXY protocol header that can be read came in time")?;
    if front.ends_tls() && header.tls == Some(false) {
        return Err("it came to the balancer over plain HTTP");
    }
    let Some(source) = header.source else { return Ok(None) };
    if !registered.comes_from(source.ip()) {
        return Err("too many connections from its address");
    }
    Ok(Some(source))
}

async fn http1<S>(worker: &Rc<Worker>, io: TokioIo<S>, from: Source, connection: &Rc<Connection>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (own, mine) = (Rc::clone(worker), Rc::clone(connection));
    let service = service_fn(move |request| answer(Rc::clone(&own), Rc::clone(&mine), from.clone(), request));
    // No time-out of hyper's: it costs a timer for every request. The worker looks at all connections now and then. And no
    // limit of lines but hyper's own hundred, a little above row 1's: for another one it clears a table at every request.
    let serving = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(bound::HEAD_BUFFER)
        .serve_connection(io, service);
    drive(connection, serving, |serving| serving.graceful_shutdown()).await;
}

async fn http2<S>(worker: &Rc<Worker>, io: TokioIo<S>, from: Source, connection: &Rc<Connection>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (own, mine) = (Rc::clone(worker), Rc::clone(connection));
    let service = service_fn(move |request| answer(Rc::clone(&own), Rc::clone(&mine), from.clone(), request));
    let serving = hyper::server::conn::http2::Builder::new(Local)
        .timer(TokioTimer::new())
        .max_concurrent_streams(bound::STREAMS)
        .max_pending_accept_reset_streams(bound::PENDING_RESETS)
        .max_local_error_reset_streams(bound::ERROR_RESETS)
        .max_header_list_size(bound::HEADER_LIST)
        .max_frame_size(bound::FRAME)
        .initial_stream_window_size(bound::STREAM_WINDOW)
        .initial_connection_window_size(bound::CONNECTION_WINDOW)
        .max_send_buf_size(bound::SEND_BUFFER)
        .keep_alive_interval(Some(bound::PING_EVERY))
        .keep_alive_timeout(bound::PING_TIMEOUT)
        .serve_connection(io, service);
    drive(connection, serving, |serving| serving.graceful_shutdown()).await;
}

/// Serves until the caller ends it, or the worker wants it to end.
async fn drive<C>(connection: &Connection, serving: C, leave: impl Fn(Pin<&mut C>))
where
    C: Future<Output = Result<(), hyper::Error>>,
{
    let mut serving = pin!(serving);
    let mut told = false;
    let ended = poll_fn(|cx| {
        match connection.wish(cx.waker()) {
            Wish::Close => return Poll::Ready(Ok(())),
            Wish::Leave if !told => {
                told = true;
                leave(serving.as_mut());
            }
            Wish::Leave | Wish::Stay => {}
        }
        serving.as_mut().poll(cx)
    });
    // Broken connections are everyday life; the requests on them have been accounted for already.
    if let Err(error) = ended.await {
        tracing::debug!(%error, "connection ended");
    }
}

impl Connection {
    /// What is wanted of it now; if it may stay, `waker` is told when that changes.
    fn wish(&self, waker: &Waker) -> Wish {
        let wish = self.wish.get();
        if wish < Wish::Close {
            let mut known = self.waker.borrow_mut();
            if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
                *known = Some(waker.clone());
            }
        }
        wish
    }

    pub(super) fn want(&self, wish: Wish) {
        if wish > self.wish.get() {
            self.wish.set(wish);
            if let Some(waker) = self.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }

    pub(super) fn is_idle_for(&self, time: Duration, now: Monotonic) -> bool {
        self.busy.get() == 0 && now.since(self.idle_since.get()) > time
    }
}

/// Keeps its connection busy: from a request's head to its response's last byte.
struct Busy {
    worker: Rc<Worker>,
    connection: Rc<Connection>,
}

impl Busy {
    fn new(worker: &Rc<Worker>, connection: &Rc<Connection>) -> Self {
        connection.busy.set(connection.busy.get() + 1);
        Self { worker: Rc::clone(worker), connection: Rc::clone(connection) }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.connection.busy.set(self.connection.busy.get() - 1);
        self.connection.idle_since.set(self.worker.coarse_now.get());
    }
}

/// A response's body that keeps its connection busy until it is sent.
struct Sending {
    body: Body,
    _busy: Busy,
}

impl http_body::Body for Sending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// A connection in its worker's list.
pub(super) struct Registered {
    worker: Rc<Worker>,
    number: u64,
    /// Where it counts as coming from; `None` while that is not known: a balancer's connections are everybody's.
    from: Option<AddressKey>,
    connection: Rc<Connection>,
}

impl Registered {
    /// `None` when as many come from there as may.
    pub(super) fn new(worker: &Rc<Worker>, address: IpAddr) -> Option<Self> {
        let balancer = worker.shared.front.as_ref().is_some_and(|front| front.declares(address));
        let from = if balancer { None } else { Some(worker.count_source(address)?) };
        let number = worker.opened.get();
        worker.opened.set(number + 1);
        let connection = Rc::new(Connection {
            busy: Cell::new(0),
            idle_since: Cell::new(worker.coarse_now.get()),
            wish: Cell::new(Wish::Stay),
            waker: RefCell::default(),
        });
        worker.connections.borrow_mut().insert(number, Rc::clone(&connection));
        Some(Self { worker: Rc::clone(worker), number, from, connection })
    }

    /// Counts it as coming from there; `false` when as many do as may.
    fn comes_from(&mut self, address: IpAddr) -> bool {
        self.from = self.worker.count_source(address);
        self.from.is_some()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.worker.connections.borrow_mut().remove(&self.number);
        let Some(from) = self.from else { return };
        let mut sources = self.worker.sources.borrow_mut();
        match sources.get_mut(&from) {
            Some(of_source) if *of_source > 1 => *of_source -= 1,
            _ => drop(sources.remove(&from)),
        }
    }
}

async fn answer(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    (peer, shown): Source,
    request: Request<Incoming>,
) -> Result<Response<Sending>, Infallible> {
    let busy = Busy::new(&worker, &connection);
    let response = pipeline::handle(&worker, peer, shown.as_ref(), request).await;
    Ok(response.map(|body| Sending { body, _busy: busy }))
}

/// Runs HTTP/2 streams on the worker's own runtime.
#[derive(Debug, Clone, Copy)]
struct Local;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, work: F) {
        tasks::spawn_local("http2", async move {
            work.await;
        });
    }
}
