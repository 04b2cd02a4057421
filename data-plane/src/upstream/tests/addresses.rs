//! Names with several addresses, and servers at some of them.

use std::{net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use ::mcp::{Method, Revision};
use errors::ErrorCode;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::LocalSet,
    time::Instant,
};

use super::{
    super::{
        Pool,
        forward::send,
        testing::{Scripted, Server, dispatch, named, pool, result, session},
    },
    guard::{called, failed},
};
use crate::{
    audit::testing::{Log, facts},
    testing::World,
};

const HOSTS: [&str; 3] = ["127.0.0.1", "127.0.0.2", "127.0.0.3"];

/// So many addresses with the same port, which nobody else uses.
async fn listeners(count: usize) -> Vec<TcpListener> {
    'ports: loop {
        let mut listeners = vec![TcpListener::bind((HOSTS[0], 0)).await.unwrap()];
        let port = listeners[0].local_addr().unwrap().port();
        for host in &HOSTS[1..count] {
            let Ok(listener) = TcpListener::bind((*host, port)).await else { continue 'ports };
            listeners.push(listener);
        }
        return listeners;
    }
}

fn at(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners.iter().map(|listener| listener.local_addr().unwrap()).collect()
}

fn serve(listener: TcpListener) -> Server {
    Server::on(listener, |_| async { result("{}") })
}

