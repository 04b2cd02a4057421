//! A real server on loopback, and calls towards it.

use std::{
    collections::VecDeque,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use ::mcp::{Method, Revision};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use seams::{SeededEntropy, SystemClock};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};
use wire::v1::resource::Body as Resource;

use super::{
    Dispatch, Outgoing, Parts, Passage, Pool, Session, Watched,
    resolve::{Resolver, Resolving},
};
use crate::{
    mcp::{Opened, testing::AllBut},
    testing::World,
};

pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;
type Handler = dyn Fn(Seen) -> Pin<Box<dyn Future<Output = Answer>>>;

/// A request as the server saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: http::Method,
    pub(crate) uri: http::Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// A server that answers as its handler says.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    pub(crate) connections: Arc<AtomicUsize>,
    /// Exchanges whose handler or body was dropped before its end.
    pub(crate) dropped: Arc<AtomicUsize>,
    close: watch::Sender<bool>,
}

struct OnDrop(Arc<AtomicUsize>, bool);

impl Drop for OnDrop {
    fn drop(&mut self) {
        if !self.1 {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Server {
    pub(crate) async fn start<F, R>(handler: F) -> Self
    where
        F: Fn(Seen) -> R + 'static,
        R: Future<Output = Answer> + 'static,
    {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), handler)
    }

    /// On this listener.
    pub(crate) fn on<F, R>(listener: TcpListener, handler: F) -> Self
    where
        F: Fn(Seen) -> R + 'static,
        R: Future<Output = Answer> + 'static,
    {
        let address = listener.local_addr().unwrap();
        let (close, closing) = watch::channel(false);
        let server = Self {
            address,
            seen: Arc::default(),
            connections: Arc::default(),
            dropped: Arc::default(),
            close,
        };
        let handler: Rc<Handler> = Rc::new(move |seen| Box::pin(handler(seen)));
        let (seen, connections, dropped) =
            (server.seen.clone(), server.connections.clone(), server.dropped.clone());
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (handler, seen, dropped) = (handler.clone(), seen.clone(), dropped.clone());
                let mut closing = closing.clone();
                closing.mark_unchanged();
                let service = service_fn(move |request: Request<Incoming>| {
                    let (handler, seen, dropped) = (handler.clone(), seen.clone(), dropped.clone());
                    async move {
                        let mut guard = OnDrop(dropped.clone(), false);
                        let (head, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        let body = String::from_utf8(body.to_vec()).unwrap();
                        let request =
                            Seen { method: head.method, uri: head.uri, headers: head.headers, body };
                        seen.lock().push(request.clone());
                        let answer = handler(request).await;
                        guard.1 = true;
                        Ok::<_, hyper::Error>(answer)
                    }
                });
                tokio::task::spawn_local(async move {
                    let serving = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service);
                    tokio::select! {
                        _ = serving => {}
                        _ = closing.changed() => {}
                    }
                });
            }
        });
        server
    }

    /// Closes every connection without a word.
    pub(crate) fn close_connections(&self) {
        self.close.send_replace(true);
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn dropped(&self) -> usize {
        self.dropped.load(Ordering::SeqCst)
    }

    pub(crate) fn last(&self) -> Seen {
        self.seen.lock().last().cloned().expect("a request")
    }
}

/// JSON of this status.
pub(crate) fn json(status: u16, body: impl Into<Bytes>) -> Answer {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
    Response::builder().status(status).header("content-type", "application/json").body(body).unwrap()
}

