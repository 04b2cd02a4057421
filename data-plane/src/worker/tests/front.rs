//! Callers that come through a load balancer: the tests' own address is its.

use listen::front::{Front, Tells};

use super::*;

const BALANCERS: &str = "127.0.0.0/8";
const ELSEWHERE: &str = "192.0.2.0/24";
const CALLER: &str = "203.0.113.9";

fn front(network: &str, tells: Tells, ends_tls: bool) -> Front {
    Front::new(vec![network.parse().unwrap()], tells, ends_tls).unwrap()
}

/// Workers whose endpoint takes calls from [`CALLER`] alone.
async fn workers(front: Front, change: impl FnOnce(&mut Bounds)) -> (Workers, Server) {
    let server = Server::start(|_| async { result("{}") }).await;
    let mut world = world_of(&server);
    unlimited(&mut world);
    world.edit(|body| {
        if let wire::v1::resource::Body::Endpoint(endpoint) = body {
            endpoint.allow = vec![format!("{CALLER}/32")];
        }
    });
    let workers = Workers::start(world, |shared| {
        shared.front = Some(front);
        change(&mut shared.bounds);
    });
    (workers, server)
}

async fn end(workers: Workers) {
    workers.shared.drain.enter(Phase::Ending);
    workers.ended().await;
}

/// Sends a call after `before`; status and refusal of its answer, or `None` where the connection is closed instead.
async fn call(workers: &Workers, before: &[u8], lines: &[(&'static str, &str)]) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(workers.address).await.unwrap();
    stream.write_all(before).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::task::spawn_local(connection);
    let mut request = workers.post();
    for (name, value) in lines {
        request.headers_mut().append(*name, http::HeaderValue::from_str(value).unwrap());
    }
    let answered = tokio::time::timeout(Duration::from_secs(20), sender.send_request(request));
    let response = answered.await.expect("an answer, or the end").ok()?;
    let refusal = response.headers().get("portcullis-refusal");
    Some((response.status().as_u16(), refusal.map_or("", |slug| slug.to_str().unwrap()).to_owned()))
}

fn v1(source: &str) -> Vec<u8> {
    format!("PROXY TCP4 {source} 192.0.2.1 40000 443\r\n").into_bytes()
}

/// Version 2 from [`CALLER`], who speaks TLS to the balancer or does not.
fn v2(tls: u8) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x14".to_vec();
    header.extend([203, 0, 113, 9, 192, 0, 2, 1, 0x9c, 0x40, 0x01, 0xbb]);
    header.extend([0x20, 0, 5, tls, 0, 0, 0, 0]);
    header
}

fn served() -> Option<(u16, String)> {
    Some((200, String::new()))
}

fn refused(status: u16, slug: &str) -> Option<(u16, String)> {
    Some((status, slug.to_owned()))
}

#[tokio::test]
async fn the_proxy_protocol_says_whose_a_connection_is_and_has_to() {
    let case = async {
        let short = |bounds: &mut Bounds| bounds.handshake_timeout = Duration::from_millis(200);
        let (workers, _server) = workers(front(BALANCERS, Tells::ProxyProtocol, true), short).await;
        assert_eq!(call(&workers, &v1(CALLER), &[]).await, served());
        assert_eq!(call(&workers, &v2(1), &[]).await, served());
        assert_eq!(call(&workers, &v1("203.0.113.10"), &[]).await, refused(403, "address_refused"));
        // The balancer's own connection is the balancer's, whatever a header claims.
        let own = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
        let claims = [("x-forwarded-for", CALLER), ("forwarded", "for=203.0.113.9")];
        assert_eq!(call(&workers, own, &claims).await, refused(403, "address_refused"));
        // Absent, contradictory, broken, cut off.
        for before in [&b""[..], &v2(0), b"PROXY UNKNOWN\r\n", b"PROXY TCP4 nobody\r\n"] {
            assert_eq!(call(&workers, before, &[]).await, None);
        }
        let mut silent = TcpStream::connect(workers.address).await.unwrap();
        silent.write_all(b"PROXY TC").await.unwrap();
        let closed = tokio::time::timeout(Duration::from_secs(20), silent.read(&mut [0; 1])).await;
        assert!(matches!(closed, Ok(Ok(0))), "{closed:?}");
        end(workers).await;
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn forwarded_headers_say_whose_a_request_is_and_have_to() {
    let case = async {
        let (workers, _server) = workers(front(BALANCERS, Tells::XForwardedFor, true), |_| {}).await;
        for (trail, proto, expected) in [
            (CALLER, "https", served()),
            ("6.6.6.6, 203.0.113.9, 127.0.0.9", "https", served()),
            ("203.0.113.9, 6.6.6.6", "https", refused(403, "address_refused")),
            (CALLER, "http", refused(403, "tls_required")),
            (CALLER, "", refused(400, "client_address_unknown")),
            ("unknown", "https", refused(400, "client_address_unknown")),
            ("127.0.0.9", "https", refused(400, "client_address_unknown")),
        ] {
            let lines = [("x-forwarded-for", trail), ("x-forwarded-proto", proto)];
            assert_eq!(call(&workers, b"", &lines).await, expected, "{trail} {proto}");
        }
        let other = [("forwarded", "for=203.0.113.9;proto=https")];
        assert_eq!(call(&workers, b"", &other).await, refused(400, "client_address_unknown"));
        end(workers).await;
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn nobody_else_is_believed_or_gets_past_where_tls_ends() {
    let case = async {
        for tells in [Tells::XForwardedFor, Tells::Forwarded, Tells::ProxyProtocol] {
            let claims = [("x-forwarded-for", CALLER), ("forwarded", "for=203.0.113.9")];
            // Not declared, TLS does not end in front: the connection's own address counts.
            let (aside, _server) = workers(front(ELSEWHERE, tells, false), |_| {}).await;
            assert_eq!(call(&aside, b"", &claims).await, refused(403, "address_refused"));
            assert_ne!(call(&aside, &v1(CALLER), &[]).await, served());
            end(aside).await;
            let (closed, _server) = workers(front(ELSEWHERE, tells, true), |_| {}).await;
            assert_eq!(call(&closed, b"", &claims).await, None);
            end(closed).await;
        }
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn connections_through_a_balancer_count_for_whose_they_are() {
    let case = async {
        let few = |bounds: &mut Bounds| bounds.connections_per_address = 1;
        let (workers, _server) = workers(front(BALANCERS, Tells::ProxyProtocol, true), few).await;
        let mut open = Vec::new();
        for _ in 0..8 {
            let mut stream = TcpStream::connect(workers.address).await.unwrap();
            stream.write_all(&v1("203.0.113.10")).await.unwrap();
            let closed = tokio::time::timeout(Duration::from_millis(100), stream.read_u8()).await;
            if closed.is_err() {
                open.push(stream);
            }
        }
        assert!((1..=2).contains(&open.len()), "{} at two workers", open.len());
        // Others behind the same balancer are not affected, nor is it itself.
        for _ in 0..4 {
            assert_eq!(call(&workers, &v1(CALLER), &[]).await, served());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        end(workers).await;
    };
    LocalSet::new().run_until(case).await;
}
