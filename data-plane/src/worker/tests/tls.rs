//! Handshakes, and what is agreed in them.

use listen::{
    certificate::Certificate,
    table::Certificates,
    tls::{self, Floor},
};
use rustls::{SupportedProtocolVersion, version};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

use super::*;

/// A certificate for `localhost`.
pub(super) struct Site {
    certificate: Certificate,
    root: CertificateDer<'static>,
}

impl Site {
    pub(super) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        Self { certificate, root: made.cert.der().clone() }
    }

    pub(super) fn acceptor(&self, floor: Floor) -> TlsAcceptor {
        let certificates = Arc::new(Certificates::new(std::slice::from_ref(&self.certificate)));
        Arc::new(tls::server(certificates, floor).unwrap()).into()
    }

    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        alpn: &[u8],
        versions: &[&'static SupportedProtocolVersion],
    ) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(tls::provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        // In 1.3 the client is done first, and learns of a refusal afterwards.
        match tokio::time::timeout(Duration::from_millis(20), stream.read(&mut [])).await {
            Ok(Err(error)) => Err(error),
            Ok(Ok(_)) | Err(_) => Ok(stream),
        }
    }
}

pub(super) async fn tcp(workers: &Workers) -> TcpStream {
    TcpStream::connect(workers.address).await.unwrap()
}

async fn workers(site: &Site, floor: Floor, change: impl FnOnce(&mut Bounds)) -> Workers {
    let server = Server::start(|_| async { result("{}") }).await;
    let acceptor = site.acceptor(floor);
    Workers::start(world_of(&server), |shared| {
        shared.tls = Some(acceptor);
        change(&mut shared.bounds);
    })
}