/// The result of the request with id 1.
pub(crate) fn result(text: &str) -> Answer {
    json(200, format!(r#"{{"jsonrpc":"2.0","id":1,"result":{text}}}"#))
}

/// No body.
pub(crate) fn empty(status: u16) -> Answer {
    let mut answer = json(status, "");
    answer.headers_mut().remove("content-type");
    answer
}

/// An event stream that ends when the sender is dropped.
pub(crate) fn events(dropped: &Arc<AtomicUsize>) -> (mpsc::UnboundedSender<String>, Answer) {
    let (sender, mut receiver) = mpsc::unbounded_channel::<String>();
    let mut guard = OnDrop(dropped.clone(), false);
    let stream = futures_util::stream::poll_fn(move |cx| {
        receiver.poll_recv(cx).map(|event| {
            guard.1 = event.is_none();
            event.map(|event| Ok(http_body::Frame::data(Bytes::from(event))))
        })
    });
    let answer = Response::builder()
        .header("content-type", "text/event-stream; charset=utf-8")
        .body(StreamBody::new(stream).boxed_unsync())
        .unwrap();
    (sender, answer)
}

/// Answers each look-up with the next list of addresses; the last one for ever.
#[derive(Debug)]
pub(crate) struct Scripted(Mutex<VecDeque<Vec<IpAddr>>>);

impl Scripted {
    pub(crate) fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |list: &&[&str]| list.iter().map(|text| text.parse().expect("an address")).collect();
        Arc::new(Self(Mutex::new(answers.iter().map(parse).collect())))
    }
}

impl Resolver for Scripted {
    fn resolve<'a>(&'a self, _host: &'a str) -> Resolving<'a> {
        let mut answers = self.0.lock();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        Box::pin(std::future::ready(answer.ok_or_else(|| io::ErrorKind::NotFound.into())))
    }
}

pub(crate) fn pool(resolver: Arc<dyn Resolver>) -> Rc<Pool> {
    let (watched, _noticed) = Watched::new();
    Pool::new(Parts {
        spawn: Rc::new(|task| {
            tokio::task::spawn_local(task);
        }),
        resolver,
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SeededEntropy::new(8)),
        watched,
    })
}

/// The sample tenant with its upstream there, and that address and port allowed.
pub(crate) fn world(
    url: &str,
    allowed: Option<SocketAddr>,
    change: impl Fn(&mut wire::v1::Upstream),
) -> World {
    World::with(|body| match body {
        Resource::Upstream(upstream) => {
            url.clone_into(&mut upstream.url);
            change(upstream);
        }
        Resource::Tenant(tenant) => {
            tenant.egress = allowed
                .iter()
                .map(|at| wire::v1::EgressRule { network: format!("{}/32", at.ip()), port: at.port().into() })
                .collect();
        }
        _ => {}
    })
}

/// A tenant whose upstream is called `mcp.example.com`, and may have each of these addresses.
pub(crate) fn named(addresses: &[SocketAddr], change: impl Fn(&mut wire::v1::Upstream)) -> World {
    let port = addresses[0].port();
    let mut world = world(&format!("http://mcp.example.com:{port}/"), None, change);
    world.edit(|body| {
        if let Resource::Tenant(tenant) = body {
            let rule = |at: &SocketAddr| wire::v1::EgressRule {
                network: ipnet::IpNet::from(at.ip()).to_string(),
                port: at.port().into(),
            };
            tenant.egress = addresses.iter().map(rule).collect();
            tenant.egress.sort_by(|one, other| one.network.cmp(&other.network));
        }
    });
    world
}

/// A world whose upstream is `server`.
pub(crate) fn world_of(server: &Server) -> World {
    world(&format!("http://{}/mcp?x=1", server.address), Some(server.address), |_| {})
}

/// A request with id 1 of the sample's client.
pub(crate) fn dispatch(world: &World, revision: Revision, method: Method) -> Dispatch {
    let tenant = world.tenant();
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#);
    let upstream = tenant.upstreams.values().next().unwrap();
    Dispatch {
        passage: Passage::unasked(upstream),
        endpoint: tenant.endpoints.values().next().unwrap().clone(),
        upstream: upstream.clone(),
        prefix: Box::from(""),
        caller: (*tenant.clients.keys().next().unwrap()).into(),
        revision,
        outgoing: Outgoing::Request { id: b"1".as_slice().into(), method },
        body: body.into(),
        headers: HeaderMap::new(),
        mcp_name: None,
        session: None,
        opened: Opened::default(),
        visible: Rc::new(AllBut::default()),
        max_response_bytes: 64 * 1024,
        hold: Box::new(()),
        cut: Box::pin(std::future::pending()),
        tenant,
    }
}

/// A session as row 8 opens it.
pub(crate) fn session(address: Option<SocketAddr>) -> Session {
    Session { presented: "sealed".into(), upstream_session: "upstream-session".into(), address }
}