/// An address at which nobody answers a SYN, as behind a firewall that drops it.
async fn black_hole(address: &str) -> (SocketAddr, Vec<tokio::task::JoinHandle<()>>) {
    let socket = if address.starts_with('[') { TcpSocket::new_v6() } else { TcpSocket::new_v4() }.unwrap();
    socket.bind(address.parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    // Nobody accepts, so the queue of connections fills, and the system answers no more.
    let mut filling = Vec::new();
    for _ in 0..4 {
        filling.push(tokio::task::spawn_local(async move {
            let _held = TcpStream::connect(address).await;
            std::future::pending().await
        }));
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    filling.push(tokio::task::spawn_local(async move {
        let _held = listener;
        std::future::pending().await
    }));
    (address, filling)
}

async fn call(pool: &Rc<Pool>, world: &World) {
    called(pool, world, dispatch(world, Revision::V2026_07_28, Method::ToolsCall)).await;
}

async fn calls_at_once(pool: &Rc<Pool>, world: &World, count: usize) {
    futures_util::future::join_all((0..count).map(|_| call(pool, world))).await;
}

fn at_all() -> Arc<Scripted> {
    Scripted::new(&[&HOSTS])
}

#[tokio::test]
async fn connections_are_spread_over_all_addresses_of_a_name() {
    let case = async {
        let listeners = listeners(3).await;
        let world = named(&at(&listeners), |_| {});
        let servers: Vec<_> = listeners.into_iter().map(serve).collect();
        let pool = pool(at_all());
        calls_at_once(&pool, &world, 9).await;
        let connections: Vec<_> = servers.iter().map(Server::connections).collect();
        assert_eq!(connections, [3, 3, 3]);
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn an_address_that_egress_rules_do_not_allow_is_not_dialled_beside_others() {
    let case = async {
        let listeners = listeners(3).await;
        let world = named(&at(&listeners)[..2], |_| {});
        let servers: Vec<_> = listeners.into_iter().map(serve).collect();
        let pool = pool(at_all());
        calls_at_once(&pool, &world, 8).await;
        let connections: Vec<_> = servers.iter().map(Server::connections).collect();
        assert_eq!(connections, [4, 4, 0]);
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn an_address_without_a_server_costs_no_call_and_is_tried_again() {
    let case = async {
        let mut listeners = listeners(3).await;
        let addresses = at(&listeners);
        let world = named(&addresses, |_| {});
        drop(listeners.pop());
        let servers: Vec<_> = listeners.into_iter().map(serve).collect();
        let pool = pool(at_all());
        calls_at_once(&pool, &world, 9).await;
        assert_eq!(servers.iter().map(Server::connections).sum::<usize>(), 9);
        // It comes back, and is found within its second.
        let back = serve(TcpListener::bind(addresses[2]).await.unwrap());
        calls_at_once(&pool, &world, 18).await;
        assert_eq!(back.connections(), 0);
        tokio::time::sleep(Duration::from_millis(1_050)).await;
        calls_at_once(&pool, &world, 30).await;
        calls_at_once(&pool, &world, 60).await;
        assert!(back.connections() > 1, "{}", back.connections());
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn where_no_address_answers_all_are_tried_and_the_call_is_refused() {
    let case = async {
        let listeners = listeners(2).await;
        let addresses = at(&listeners);
        let world = named(&addresses, |_| {});
        drop(listeners);
        let pool = pool(at_all());
        let down = || dispatch(&world, Revision::V2026_07_28, Method::ToolsCall);
        for _ in 0..3 {
            assert_eq!(failed(&pool, &world, down()).await.code(), ErrorCode::UpstreamUnreachable);
        }
        // Both are ejected; the one that is back is found at once all the same.
        let back = serve(TcpListener::bind(addresses[1]).await.unwrap());
        call(&pool, &world).await;
        assert_eq!(back.connections(), 1);
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn an_address_that_takes_calls_and_answers_none_is_ejected() {
    let case = async {
        let mut listeners = listeners(2).await;
        let world = named(&at(&listeners), |_| {});
        let broken = listeners.pop().unwrap();
        let taken = Rc::new(std::cell::Cell::new(0));
        let counting = taken.clone();
        tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = broken.accept().await.unwrap();
                counting.set(counting.get() + 1);
                // The request is read, and the connection closed.
                let mut buffer = [0; 4096];
                stream.readable().await.unwrap();
                let _ = stream.try_read(&mut buffer);
            }
        });
        let good = Server::on(listeners.pop().unwrap(), |_| async {
            let mut answer = result("{}");
            answer.headers_mut().insert("connection", http::HeaderValue::from_static("close"));
            answer
        });
        let pool = pool(Scripted::new(&[&HOSTS[..2]]));
        let mut failures = 0;
        for _ in 0..16 {
            let log = Log::new();
            let intent = log.pen().intent(facts(&world, b""), false).await.unwrap();
            let call = dispatch(&world, Revision::V2026_07_28, Method::ToolsCall);
            failures += usize::from(send(&pool, call, intent).await.is_err());
        }
        // Each second call, until three have failed. A slow run may see it tried once more.
        assert!((3..=4).contains(&failures), "{failures}");
        assert_eq!((taken.get(), good.connections()), (failures, 16 - failures));
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn an_address_that_swallows_connections_costs_a_quarter_of_a_second_once() {
    let case = async {
        for hole in ["127.0.0.9:0", "[::1]:0"] {
            let (hole, _held) = black_hole(hole).await;
            let Ok(listener) = TcpListener::bind((HOSTS[0], hole.port())).await else { continue };
            let address = listener.local_addr().unwrap();
            let world = named(&[hole, address], |_| {});
            let server = serve(listener);
            let host = hole.ip().to_string();
            let pool = pool(Scripted::new(&[&[&host, HOSTS[0]]]));
            let begun = Instant::now();
            calls_at_once(&pool, &world, 2).await;
            let took = begun.elapsed();
            assert!((Duration::from_millis(240)..Duration::from_millis(900)).contains(&took), "{took:?}");
            // Of two connections one began at the wrong address; it was overtaken, and is known now.
            let mut fastest = Duration::MAX;
            for _ in 0..3 {
                let begun = Instant::now();
                for _ in 0..2 {
                    server.close_connections();
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    call(&pool, &world).await;
                }
                fastest = fastest.min(begun.elapsed());
            }
            assert!(fastest < Duration::from_millis(240), "{fastest:?}");
        }
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn a_session_stays_with_its_server_although_another_has_the_turn() {
    let case = async {
        let listeners = listeners(3).await;
        let addresses = at(&listeners);
        let world = named(&addresses, |_| {});
        let servers: Vec<_> = listeners.into_iter().map(serve).collect();
        let pool = pool(at_all());
        let calls = (0..6).map(|_| {
            let mut call = dispatch(&world, Revision::V2025_11_25, Method::Ping);
            call.session = Some(session(Some(addresses[1])));
            called(&pool, &world, call)
        });
        futures_util::future::join_all(calls).await;
        let connections: Vec<_> = servers.iter().map(Server::connections).collect();
        assert_eq!(connections, [0, 6, 0]);
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn calls_that_need_connections_together_ask_for_the_name_once() {
    let case = async {
        let listeners = listeners(1).await;
        let world = named(&at(&listeners), |_| {});
        let server = listeners.into_iter().map(serve).next().unwrap();
        // A second answer would be refused.
        let pool = pool(Scripted::new(&[&["127.0.0.1"], &["10.0.0.1"]]));
        calls_at_once(&pool, &world, 20).await;
        assert_eq!(server.connections(), 20);
    };
    LocalSet::new().run_until(case).await;
}