#[tokio::test]
async fn http2_over_tls_carries_calls_side_by_side() {
    let case = async {
        let site = Site::new();
        let server = Server::start(|_| async { result("{}") }).await;
        let workers =
            Workers::start(world_of(&server), |shared| shared.tls = Some(site.acceptor(Floor::Tls13)));
        let stream = site.connect(tcp(&workers).await, b"h2", &[&version::TLS13]).await.unwrap();
        let (sender, connection) =
            hyper::client::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
                .handshake(TokioIo::new(stream))
                .await
                .unwrap();
        tokio::task::spawn_local(connection);
        let calls = (0..5).map(|_| {
            let mut sender = sender.clone();
            let mut request = workers.post();
            *request.uri_mut() = format!("https://localhost{PATH}").parse().unwrap();
            request.headers_mut().remove("host");
            async move { sender.send_request(request).await.unwrap() }
        });
        for response in futures_util::future::join_all(calls).await {
            assert_eq!(response.status(), 200);
            for (name, value) in [
                ("strict-transport-security", "max-age=31536000; includeSubDomains"),
                ("x-content-type-options", "nosniff"),
                ("x-frame-options", "DENY"),
                ("referrer-policy", "no-referrer"),
                ("x-xss-protection", "0"),
            ] {
                assert_eq!(response.headers()[name], value);
            }
            assert!(
                response.headers()["content-security-policy"]
                    .to_str()
                    .unwrap()
                    .contains("default-src 'none'")
            );
        }
        drop(sender);
        workers.shared.drain.enter(Phase::Ending);
        workers.ended().await;
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn tls_1_2_is_spoken_only_where_it_is_the_floor() {
    let case = async {
        let site = Site::new();
        for (floor, older) in [(Floor::Tls13, false), (Floor::Tls12, true)] {
            let workers = workers(&site, floor, |_| {}).await;
            let old = site.connect(tcp(&workers).await, b"http/1.1", &[&version::TLS12]).await;
            assert_eq!(old.is_ok(), older, "{floor:?}");
            let new = site.connect(tcp(&workers).await, b"http/1.1", &[&version::TLS13]).await.unwrap();
            assert_eq!(new.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
            assert!(site.connect(tcp(&workers).await, b"http/1.0", &[&version::TLS13]).await.is_err());
            drop((old, new));
            workers.shared.drain.enter(Phase::Ending);
            workers.ended().await;
        }
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn silent_handshakes_take_no_place_from_others() {
    let case = async {
        let site = Site::new();
        let workers = workers(&site, Floor::Tls13, |bounds| {
            bounds.handshakes = 2;
            bounds.handshake_timeout = Duration::from_secs(600);
        })
        .await;
        let mut silent = Vec::new();
        for _ in 0..12 {
            silent.push(tcp(&workers).await);
        }
        for _ in 0..4 {
            let newest = [&version::TLS13];
            let served = site.connect(tcp(&workers).await, b"http/1.1", &newest);
            tokio::time::timeout(Duration::from_secs(20), served).await.expect("served").unwrap();
        }
        // Of twelve, two workers hold two each at most.
        let mut ended = 0;
        for stream in &mut silent {
            let read = tokio::time::timeout(Duration::from_millis(200), stream.read(&mut [0; 1])).await;
            ended += usize::from(matches!(read, Ok(Ok(0) | Err(_))));
        }
        assert!(ended >= 8, "{ended} gave way");
        workers.shared.drain.enter(Phase::Ending);
        drop(silent);
        workers.ended().await;
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_not_waited_for() {
    let case = async {
        let site = Site::new();
        let short = |bounds: &mut Bounds| bounds.handshake_timeout = Duration::from_millis(100);
        let workers = workers(&site, Floor::Tls13, short).await;
        let mut silent = tcp(&workers).await;
        let closed = tokio::time::timeout(Duration::from_secs(20), silent.read(&mut [0; 1])).await;
        assert!(matches!(closed, Ok(Ok(0))), "{closed:?}");
        // Nor is plain HTTP answered, or redirected.
        let mut plain = tcp(&workers).await;
        plain.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _reset = plain.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
        workers.shared.drain.enter(Phase::Ending);
        workers.ended().await;
    };
    LocalSet::new().run_until(case).await;
}

/// What a browser is told of every answer, be it one of the pipeline's first refusals or a result.
#[tokio::test]
async fn every_answer_over_tls_protects_whoever_reads_it() {
    let case = async {
        let site = Site::new();
        let server = Server::start(|_| async { result("{}") }).await;
        let workers =
            Workers::start(world_of(&server), |shared| shared.tls = Some(site.acceptor(Floor::Tls13)));
        let change = |change: fn(&mut http::Request<Full<bytes::Bytes>>)| {
            let mut request = workers.post();
            change(&mut request);
            request
        };
        let header =
            |request: &mut http::Request<Full<bytes::Bytes>>, name: &'static str, value: &'static str| {
                request.headers_mut().insert(name, value.parse().unwrap());
            };
        let preflight = {
            let mut request = change(|request| *request.method_mut() = http::Method::OPTIONS);
            header(&mut request, "origin", "https://localhost");
            header(&mut request, "access-control-request-method", "POST");
            request
        };
        let foreign = {
            let mut request = workers.post();
            header(&mut request, "origin", "https://evil.example");
            request
        };
        let coded = {
            let mut request = workers.post();
            header(&mut request, "content-encoding", "gzip");
            request
        };
        let not_ours = change(|request| *request.body_mut() = Full::from("{"));
        for (status, request) in [
            (200, workers.post()),
            (204, preflight),
            (400, not_ours),
            (400, change(|request| *request.uri_mut() = format!("{PATH}?access_token=x").parse().unwrap())),
            (401, change(|request| drop(request.headers_mut().remove("authorization")))),
            (403, foreign),
            (404, change(|request| *request.uri_mut() = "/".parse().unwrap())),
            (404, change(|request| *request.uri_mut() = "/nobody/tools/mcp".parse().unwrap())),
            (405, change(|request| *request.method_mut() = http::Method::PUT)),
            (415, coded),
        ] {
            let what = format!("{} {}", request.method(), request.uri());
            let stream = site.connect(tcp(&workers).await, b"http/1.1", &[&version::TLS13]).await.unwrap();
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::task::spawn_local(connection);
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.status(), status, "{what}");
            for (name, value) in [
                ("strict-transport-security", "max-age=31536000; includeSubDomains"),
                ("x-content-type-options", "nosniff"),
                ("x-frame-options", "DENY"),
                ("referrer-policy", "no-referrer"),
                ("x-xss-protection", "0"),
            ] {
                assert_eq!(
                    response.headers().get(name).map(|value| value.as_bytes()),
                    Some(value.as_bytes()),
                    "{what}: {name}"
                );
            }
            assert!(
                response.headers()["content-security-policy"]
                    .to_str()
                    .unwrap()
                    .contains("default-src 'none'")
            );
        }
        workers.shared.drain.enter(Phase::Ending);
        workers.ended().await;
    };
    LocalSet::new().run_until(case).await;
}
