//! The API's listener: HTTP/1.1 and HTTP/2, with TLS, or on loopback without.

use std::{error::Error as _, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo};
use http::{HeaderValue, header::CONNECTION};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use listen::{
    files::TlsError,
    front::{Front, Tells, Untold},
    handshakes::Handshakes,
    http as bound, proxy_protocol,
    tls::H2,
};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::sources::{Activity, Sources};
use crate::tasks::Tasks;

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Whether the caller speaks TLS, be it to us or to a declared load balancer.
    pub tls: bool,
}

/// Why a listener cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be had.
    #[error("cannot listen on {address}")]
    Bind {
        /// Which.
        address: SocketAddr,
        #[source]
        /// Why.
        source: io::Error,
    },
    /// No certificate, and reachable from elsewhere.
    #[error(
        "{0} is not a loopback address: configure a certificate, listen on 127.0.0.1 or ::1, or declare the load balancers at which TLS ends"
    )]
    PlainHttp(SocketAddr),
    /// Certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Binds. Plain HTTP is refused on any address but loopback.
///
/// # Errors
/// [`ListenError`].
pub async fn bind(address: SocketAddr, encrypted: bool) -> Result<TcpListener, ListenError> {
    if !encrypted && !address.ip().is_loopback() {
        return Err(ListenError::PlainHttp(address));
    }
    TcpListener::bind(address).await.map_err(|source| ListenError::Bind { address, source })
}

/// How long a TLS handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Handshakes of one listener at a time; for one more, the oldest is given up.
const HANDSHAKES: usize = 256;
/// How long an HTTP/1.1 connection may wait for the whole of a request's header, the first one and each after it.
const HEADER_TIME: Duration = Duration::from_secs(30);
/// Connections of one listener at a time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 4096;
/// At shutdown connections are accepted until none has come for so long: a socket that closes resets those that wait to
/// be accepted,
const QUIET: Duration = Duration::from_millis(100);
/// or, where they keep coming, for so long.
const ACCEPT_AT_MOST: Duration = Duration::from_secs(2);
/// At shutdown a kept connection may send one more request, whose response says that it ends; then it is closed.
const IDLE_GRACE: Duration = Duration::from_millis(500);
/// How long requests in flight may take to end at shutdown.
const DRAIN_TIME: Duration = Duration::from_secs(20);

/// Accepts connections until shutdown, then lets requests in flight end.
pub fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    front: Option<Arc<Front>>,
    routes: Router,
    tasks: &Tasks,
    name: &'static str,
) {
    let acceptor = tls.map(TlsAcceptor::from);
    let all = tasks.clone();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let handshakes = Arc::new(Handshakes::new(HANDSHAKES, HANDSHAKE_TIME));
    let sources = Sources::default();
    tasks.spawn(name, async move {
        let stopping = all.stopping();
        let mut over = std::pin::pin!(async {
            stopping.cancelled().await;
            tokio::time::sleep(ACCEPT_AT_MOST).await;
        });
        loop {
            let quiet = async {
                stopping.cancelled().await;
                tokio::time::sleep(QUIET).await;
            };
            let accepting = async {
                let place = places.clone().acquire_owned().await;
                (listener.accept().await, place)
            };
            let (accepted, place) = tokio::select! {
                accepted = accepting => accepted,
                () = quiet => return,
                () = &mut over => return,
            };
            let (mut stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(error.cause = %error, "connection was not accepted");
                    // Out of file descriptors: accepting again at once would only spin.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            if front.as_ref().is_some_and(|front| !front.admits(address.ip())) {
                tracing::debug!(%address, "not one of the load balancers in front; closed it");
                continue;
            }
            let balancer = front.clone().filter(|front| front.declares(address.ip()));
            let _ = stream.set_nodelay(true);
            let (routes, acceptor, tasks) = (routes.clone(), acceptor.clone(), all.clone());
            let (handshakes, sources) = (Arc::clone(&handshakes), sources.clone());
            all.spawn("connection", async move {
                let _place = place;
                let mut peer = Peer { address, tls: acceptor.is_some() };
                let balancer = match balancer {
                    Some(front) => match introduced(&front, &mut stream, &handshakes, &mut peer).await {
                        Some(()) => Some(front).filter(|front| front.tells() != Tells::ProxyProtocol),
                        None => {
                            return tracing::debug!(%address, "a balancer did not say whose a connection is");
                        }
                    },
                    None => None,
                };
                // A balancer that names its callers request by request has all of theirs.
                let source = balancer.is_none().then(|| sources.enter(peer.address.ip()));
                if matches!(source, Some(None)) {
                    return tracing::debug!(%address, "as many connections come from there as may");
                }
                let routes = Routes { routes, balancer };
                match acceptor {
                    None => connection(stream, peer, false, routes, &tasks).await,
                    Some(acceptor) => match handshakes.run(acceptor.accept(stream)).await {
                        Ok(stream) => {
                            let http2 = stream.get_ref().1.alpn_protocol() == Some(H2);
                            connection(stream, peer, http2, routes, &tasks).await;
                        }
                        Err(error) => {
                            tracing::debug!(%error, error.cause = error.source(), "no connection");
                        }
                    },
                }
            });
        }
    });
}

