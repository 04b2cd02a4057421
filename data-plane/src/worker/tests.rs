//! Workers on real sockets.

mod front;
mod http2;
mod slow;
mod tls;

use std::{net::SocketAddr, thread, time::Duration};

use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::LocalSet,
};
use wire::v1::GlobalSnapshot;

use super::*;
use crate::{
    audit::testing::Log,
    checks::endpoint::Hosts,
    config::Bounds,
    listener,
    snapshot::samples,
    testing::{self, PATH, World},
    upstream::testing::{Server, result, world_of},
};

const ADD: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":1}}}"#;

/// Workers on threads of their own, in front of a server.
struct Workers {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<thread::JoinHandle<io::Result<()>>>,
    world: World,
    _log: Log,
}

impl Workers {
    fn start(world: World, change: impl FnOnce(&mut Shared)) -> Self {
        let log = Log::new();
        let mut shared = testing::shared(&world, &log);
        shared.hosts = Hosts::new([], true);
        shared.clock = Arc::new(seams::SystemClock);
        change(&mut shared);
        let shared = Arc::new(shared);
        let sockets = listener::bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        sockets.give_up_unread(shared.bounds.unread_timeout).unwrap();
        let spawn = |listener| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || run(shared, listener))
        };
        let threads = sockets.listeners.into_iter().map(spawn).collect();
        Self { address: sockets.address, shared, threads, world, _log: log }
    }

    fn post(&self) -> http::Request<Full<bytes::Bytes>> {
        self.world
            .authorized(
                http::Request::post(PATH)
                    .header("host", "localhost")
                    .header("content-type", "application/json")
                    .header("mcp-protocol-version", "2025-11-25"),
            )
            .body(Full::from(ADD))
            .unwrap()
    }

    async fn connect(&self) -> hyper::client::conn::http1::SendRequest<Full<bytes::Bytes>> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::task::spawn_local(connection);
        sender
    }

    async fn ended(self) {
        let threads = self.threads;
        let joined =
            tokio::task::spawn_blocking(move || threads.into_iter().all(|each| each.join().unwrap().is_ok()));
        assert!(joined.await.unwrap());
    }
}

fn unlimited(world: &mut World) {
    world.edit(|body| {
        if let wire::v1::resource::Body::Limit(limit) = body {
            (limit.per_minute, limit.burst, limit.concurrency) = (6_000_000, 1_000_000, 0);
        }
    });
}

