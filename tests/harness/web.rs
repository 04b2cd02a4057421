//! A web server of somebody else, over TLS: its certificate is by an authority that control planes under test trust where they fetch
//! documents.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, LazyLock},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

struct Authority {
    root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let root = params.self_signed(&key).unwrap().der().clone();
    Authority { root, issuer: Issuer::new(params, key) }
});

/// The authority's certificate.
#[must_use]
pub fn root() -> CertificateDer<'static> {
    AUTHORITY.root.clone()
}

/// What is answered at a path.
#[derive(Debug, Clone)]
pub struct Page {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(&'static str, String)>,
    /// Body.
    pub body: Bytes,
    /// How long it takes.
    pub after: Duration,
}

impl Page {
    /// A JSON document.
    #[must_use]
    pub fn json(body: impl Into<Bytes>) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { status: 200, headers, body: body.into(), after: Duration::ZERO }
    }

    /// With one more header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(own, _)| *own != name);
        self.headers.push((name, value.to_owned()));
        self
    }
}

#[derive(Debug, Default)]
struct State {
    pages: HashMap<String, Page>,
    asked: HashMap<String, usize>,
}

/// The server. It goes with its runtime.
#[derive(Debug, Clone)]
pub struct Web {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Web {
    /// On any free port of 127.0.0.1, with a certificate for these names.
    pub async fn start(names: &[&str]) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        let certificate = params.unwrap().signed_by(&key, &AUTHORITY.issuer).unwrap();
        Self::with_certificate(certificate.der().clone(), &key).await
    }

    /// With a certificate that nobody trusts.
    pub async fn untrusted(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        Self::with_certificate(made.cert.der().clone(), &made.signing_key).await
    }

    async fn with_certificate(certificate: CertificateDer<'static>, key: &KeyPair) -> Self {
        crate::gateway::install_tls_provider();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = rustls::ServerConfig::builder().with_no_client_auth();
        let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificate], key).unwrap()));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let web = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        let state = web.state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(acceptor.clone(), stream, state.clone()));
            }
        });
        web
    }

    /// What is answered at a path from now on.
    pub fn set(&self, path: &str, page: Page) {
        self.state.lock().pages.insert(path.to_owned(), page);
    }

    /// How often a path was asked for.
    #[must_use]
    pub fn asked(&self, path: &str) -> usize {
        self.state.lock().asked.get(path).copied().unwrap_or_default()
    }

    /// The URL of a path under a name.
    #[must_use]
    pub fn url(&self, name: &str, path: &str) -> String {
        format!("https://{name}:{}{path}", self.address.port())
    }
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, state: Arc<Mutex<State>>) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(move |request: Request<Incoming>| {
        let state = state.clone();
        async move {
            let path = request.uri().path().to_owned();
            let page = {
                let mut state = state.lock();
                *state.asked.entry(path.clone()).or_default() += 1;
                state.pages.get(&path).cloned()
            };
            let mut response = Response::new(Full::default());
            let Some(page) = page else {
                *response.status_mut() = hyper::StatusCode::NOT_FOUND;
                return Ok::<_, hyper::Error>(response);
            };
            tokio::time::sleep(page.after).await;
            *response.status_mut() = page.status.try_into().unwrap();
            for (name, value) in page.headers {
                response.headers_mut().append(name, value.parse().unwrap());
            }
            *response.body_mut() = Full::new(page.body);
            Ok(response)
        }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
