//! A control plane in memory: real sockets, real mutual TLS, the real state machine of the stream's other end.

use std::{
    collections::{BTreeMap, HashSet},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crypto::{KeyKind, SecretString, key};
use ids::{ProxyId, TenantId};
use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};
use seams::{Clock, SeededEntropy, SystemClock};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, transport::Server as TonicServer};
use wire::{
    stream::{
        Context, Version,
        server::{Delta, Input, Load, Output, QUEUE, Server, Snapshot, Turn},
    },
    v1,
};

use super::tls::key_hash;

type Stored = BTreeMap<TenantId, v1::Replace>;

/// What proxies said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    Applied(TenantId, Option<u64>),
    Rejected(TenantId, u64, u64, &'static str),
    Misfit(TenantId, u64),
    Reported(Vec<u8>, String),
}

pub(super) struct ControlPlane {
    pub(super) enrol: SocketAddr,
    pub(super) grpc: SocketAddr,
    pub(super) said: Mutex<mpsc::UnboundedReceiver<Said>>,
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    ca: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    tokens: Mutex<HashSet<String>>,
    pub(super) asked_to_enrol: AtomicUsize,
    pub(super) streams: AtomicUsize,
    pub(super) stored: watch::Sender<Stored>,
    /// How often changes were sent and not a whole tenant.
    pub(super) deltas: AtomicUsize,
    /// Everything that was ever stored.
    history: Mutex<Vec<v1::Replace>>,
    pub(super) commands: Mutex<Vec<v1::Command>>,
    pub(super) audit: Mutex<Vec<v1::AuditBatch>>,
    /// Streams of commands, kept open.
    watching: Mutex<Vec<mpsc::Sender<Result<v1::Command, Status>>>>,
    said: mpsc::UnboundedSender<Said>,
    life: Duration,
}

#[derive(Clone)]
struct Services(Arc<Inner>);

impl ControlPlane {
    /// Certificates of proxies live for `life`.
    pub(super) async fn start(life: Duration) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca = params.self_signed(&key).expect("a CA").der().clone();
        let (said, heard) = mpsc::unbounded_channel();
        let inner = Arc::new(Inner {
            issuer: Issuer::from_ca_cert_der(&ca, key).expect("an issuer"),
            ca,
            tokens: Mutex::default(),
            asked_to_enrol: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            stored: watch::Sender::new(Stored::new()),
            deltas: AtomicUsize::new(0),
            history: Mutex::default(),
            commands: Mutex::default(),
            audit: Mutex::default(),
            watching: Mutex::default(),
            said,
            life,
        });
        let services = Services(inner.clone());
        let joining =
            TonicServer::builder().add_service(v1::enrol_server::EnrolServer::new(services.clone()));
        let enrol = serve(inner.server_config(false), joining).await;
        let rest = TonicServer::builder()
            .add_service(v1::config_server::ConfigServer::new(services.clone()))
            .add_service(v1::report_server::ReportServer::new(services.clone()))
            .add_service(v1::commands_server::CommandsServer::new(services.clone()))
            .add_service(v1::audit_server::AuditServer::new(services));
        let grpc = serve(inner.server_config(true), rest).await;
        Self { enrol, grpc, said: Mutex::new(heard), inner }
    }

    pub(super) fn token(&self) -> SecretString {
        self.token_for(&key_hash(&self.inner.ca).expect("a CA"))
    }

    pub(super) fn token_for(&self, ca_key_hash: &[u8; 32]) -> SecretString {
        use crypto::ExposeSecret as _;
        let seed = self.inner.tokens.lock().len() as u64;
        let minted = crypto::join::mint(ca_key_hash, &SeededEntropy::new(40 + seed));
        self.inner.tokens.lock().insert(minted.lookup.clone());
        assert!(minted.text.expose_secret().starts_with("pjt_"));
        minted.text
    }

    pub(super) fn store(&self, replace: v1::Replace) {
        let tenant = TenantId::from_uuid(ids::Uuid::from_slice(&replace.tenant_id).expect("an id"));
        self.inner.history.lock().push(replace.clone());
        self.inner.stored.send_modify(|stored| {
            stored.insert(tenant, replace);
        });
    }

    pub(super) async fn next(&self) -> Said {
        let receiving = std::future::poll_fn(|context| self.said.lock().poll_recv(context));
        tokio::time::timeout(Duration::from_secs(20), receiving).await.expect("in time").expect("a server")
    }
}