#[tokio::test]
async fn a_drain_under_load_loses_no_call() {
    let case = async {
        let server = Server::start(|_| async {
            tokio::time::sleep(Duration::from_millis(2)).await;
            result("{}")
        })
        .await;
        let mut world = world_of(&server);
        unlimited(&mut world);
        let workers = Workers::start(world, |shared| shared.bounds.drain_quiet = Duration::from_millis(100));
        let served = Rc::new(Cell::new(0));
        // Each keeps one connection while it may, and opens another when told to; a caller that finds nobody to connect to
        // any more has lost nothing.
        let callers = (0..8).map(|_| {
            let served = Rc::clone(&served);
            let workers = &workers;
            async move {
                while let Ok(stream) = TcpStream::connect(workers.address).await {
                    let (mut sender, connection) =
                        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
                    tokio::task::spawn_local(connection);
                    loop {
                        let response = sender.send_request(workers.post()).await.expect("a call was lost");
                        assert_eq!(response.status(), 200);
                        let leaving =
                            response.headers().get("connection").is_some_and(|value| value == "close");
                        response.into_body().collect().await.expect("a response was cut");
                        served.set(served.get() + 1);
                        if leaving {
                            break;
                        }
                    }
                    if workers.shared.drain.phase() > Phase::Serving {
                        return;
                    }
                }
            }
        });
        let drain = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            workers.shared.drain.enter(Phase::Draining);
        };
        futures_util::future::join(futures_util::future::join_all(callers), drain).await;
        assert!(served.get() > 100, "{}", served.get());
        workers.ended().await;
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn one_address_keeps_so_many_connections_open_and_no_more() {
    let case = async {
        let server = Server::start(|_| async { result("{}") }).await;
        // What the fleet's configuration says comes first.
        let workers = Workers::start(world_of(&server), |shared| {
            shared.bounds.connections_per_address = 1;
            let content = GlobalSnapshot { connections_per_address: 2, ..Default::default() };
            shared.snapshots.apply(&samples::global(1, content)).unwrap();
        });
        let (two, many) = (2, 12);
        let mut kept = Vec::new();
        for _ in 0..many {
            let mut stream = TcpStream::connect(workers.address).await.unwrap();
            let closed = tokio::time::timeout(Duration::from_millis(50), stream.read_u8()).await;
            if closed.is_err() {
                kept.push(stream);
            }
        }
        assert!((two..=2 * two).contains(&kept.len()), "{} of two workers", kept.len());
        let turned_away = workers.shared.tallies.sum().turned_away;
        assert_eq!(turned_away as usize, many - kept.len(), "and each of the others is counted");
        drop(kept);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut caller = workers.connect().await;
        assert_eq!(caller.send_request(workers.post()).await.unwrap().status(), 200);
        workers.shared.drain.enter(Phase::Draining);
        drop(caller);
        workers.ended().await;
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn callers_that_connect_anew_for_each_call_lose_none_either() {
    let case = async {
        let server = Server::start(|_| async { result("{}") }).await;
        let mut world = world_of(&server);
        unlimited(&mut world);
        let workers = Workers::start(world, |shared| shared.bounds.drain_accept = Duration::from_millis(200));
        let refused = Rc::new(Cell::new(0));
        let callers = (0..8).map(|_| {
            let refused = Rc::clone(&refused);
            let workers = &workers;
            async move {
                while let Ok(stream) = TcpStream::connect(workers.address).await {
                    let (mut sender, connection) =
                        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
                    tokio::task::spawn_local(connection);
                    let response = sender.send_request(workers.post()).await.expect("a call was lost");
                    assert_eq!(response.status(), 200);
                    response.into_body().collect().await.expect("a response was cut");
                }
                refused.set(refused.get() + 1);
            }
        });
        let drain = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            workers.shared.drain.enter(Phase::Draining);
        };
        futures_util::future::join(futures_util::future::join_all(callers), drain).await;
        assert_eq!(refused.get(), 8, "in the end nobody is there");
        workers.ended().await;
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn a_call_that_runs_when_the_drain_begins_is_answered() {
    let case = async {
        let server = Server::start(|_| async {
            tokio::time::sleep(Duration::from_millis(400)).await;
            result("{}")
        })
        .await;
        let workers =
            Workers::start(world_of(&server), |shared| shared.bounds.drain_quiet = Duration::from_millis(20));
        let mut sender = workers.connect().await;
        let call = sender.send_request(workers.post());
        let drain = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            workers.shared.drain.enter(Phase::Draining);
        };
        let (response, ()) = futures_util::future::join(call, drain).await;
        let response = response.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["connection"], "close");
        drop(sender);
        workers.ended().await;
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn a_drain_that_takes_too_long_cuts_what_runs() {
    let case = async {
        let server = Server::start(|_| std::future::pending()).await;
        let workers =
            Workers::start(world_of(&server), |shared| shared.bounds.drain_quiet = Duration::from_millis(20));
        let mut sender = workers.connect().await;
        let call = sender.send_request(workers.post());
        let drain = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            workers.shared.drain.enter(Phase::Draining);
            tokio::time::sleep(Duration::from_millis(100)).await;
            workers.shared.drain.enter(Phase::Ending);
        };
        let (response, ()) = futures_util::future::join(call, drain).await;
        assert_eq!(response.unwrap().headers()["portcullis-refusal"], "draining");
        workers.ended().await;
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_is_not_waited_for() {
    let case = async {
        let server = Server::start(|_| async { result("{}") }).await;
        let workers = Workers::start(world_of(&server), |shared| {
            shared.bounds.header_timeout = Duration::from_millis(500);
        });
        let mut slow = TcpStream::connect(workers.address).await.unwrap();
        slow.write_all(b"POST /tenant-1/tools/mcp HTTP/1.1\r\nhost: loc").await.unwrap();
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(10), slow.read_to_end(&mut rest)).await;
        assert!(closed.expect("closed by the worker").is_ok_and(|read| read == 0));
        workers.shared.drain.enter(Phase::Ending);
        workers.ended().await;
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn more_connections_than_allowed_are_closed_at_once() {
    let case = async {
        let server = Server::start(|_| async { result("{}") }).await;
        let workers = Workers::start(world_of(&server), |shared| {
            shared.bounds = Bounds { connections: 1, ..Bounds::default() };
        });
        // Two workers with one connection each: of four, at least two find none to serve them.
        let mut closed = 0;
        let mut streams = Vec::new();
        for _ in 0..4 {
            streams.push(TcpStream::connect(workers.address).await.unwrap());
        }
        for stream in &mut streams {
            let read = tokio::time::timeout(Duration::from_millis(200), stream.read(&mut [0; 1])).await;
            closed += u32::from(matches!(read, Ok(Ok(0) | Err(_))));
        }
        assert!(closed >= 2, "{closed}");
        workers.shared.drain.enter(Phase::Ending);
        drop(streams);
        workers.ended().await;
    };
    LocalSet::new().run_until(case).await;
}
