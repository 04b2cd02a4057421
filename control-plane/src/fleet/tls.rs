//! TLS 1.3 on the fleet's two ports, with certificates of the fleet's CA.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
    time_provider::TimeProvider,
};
use seams::{Clock, Entropy, Timestamp};
use tokio::sync::watch;

use super::{
    FleetError,
    authorities::Authorities,
    ca::{Authority, SERVER_LIFE},
};

/// Certificate validity is judged by the product's clock.
#[derive(Debug)]
struct ClockTime(Arc<dyn Clock>);

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(self.0.now()))
    }
}

pub(super) fn unix_time(at: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_micros(at.micros()))
}

/// This replica's certificates, one of each authority, exchanged while connections go on. A client says whom it trusts
/// (RFC 8446, section 4.2.4) and is shown the newest of these; one that says nothing is shown the oldest.
#[derive(Debug)]
pub(super) struct ServerCertificate {
    current: ArcSwap<Vec<Shown>>,
    trusted: watch::Receiver<Arc<Authorities>>,
    provider: Arc<CryptoProvider>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

#[derive(Debug)]
struct Shown {
    /// Subject of the authority, DER.
    authority: Vec<u8>,
    key: Arc<CertifiedKey>,
}

impl ServerCertificate {
    pub(super) fn issue(
        trusted: watch::Receiver<Arc<Authorities>>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Arc<Self>, FleetError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let certificate = Self { current: ArcSwap::default(), trusted, provider, clock, entropy };
        certificate.renew()?;
        Ok(Arc::new(certificate))
    }

    /// How long until [`Self::renew`] is due.
    pub(super) const fn renew_every() -> Duration {
        Duration::from_secs(SERVER_LIFE.as_secs() / 2)
    }

    /// Also when the authorities have changed.
    pub(super) fn renew(&self) -> Result<(), FleetError> {
        let trusted = Arc::clone(&self.trusted.borrow());
        let shown = trusted.iter().map(|authority| {
            let key = certified(authority, self.clock.now(), &*self.entropy, &self.provider)?;
            Ok(Shown { authority: authority.subject.clone(), key: Arc::new(key) })
        });
        self.current.store(Arc::new(shown.collect::<Result<_, FleetError>>()?));
        Ok(())
    }

    /// For the port where proxies join: the server alone shows a certificate.
    pub(super) fn enrol_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, FleetError> {
        let config = self.builder()?.with_no_client_auth().with_cert_resolver(self.clone());
        Ok(finished(config))
    }

    /// For everything else: without a certificate of an authority that is trusted there is no connection.
    pub(super) fn mutual_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, FleetError> {
        let verifier = Arc::new(Trusted(self.trusted.clone()));
        let config = self.builder()?.with_client_cert_verifier(verifier).with_cert_resolver(self.clone());
        Ok(finished(config))
    }

    fn builder(&self) -> Result<rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>, FleetError> {
        let time = Arc::new(ClockTime(self.clock.clone()));
        Ok(ServerConfig::builder_with_details(self.provider.clone(), time)
            .with_protocol_versions(&[&rustls::version::TLS13])?)
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.current.load();
        let known = hello.certificate_authorities().unwrap_or_default();
        let can_verify = |shown: &&Shown| known.iter().any(|name| name.as_ref() == shown.authority);
        let best = shown.iter().rev().find(can_verify).or(shown.first());
        best.map(|shown| Arc::clone(&shown.key))
    }
}

/// Verifies proxies by the authorities as they are at the moment of the handshake.
#[derive(Debug)]
struct Trusted(watch::Receiver<Arc<Authorities>>);

impl Trusted {
    fn now(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(self.0.borrow().verifier())
    }
}

impl ClientCertVerifier for Trusted {
    /// None: a proxy has one certificate.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.now().verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.now().verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.now().verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.now().supported_verify_schemes()
    }
}

/// Says whether a certificate is a proxy's under one of these authorities.
pub(super) fn proxy_verifier<'a>(
    authorities: impl Iterator<Item = &'a CertificateDer<'static>>,
) -> Result<Arc<dyn ClientCertVerifier>, FleetError> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone())?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    Ok(WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?)
}

fn certified(
    authority: &Authority,
    now: Timestamp,
    entropy: &dyn Entropy,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, FleetError> {
    let (issued, key) = authority.issue_server(now, entropy)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok(CertifiedKey::from_der(issued.chain, key, provider)?)
}

fn finished(mut config: ServerConfig) -> Arc<ServerConfig> {
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would carry a certificate past its end.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Arc::new(config)
}