impl Inner {
    fn load(&self, Load { tenant, from, .. }: Load) -> Input {
        let replace = self.stored.borrow()[&tenant].clone();
        let (version, keys) = (version(&replace), replace.keys);
        let history = self.history.lock();
        let former = history.iter().find(|former| Some(self::version(former)) == from);
        let delta = former.zip(from).and_then(|(former, from)| {
            let changes = wire::snapshot::delta::diff(&former.snapshot, &replace.snapshot)?;
            Some(Delta::new(from, version, changes, keys.clone()))
        });
        delta.map_or_else(
            || Input::Loaded(tenant, Snapshot::new(version, replace.snapshot, keys)),
            |delta| {
                self.deltas.fetch_add(1, Ordering::SeqCst);
                Input::LoadedDelta(tenant, delta)
            },
        )
    }

    fn server_config(&self, mutual: bool) -> Arc<ServerConfig> {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![wire::CONTROL_NAME.to_owned()]).expect("a name");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = params.signed_by(&key, &self.issuer).expect("a certificate").der().clone();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("a version");
        let builder = if mutual {
            let mut roots = RootCertStore::empty();
            roots.add(self.ca.clone()).expect("a root");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.expect("a verifier"))
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_single_cert(vec![leaf, self.ca.clone()], key).expect("a configuration");
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }

    fn issue(&self, csr: &[u8], proxy: ProxyId) -> Result<v1::EnrolResponse, Status> {
        let csr = CertificateSigningRequestParams::from_der(&csr.into())
            .map_err(|_| Status::invalid_argument("not a request"))?;
        let not_after = SystemClock.now().plus(self.life);
        let mut params = CertificateParams::default();
        let uri = format!("{}{proxy}", wire::PROXY_SPIFFE_PREFIX);
        params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("a URI"))];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_after = not_after.to_offset();
        let leaf = params.signed_by(&csr.public_key, &self.issuer).expect("a certificate");
        Ok(v1::EnrolResponse {
            proxy_id: proxy.uuid().as_bytes().to_vec(),
            certificate_chain_der: vec![leaf.der().to_vec(), self.ca.to_vec()],
            ca_der: vec![self.ca.to_vec()],
            not_after_micros: not_after.micros(),
            pool: "shared".to_owned(),
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "the runtime of a test ends with it")]
async fn serve(tls: Arc<ServerConfig>, router: tonic::transport::server::Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (sender, connections) = mpsc::channel::<std::io::Result<TlsStream<TcpStream>>>(8);
    tokio::spawn(router.serve_with_incoming(ReceiverStream::new(connections)));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, sender) = (TlsAcceptor::from(tls.clone()), sender.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    let _stopped = sender.send(Ok(stream)).await;
                }
            });
        }
    });
    address
}

#[tonic::async_trait]
impl v1::enrol_server::Enrol for Services {
    async fn enrol(&self, request: Request<v1::EnrolRequest>) -> Result<Response<v1::EnrolResponse>, Status> {
        self.0.asked_to_enrol.fetch_add(1, Ordering::SeqCst);
        let request = request.into_inner();
        let token = key::parse(KeyKind::JoinToken, &request.join_token)
            .map_err(|_| Status::unauthenticated("join_token_refused"))?;
        if !self.0.tokens.lock().remove(token.lookup) {
            return Err(Status::unauthenticated("join_token_refused"));
        }
        self.0.issue(&request.csr_der, ProxyId::from_parts(1, [5; 10])).map(Response::new)
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::EnrolResponse>, Status> {
        let request = request.into_inner();
        let signed = [wire::RENEWAL_CONTEXT, &request.csr_der].concat();
        let (_, old) = x509_parser::parse_x509_certificate(&request.certificate_der)
            .map_err(|_| Status::unauthenticated("no certificate"))?;
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        let proven = algorithms.all.iter().any(|algorithm| {
            let key = &old.public_key().subject_public_key.data;
            algorithm.verify_signature(key, &signed, &request.proof).is_ok()
        });
        if !proven {
            return Err(Status::unauthenticated("no proof"));
        }
        self.0.issue(&request.csr_der, ProxyId::from_parts(1, [5; 10])).map(Response::new)
    }
}

fn version(replace: &v1::Replace) -> Version {
    Version { rev: replace.rev, digest: replace.digest.as_slice().try_into().expect("a digest") }
}

fn list(stored: &Stored) -> Vec<(TenantId, Version)> {
    stored.iter().map(|(tenant, replace)| (*tenant, version(replace))).collect()
}

#[tonic::async_trait]
impl v1::config_server::Config for Services {
    type StreamStream = ReceiverStream<Result<v1::ControlMessage, Status>>;

