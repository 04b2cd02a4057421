//! TLS: the tenant's own authority, names, HTTP/2.

use std::{net::SocketAddr, rc::Rc, sync::Arc};

use ::mcp::{Method, Revision};
use bytes::Bytes;
use errors::ErrorCode;
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PublicKeyData as _};
use tokio::{net::TcpListener, task::LocalSet};
use tokio_rustls::TlsAcceptor;

use super::{
    super::{
        Pool,
        forward::send,
        testing::{Scripted, dispatch, pool, world},
    },
    guard::failed,
};
use crate::{
    audit::testing::{Log, facts},
    testing::World,
};

struct Secure {
    address: SocketAddr,
    ca: Vec<u8>,
    /// The pin of its key.
    pin: [u8; 32],
    versions: Arc<Mutex<Vec<http::Version>>>,
}

/// A server for `mcp.example.com` under an authority of its own.
async fn serve(alpn: &[&str]) -> Secure {
    let ca_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap().der().to_vec();
    let issuer = Issuer::new(params, ca_key);
    let key = KeyPair::generate().unwrap();
    let pin = crypto::digest::sha256(&key.subject_public_key_info());
    let leaf = CertificateParams::new(vec!["mcp.example.com".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap().der().clone();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf], rustls_pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let versions: Arc<Mutex<Vec<_>>> = Arc::default();
    let seen = versions.clone();
    tokio::task::spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let seen = seen.clone();
            let service = service_fn(move |request: http::Request<Incoming>| {
                let seen = seen.clone();
                async move {
                    seen.lock().push(request.version());
                    request.into_body().collect().await?;
                    let body = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
                    let response = http::Response::builder()
                        .header("content-type", "application/json")
                        .body(Full::new(body));
                    Ok::<_, hyper::Error>(response.unwrap())
                }
            });
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            tokio::task::spawn_local(async move {
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Secure { address, ca, pin, versions }
}

fn upstream_world(secure: &Secure, host: &str, ca: bool, name: &str) -> World {
    let url = format!("https://{host}:{}/mcp", secure.address.port());
    world(&url, Some(secure.address), |upstream| {
        let tls = upstream.tls.get_or_insert_default();
        tls.ca_der = ca.then(|| secure.ca.clone()).into_iter().collect();
        name.clone_into(&mut tls.server_name);
    })
}

async fn call(pool: &Rc<Pool>, world: &World) {
    let log = Log::new();
    let intent = log.pen().intent(facts(world, b""), false).await.unwrap();
    let response =
        send(pool, dispatch(world, Revision::V2026_07_28, Method::ToolsCall), intent).await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn what_alpn_chooses_is_spoken() {
    for (alpn, version) in [
        (&["h2", "http/1.1"][..], http::Version::HTTP_2),
        (&["http/1.1"], http::Version::HTTP_11),
        (&[], http::Version::HTTP_11),
    ] {
        let case = async {
            let secure = serve(alpn).await;
            let world = upstream_world(&secure, "mcp.example.com", true, "");
            let pool = pool(Scripted::new(&[&["127.0.0.1"], &[]]));
            for _ in 0..3 {
                call(&pool, &world).await;
            }
            // The name resolved once only: one connection carried all three.
            assert_eq!(*secure.versions.lock(), [version; 3]);
        };
        LocalSet::new().run_until(case).await;
    }
}

#[tokio::test]
async fn certificates_are_always_verified() {
    let case = async {
        let secure = serve(&["http/1.1"]).await;
        let pool = pool(Scripted::new(&[&["127.0.0.1"]]));
        let cases = [
            // Not under a public root; another name; another name that the tenant expects.
            upstream_world(&secure, "mcp.example.com", false, ""),
            upstream_world(&secure, "other.example.com", true, ""),
            upstream_world(&secure, "mcp.example.com", true, "other.example.com"),
        ];
        for world in cases {
            let pool = super::super::testing::pool(pool.parts.resolver.clone());
            let error =
                failed(&pool, &world, dispatch(&world, Revision::V2026_07_28, Method::ToolsCall)).await;
            assert_eq!(error.code(), ErrorCode::UpstreamTlsFailed, "{error}");
        }
        assert!(secure.versions.lock().is_empty());
        let world = upstream_world(&secure, "other.example.com", true, "mcp.example.com");
        call(&pool, &world).await;
    };
    LocalSet::new().run_until(case).await;
}

fn pinned(secure: &Secure, name: &str, pins: &[[u8; 32]]) -> World {
    let mut world = upstream_world(secure, name, true, "");
    let mut pins: Vec<_> = pins.iter().map(|pin| pin.to_vec()).collect();
    pins.sort();
    world.edit(|body| {
        if let wire::v1::resource::Body::Upstream(upstream) = body {
            upstream.pins.clone_from(&pins);
        }
    });
    world
}

#[tokio::test]
async fn a_server_with_another_key_than_those_pinned_is_refused_although_its_certificate_is_valid() {
    let case = async {
        let secure = serve(&["h2", "http/1.1"]).await;
        let (own, other) = (secure.pin, [7; 32]);
        let case = |name: &str, pins: &[[u8; 32]]| {
            let world = pinned(&secure, name, pins);
            async move {
                let pool = pool(Scripted::new(&[&["127.0.0.1"]]));
                failed(&pool, &world, dispatch(&world, Revision::V2026_07_28, Method::ToolsCall)).await.code()
            }
        };
        assert_eq!(case("mcp.example.com", &[other]).await, ErrorCode::UpstreamPinMismatch);
        // Its pin is no substitute for a certificate that is valid for the name.
        assert_eq!(case("other.example.com", &[own]).await, ErrorCode::UpstreamTlsFailed);
        assert!(secure.versions.lock().is_empty());
        // The one in use, or the one kept for the next change.
        for pins in [&[own][..], &[own, other]] {
            let pool = pool(Scripted::new(&[&["127.0.0.1"]]));
            call(&pool, &pinned(&secure, "mcp.example.com", pins)).await;
        }
        // A connection made before a pin was set is not used under it.
        let pool = pool(Scripted::new(&[&["127.0.0.1"]]));
        let mut world = pinned(&secure, "mcp.example.com", &[]);
        call(&pool, &world).await;
        world.edit(|body| {
            if let wire::v1::resource::Body::Upstream(upstream) = body {
                upstream.pins = vec![other.to_vec()];
            }
        });
        let error = failed(&pool, &world, dispatch(&world, Revision::V2026_07_28, Method::ToolsCall)).await;
        assert_eq!(error.code(), ErrorCode::UpstreamPinMismatch);
    };
    LocalSet::new().run_until(case).await;
}