/// What answers, and who has to say in each request whose it is.
#[derive(Debug)]
struct Routes {
    routes: Router,
    balancer: Option<Arc<Front>>,
}

/// Of a declared balancer's connection: whose it is, where that is said before it.
async fn introduced(
    front: &Front,
    stream: &mut TcpStream,
    handshakes: &Handshakes,
    peer: &mut Peer,
) -> Option<()> {
    peer.tls |= front.ends_tls();
    if front.tells() != Tells::ProxyProtocol {
        return Some(());
    }
    let header = handshakes.run(proxy_protocol::read(stream)).await.ok()?;
    if front.ends_tls() && header.tls == Some(false) {
        return None;
    }
    peer.address = header.source.unwrap_or(peer.address);
    Some(())
}

/// Whose a request is; where a balancer should have said it and has not, [`Untold`] among its extensions makes it refused.
fn name_source<B>(request: &mut http::Request<B>, mut peer: Peer, balancer: Option<&Front>) {
    match balancer.map(|front| front.client(request.headers())) {
        None => {}
        Some(Ok(address)) => peer.address = SocketAddr::new(address, 0),
        Some(Err(untold)) => {
            peer.tls &= untold != Untold::Plain;
            request.extensions_mut().insert(untold);
        }
    }
    request.extensions_mut().insert(ConnectInfo(peer));
}

/// The version is what TLS agreed on, and HTTP/1.1 without TLS: finding it out from the first bytes would wait for them
/// without an end.
async fn connection<S>(stream: S, peer: Peer, http2: bool, routes: Routes, tasks: &Tasks)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let stopping = tasks.stopping();
    let Routes { routes, balancer } = routes;
    let activity = Arc::new(Activity::default());
    let (asked, answered) = (Arc::clone(&activity), Arc::clone(&activity));
    let service = routes
        .map_request(move |mut request: http::Request<hyper::body::Incoming>| {
            asked.begin();
            name_source(&mut request, peer, balancer.as_deref());
            request
        })
        .map_response(move |response| {
            let mut response = answered.answer(response);
            if !http2 && stopping.is_cancelled() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            response
        });
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut builder = if http2 { builder.http2_only() } else { builder.http1_only() };
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(bound::HEAD_BUFFER);
    builder
        .http2()
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
        .keep_alive_timeout(bound::PING_TIMEOUT);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut served = std::pin::pin!(served);
    let stopping = tasks.stopping();
    let over = async {
        tokio::select! {
            () = activity.idle() => {}
            () = async { stopping.cancelled().await; tokio::time::sleep(IDLE_GRACE).await } => {}
        }
    };
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = over => {
            served.as_mut().graceful_shutdown();
            match tokio::time::timeout(DRAIN_TIME, served).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error.cause = %error, "connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn plain_http_is_for_loopback() {
        let refused = bind("0.0.0.0:0".parse().unwrap(), false).await;
        assert!(matches!(refused, Err(ListenError::PlainHttp(_))));
        assert!(bind("127.0.0.1:0".parse().unwrap(), false).await.is_ok());
        assert!(bind("0.0.0.0:0".parse().unwrap(), true).await.is_ok());
    }

    /// An HTTP/2 client that answers pings and asks nothing is sent away; one that asks now and then stays.
    #[tokio::test(start_paused = true)]
    #[expect(clippy::disallowed_methods, reason = "the runtime of a test ends with it")]
    async fn a_connection_in_which_nothing_is_asked_ends() {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let peer = Peer { address: "192.0.2.1:1".parse().unwrap(), tls: true };
        let routes = Routes { routes: Router::new(), balancer: None };
        let tasks = Tasks::new();
        let mut serving = Box::pin(connection(far, peer, true, routes, &tasks));
        let client = hyper::client::conn::http2::handshake::<_, _, http_body_util::Empty<axum::body::Bytes>>;
        let shaken = client(TokioExecutor::new(), TokioIo::new(near));
        let (mut sender, driver) = tokio::select! {
            shaken = shaken => shaken.unwrap(),
            () = &mut serving => panic!("it ended"),
        };
        tokio::spawn(driver);
        let asking = async {
            for _ in 0..4 {
                let request = http::Request::new(http_body_util::Empty::new());
                assert_eq!(sender.send_request(request).await.unwrap().status(), 404);
                tokio::time::sleep(Duration::from_secs(100)).await;
            }
        };
        tokio::select! {
            () = asking => {}
            () = &mut serving => panic!("it ended"),
        }
        tokio::time::timeout(Duration::from_secs(600), serving).await.expect("it ends");
    }
}