    #[expect(clippy::disallowed_methods, reason = "the runtime of a test ends with it")]
    async fn stream(
        &self,
        request: Request<Streaming<v1::ProxyMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        request.peer_certs().ok_or_else(|| Status::unauthenticated("no certificate"))?;
        self.0.streams.fetch_add(1, Ordering::SeqCst);
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(drive(self.0.clone(), request.into_inner(), sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

async fn drive(
    inner: Arc<Inner>,
    mut inbound: Streaming<v1::ProxyMessage>,
    sender: mpsc::Sender<Result<v1::ControlMessage, Status>>,
) {
    let entropy = SeededEntropy::new(6);
    let context = || Context { now: SystemClock.monotonic(), wall: SystemClock.now(), entropy: &entropy };
    let mut machine = Server::new("in memory".to_owned(), context());
    let mut changes = inner.stored.subscribe();
    let mut inputs = vec![Input::Live(7), Input::Sources(list(&changes.borrow_and_update()))];
    loop {
        let mut outputs = Vec::new();
        for input in inputs.drain(..) {
            machine.handle(context(), input, &mut outputs);
        }
        for output in outputs {
            match output {
                Output::Send(message) => {
                    if sender.send(Ok(message)).await.is_err() {
                        return;
                    }
                }
                Output::Load(load) => inputs.push(inner.load(load)),
                Output::Applied(tenant, version) => {
                    let _unheard = inner.said.send(Said::Applied(tenant, version.map(|version| version.rev)));
                }
                Output::Rejected { tenant, version, at_rev, code, .. } => {
                    let _unheard = inner.said.send(Said::Rejected(tenant, version.rev, at_rev, code.slug()));
                }
                Output::FullSync => inputs.push(Input::FullSync(Turn::Now)),
                Output::Misfit { tenant, version, .. } => {
                    let _unheard = inner.said.send(Said::Misfit(tenant, version.rev));
                }
                Output::Heard | Output::Claimed(..) | Output::Synced | Output::Repaired(_) => {}
                Output::Close(_) => return,
            }
        }
        if !inputs.is_empty() {
            continue;
        }
        tokio::select! {
            message = inbound.message() => match message {
                Ok(Some(message)) => inputs.push(Input::Received(message)),
                _ => return,
            },
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                inputs.push(Input::Sources(list(&changes.borrow_and_update())));
            }
            () = tokio::time::sleep(machine.wake_at().since(SystemClock.monotonic())) => inputs.push(Input::Tick),
        }
    }
}

#[tonic::async_trait]
impl v1::report_server::Report for Services {
    async fn catalogue(
        &self,
        request: Request<v1::CatalogueReport>,
    ) -> Result<Response<v1::CatalogueAck>, Status> {
        let report = request.into_inner();
        let name = report.tools.first().map(|tool| tool.name.clone()).unwrap_or_default();
        let _unheard = self.0.said.send(Said::Reported(report.command_id, name));
        Ok(Response::new(v1::CatalogueAck { added: 1, changed: 0, retired: 0 }))
    }
}

#[tonic::async_trait]
impl v1::commands_server::Commands for Services {
    type WatchStream = ReceiverStream<Result<v1::Command, Status>>;

    async fn watch(&self, _: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (sender, receiver) = mpsc::channel(8);
        for command in self.0.commands.lock().drain(..) {
            sender.try_send(Ok(command)).expect("room");
        }
        self.0.watching.lock().push(sender);
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

#[tonic::async_trait]
impl v1::audit_server::Audit for Services {
    type UploadStream = ReceiverStream<Result<v1::AuditAck, Status>>;

    #[expect(clippy::disallowed_methods, reason = "the runtime of a test ends with it")]
    async fn upload(
        &self,
        request: Request<Streaming<v1::AuditBatch>>,
    ) -> Result<Response<Self::UploadStream>, Status> {
        use prost::Message as _;
        let (sender, receiver) = mpsc::channel(8);
        let (inner, mut inbound) = (self.0.clone(), request.into_inner());
        tokio::spawn(async move {
            while let Ok(Some(batch)) = inbound.message().await {
                let last = batch.records.last().cloned().unwrap_or_default();
                let seq = v1::AuditRecord::decode(last).expect("a record").seq;
                let boot = batch.boot.clone();
                inner.audit.lock().push(batch);
                if sender.send(Ok(v1::AuditAck { boot, seq })).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
