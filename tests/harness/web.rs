//! A web server of somebody else, over TLS: its certificate is by an authority that control planes under test trust where they fetch
//! documents. What it answers is written by hand, so that it can be as wrong as somebody else's may be.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, LazyLock},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
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
    /// What is sent before it, such as interim answers.
    pub before: Bytes,
    /// How the body's end is told.
    pub framing: Framing,
    /// How long it takes from one byte of the body to the next.
    pub drip: Duration,
}

/// How a body's end is told (RFC 9112 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By its length, beforehand.
    Length,
    /// In chunks.
    Chunked,
    /// By the connection's end.
    Close,
}

impl Page {
    /// A JSON document.
    #[must_use]
    pub fn json(body: impl Into<Bytes>) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self {
            status: 200,
            headers,
            body: body.into(),
            after: Duration::ZERO,
            before: Bytes::new(),
            framing: Framing::Length,
            drip: Duration::ZERO,
        }
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
    /// Heads of requests, by path.
    asked: HashMap<String, Vec<String>>,
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
        self.heads(path).len()
    }

    /// The requests for a path, as they came.
    #[must_use]
    pub fn heads(&self, path: &str) -> Vec<String> {
        self.state.lock().asked.get(path).cloned().unwrap_or_default()
    }

    /// The URL of a path under a name.
    #[must_use]
    pub fn url(&self, name: &str, path: &str) -> String {
        format!("https://{name}:{}{path}", self.address.port())
    }
}

/// One request to a connection.
async fn serve(acceptor: TlsAcceptor, stream: TcpStream, state: Arc<Mutex<State>>) -> Option<()> {
    let mut stream = acceptor.accept(stream).await.ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    let head = head + std::str::from_utf8(&body).ok()?;
    let target = head.split(' ').nth(1)?;
    let path = target.split('?').next()?.to_owned();
    let page = {
        let mut state = state.lock();
        state.asked.entry(path.clone()).or_default().push(head);
        state.pages.get(&path).cloned()
    };
    let page = page.unwrap_or_else(|| Page { status: 404, ..Page::json("") });
    tokio::time::sleep(page.after).await;
    stream.write_all(&page.before).await.ok()?;
    let mut head = format!("HTTP/1.1 {} Whatever\r\nconnection: close\r\n", page.status);
    for (name, value) in &page.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match page.framing {
        Framing::Length => head.push_str(&format!("content-length: {}\r\n", page.body.len())),
        Framing::Chunked => head.push_str("transfer-encoding: chunked\r\n"),
        Framing::Close => {}
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await.ok()?;
    let at_once = if page.drip.is_zero() { 1_000 } else { 1 };
    for part in page.body.chunks(at_once) {
        tokio::time::sleep(page.drip).await;
        let size = format!("{:x}\r\n", part.len());
        let part = match page.framing {
            Framing::Chunked => [size.as_bytes(), part, b"\r\n"].concat(),
            Framing::Length | Framing::Close => part.to_vec(),
        };
        stream.write_all(&part).await.ok()?;
        stream.flush().await.ok()?;
    }
    if page.framing == Framing::Chunked {
        stream.write_all(b"0\r\n\r\n").await.ok()?;
    }
    stream.shutdown().await.ok()
}
