//! Whole answers: statuses, time-outs, connections used again.

use std::{rc::Rc, time::Duration};

use ::mcp::{Method, Revision};
use errors::ErrorCode;
use http_body_util::BodyExt as _;
use tokio::task::LocalSet;
use wire::v1::Upstream;

use super::{
    super::{
        Dispatch, Outgoing, Pool,
        forward::send,
        testing::{
            Answer, Scripted, Seen, Server, dispatch, empty, events, json, pool, result, session, world,
            world_of,
        },
    },
    guard::failed,
};
use crate::{
    audit::testing::{Log, facts},
    testing::World,
};

const LEGACY: Revision = Revision::V2025_11_25;
const MODERN: Revision = Revision::V2026_07_28;

struct Got {
    status: u16,
    headers: http::HeaderMap,
    body: String,
}

async fn got(pool: &Rc<Pool>, world: &World, dispatch: Dispatch) -> Got {
    let log = Log::new();
    let intent = log.pen().intent(facts(world, b""), false).await.unwrap();
    let response = send(pool, dispatch, intent).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let record = log.last();
    assert_eq!(record.status, u32::from(head.status.as_u16()));
    assert_eq!(record.response_digest, crypto::digest::sha256(&body));
    Got {
        status: head.status.as_u16(),
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

fn local_pool() -> Rc<Pool> {
    pool(Scripted::new(&[&["127.0.0.1"]]))
}

async fn answering(answer: fn() -> Answer) -> (Server, Rc<Pool>, World) {
    let server = Server::start(move |_| async move { answer() }).await;
    let world = world_of(&server);
    (server, local_pool(), world)
}

#[tokio::test]
async fn a_connection_carries_one_call_after_another() {
    let case = async {
        let (server, pool, world) = answering(|| result(r#"{ "a" : 1 }"#)).await;
        for _ in 0..20 {
            let got = got(&pool, &world, dispatch(&world, MODERN, Method::ToolsCall)).await;
            assert_eq!(got.body, r#"{"jsonrpc":"2.0","id":1,"result":{ "a" : 1 }}"#);
            assert_eq!(got.headers["content-type"], "application/json");
            assert_eq!(got.headers["cache-control"], "no-store");
        }
        assert_eq!(server.connections(), 1);
        let upstream = world.tenant().upstreams.values().next().unwrap().id;
        assert_eq!(pool.idle_count(upstream), 1);
        // Calls at the same time need connections of their own, which are kept.
        let calls = (0..5).map(|_| got(&pool, &world, dispatch(&world, MODERN, Method::ToolsCall)));
        futures_util::future::join_all(calls).await;
        assert_eq!((server.connections(), pool.idle_count(upstream)), (5, 5));
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn a_connection_the_server_closed_meanwhile_is_replaced() {
    let case = async {
        let (server, pool, world) = answering(|| result("{}")).await;
        got(&pool, &world, dispatch(&world, LEGACY, Method::Ping)).await;
        server.close_connections();
        tokio::time::sleep(Duration::from_millis(30)).await;
        got(&pool, &world, dispatch(&world, LEGACY, Method::Ping)).await;
        assert_eq!((server.connections(), server.seen.lock().len()), (2, 2));
    };
    LocalSet::new().run_until(case).await;
}

/// Nobody calls any more; what the server has closed is let go all the same.
#[tokio::test]
async fn what_a_server_closed_is_let_go_without_another_call() {
    let case = async {
        let (server, pool, world) = answering(|| result("{}")).await;
        got(&pool, &world, dispatch(&world, MODERN, Method::ToolsCall)).await;
        let upstream = world.tenant().upstreams.values().next().unwrap().id;
        assert_eq!(pool.idle_count(upstream), 1);
        server.close_connections();
        tokio::time::sleep(Duration::from_millis(30)).await;
        tokio::time::pause();
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!(pool.idle_count(upstream), 0);
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn a_call_that_a_server_read_and_dropped_is_not_repeated() {
    let case = async {
        let served = Rc::new(std::cell::Cell::new(0));
        let counted = served.clone();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::task::spawn_local(async move {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                    counted.set(counted.get() + 1);
                    if counted.get() > 1 {
                        break;
                    }
                    let answer =
                        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 36\r\n\r\n";
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    stream.write_all(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#).await.unwrap();
                }
            }
        });
        let world = world(&format!("http://{address}/"), Some(address), |_| {});
        let pool = local_pool();
        got(&pool, &world, dispatch(&world, LEGACY, Method::ToolsCall)).await;
        let error = failed(&pool, &world, dispatch(&world, LEGACY, Method::ToolsCall)).await;
        assert_eq!(error.code(), ErrorCode::UpstreamUnreachable);
        assert_eq!(served.get(), 2);
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn every_wait_has_an_end() {
    let short = |upstream: &mut Upstream| {
        upstream.first_byte_timeout_ms = 80;
        upstream.idle_timeout_ms = 80;
        upstream.total_timeout_ms = 400;
    };
    let case = async {
        let never = Server::start(|_| std::future::pending::<Answer>()).await;
        let pool = local_pool();
        let slow = world(&format!("http://{}/", never.address), Some(never.address), short);
        let error = failed(&pool, &slow, dispatch(&slow, MODERN, Method::ToolsCall)).await;
        assert_eq!(error.to_string(), "upstream did not answer in time (first byte)");
        assert_eq!(error.code(), ErrorCode::UpstreamTimeout);
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(never.dropped(), 1);
        assert_eq!(never.seen.lock().len(), 1);
        // A legacy server is told, because the closed connection tells it nothing.
        let error = failed(&pool, &slow, dispatch(&slow, LEGACY, Method::ToolsCall)).await;
        assert_eq!(error.code(), ErrorCode::UpstreamTimeout);
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert!(never.last().body.contains(r#""method":"notifications/cancelled","params":{"requestId":1}"#));
    };
    LocalSet::new().run_until(case).await;
    // A name whose address takes no connections: TEST-NET-1, allowed for the occasion.
    let case = async {
        let dark = "192.0.2.1:9".parse().unwrap();
        let world = world("http://192.0.2.1:9/", Some(dark), |upstream| upstream.connect_timeout_ms = 50);
        let error = failed(&local_pool(), &world, dispatch(&world, MODERN, Method::ToolsCall)).await;
        assert!(
            matches!(error.code(), ErrorCode::UpstreamTimeout | ErrorCode::UpstreamUnreachable),
            "{error}"
        );
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn an_answer_that_is_none_is_refused() {
    fn compressed() -> Answer {
        let mut answer = result("{}");
        answer.headers_mut().insert("content-encoding", http::HeaderValue::from_static("gzip"));
        answer
    }
    fn html() -> Answer {
        let mut answer = json(200, "<html>");
        answer.headers_mut().insert("content-type", http::HeaderValue::from_static("text/html"));
        answer
    }
    type Case = (fn() -> Answer, ErrorCode);
    let cases: [Case; 14] = [
        (|| empty(401), ErrorCode::UpstreamUnauthorized),
        (|| json(403, "{}"), ErrorCode::UpstreamUnauthorized),
        (|| empty(500), ErrorCode::UpstreamProtocol),
        (|| empty(503), ErrorCode::UpstreamUnreachable),
        (|| empty(302), ErrorCode::UpstreamProtocol),
        (|| empty(404), ErrorCode::UpstreamProtocol),
        (|| empty(202), ErrorCode::UpstreamProtocol),
        (compressed, ErrorCode::UpstreamProtocol),
        (html, ErrorCode::UpstreamProtocol),
        (|| json(200, r#"{"jsonrpc":"2.0","id":2,"result":{}}"#), ErrorCode::UpstreamProtocol),
        (|| json(200, r#"{"jsonrpc":"2.0","id":1,"result":{"a":1,"a":2}}"#), ErrorCode::UpstreamProtocol),
        (|| json(200, r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#), ErrorCode::UpstreamProtocol),
        (|| json(400, "{}"), ErrorCode::UpstreamProtocol),
        (|| result(&format!(r#"{{"x":"{}"}}"#, "y".repeat(70_000))), ErrorCode::ResponseTooLarge),
    ];
    for (number, (answer, code)) in cases.into_iter().enumerate() {
        let case = async {
            let (_server, pool, world) = answering(answer).await;
            let error = failed(&pool, &world, dispatch(&world, MODERN, Method::ToolsCall)).await;
            assert_eq!(error.code(), code, "case {number}: {error}");
        };
        LocalSet::new().run_until(case).await;
    }
}

#[tokio::test]
async fn a_servers_own_error_keeps_its_status_and_bytes() {
    const ERROR: &str = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}"#;
    const NULL: &str = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"no"}}"#;
    type Case = (fn() -> Answer, u16, &'static str);
    let cases: [Case; 4] = [
        (|| json(404, ERROR), 404, ERROR),
        (|| json(400, NULL), 400, NULL),
        (|| json(200, ERROR), 200, ERROR),
        // Clients drop what comes under a server error.
        (|| json(500, ERROR), 200, ERROR),
    ];
    for (answer, status, body) in cases {
        let case = async {
            let (_server, pool, world) = answering(answer).await;
            let got = got(&pool, &world, dispatch(&world, MODERN, Method::Discover)).await;
            assert_eq!((got.status, &*got.body), (status, body));
        };
        LocalSet::new().run_until(case).await;
    }
}

#[tokio::test]
async fn a_server_that_does_not_understand_discovery_is_an_older_one() {
    for answer in [|| empty(400), || json(404, "{}"), || empty(405)] {
        let case = async {
            let (_server, pool, world) = answering(answer).await;
            let got = got(&pool, &world, dispatch(&world, MODERN, Method::Discover)).await;
            assert_eq!(got.status, 404);
            assert!(got.body.contains(r#""id":1,"error":{"code":-32601"#), "{}", got.body);
        };
        LocalSet::new().run_until(case).await;
    }
}

#[tokio::test]
async fn a_session_is_sealed_when_it_begins_echoed_while_it_lives_and_missed_when_it_is_gone() {
    let case = async {
        let server = Server::start(|seen: Seen| async move {
            let mut answer = match (&seen.method, seen.headers.get("mcp-session-id")) {
                (&http::Method::DELETE, Some(_)) => return empty(204),
                (_, Some(id)) if id != "upstream-session" => return json(404, "{}"),
                _ => result(r#"{"protocolVersion":"2025-11-25","capabilities":{}}"#),
            };
            let id = http::HeaderValue::from_static("upstream-session");
            answer.headers_mut().insert("mcp-session-id", id);
            answer
        })
        .await;
        let (world, pool) = (world_of(&server), local_pool());
        let begun = got(&pool, &world, dispatch(&world, LEGACY, Method::Initialize)).await;
        let sealed = begun.headers["mcp-session-id"].to_str().unwrap();
        let tenant = world.tenant();
        let opened = crypto::session::open(tenant.crypto.session(), sealed).unwrap();
        assert!(opened.belongs_to(
            tenant.endpoints.values().next().unwrap().id,
            *tenant.clients.keys().next().unwrap()
        ));
        assert_eq!(opened.upstreams[0].session_id, "upstream-session");
        assert_eq!(opened.upstreams[0].address, server.address.to_string());

        let in_session = |outgoing: Outgoing| {
            let mut call = dispatch(&world, LEGACY, Method::ToolsCall);
            call.session = Some(session(Some(server.address)));
            call.outgoing = outgoing;
            call
        };
        let request = Outgoing::Request { id: b"1".as_slice().into(), method: Method::ToolsCall };
        assert_eq!(got(&pool, &world, in_session(request.clone())).await.headers["mcp-session-id"], "sealed");
        let noted = got(&pool, &world, in_session(Outgoing::Notification)).await;
        assert_eq!((noted.status, &*noted.body), (202, ""));
        let ended = got(&pool, &world, in_session(Outgoing::End)).await;
        assert_eq!((ended.status, server.last().method), (200, http::Method::DELETE));
        let mut gone = in_session(request);
        gone.session = Some(crate::upstream::Session { upstream_session: "other".into(), ..session(None) });
        assert_eq!(failed(&pool, &world, gone).await.code(), ErrorCode::SessionNotFound);
        // The newest revision knows no sessions.
        let modern = got(&pool, &world, dispatch(&world, MODERN, Method::ToolsCall)).await;
        assert!(!modern.headers.contains_key("mcp-session-id"));
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn a_server_without_a_stream_of_its_own_says_405() {
    let case = async {
        let (_server, pool, world) = answering(|| empty(405)).await;
        let mut call = dispatch(&world, LEGACY, Method::Ping);
        call.outgoing = Outgoing::Listen;
        let got = got(&pool, &world, call).await;
        assert_eq!((got.status, &got.headers["allow"]), (405, &http::HeaderValue::from_static("POST")));
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn a_cut_before_the_answer_closes_the_exchange() {
    let case = async {
        let server = Server::start(|_| std::future::pending::<Answer>()).await;
        let (world, pool) = (world_of(&server), local_pool());
        let mut call = dispatch(&world, MODERN, Method::ToolsCall);
        call.cut = Box::pin(async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            ErrorCode::CredentialInvalid
        });
        assert_eq!(failed(&pool, &world, call).await.code(), ErrorCode::CredentialInvalid);
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(server.dropped(), 1);
        // So does a caller that goes away.
        let log = Log::new();
        let intent = log.pen().intent(facts(&world, b""), false).await.unwrap();
        let call = send(&pool, dispatch(&world, MODERN, Method::ToolsCall), intent);
        assert!(tokio::time::timeout(Duration::from_millis(50), call).await.is_err());
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(server.dropped(), 2);
        assert!(log.last().cut);
        let _ = events(&server.dropped);
    };
    LocalSet::new().run_until(case).await;
}

/// Up to 2025-11-25 a server is told that nobody waits any more; one that was killed is sent nothing.
#[tokio::test]
async fn a_killed_upstream_is_not_told_that_its_call_was_cancelled() {
    let case = async {
        for (code, told) in [(ErrorCode::Killed, 0), (ErrorCode::CredentialInvalid, 1)] {
            let server = Server::start(|_| std::future::pending::<Answer>()).await;
            let (world, pool) = (world_of(&server), local_pool());
            let mut call = dispatch(&world, LEGACY, Method::ToolsCall);
            call.cut = Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                code
            });
            assert_eq!(failed(&pool, &world, call).await.code(), code);
            tokio::time::sleep(Duration::from_millis(100)).await;
            let seen = server.seen.lock();
            let cancelled = seen.iter().filter(|seen| seen.body.contains("notifications/cancelled"));
            assert_eq!((seen.len(), cancelled.count()), (1 + told, told), "{code:?}");
        }
    };
    LocalSet::new().run_until(case).await;
}
