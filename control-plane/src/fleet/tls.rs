//! TLS 1.3 on the fleet's two ports, with certificates of the fleet's CA.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
        danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
    time_provider::TimeProvider,
};
use seams::{Clock, Entropy, Timestamp};

use super::{
    FleetError,
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

/// This replica's certificate, exchanged while connections go on.
#[derive(Debug)]
pub(super) struct ServerCertificate {
    current: ArcSwap<CertifiedKey>,
    provider: Arc<CryptoProvider>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl ServerCertificate {
    pub(super) fn issue(
        authority: &Authority,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Arc<Self>, FleetError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let current = ArcSwap::from_pointee(certified(authority, clock.now(), &*entropy, &provider)?);
        Ok(Arc::new(Self { current, provider, clock, entropy }))
    }

    /// How long until [`Self::renew`] is due.
    pub(super) const fn renew_every() -> Duration {
        Duration::from_secs(SERVER_LIFE.as_secs() / 2)
    }

    pub(super) fn renew(&self, authority: &Authority) -> Result<(), FleetError> {
        let next = certified(authority, self.clock.now(), &*self.entropy, &self.provider)?;
        self.current.store(Arc::new(next));
        Ok(())
    }

    /// For the port where proxies join: the server alone shows a certificate.
    pub(super) fn enrol_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, FleetError> {
        let config = self.builder()?.with_no_client_auth().with_cert_resolver(self.clone());
        Ok(finished(config))
    }

    /// For everything else: without a certificate of `authority` there is no connection.
    pub(super) fn mutual_config(
        self: &Arc<Self>,
        authority: &Authority,
    ) -> Result<Arc<ServerConfig>, FleetError> {
        let verifier = proxy_verifier(authority.certificate())?;
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
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

/// Says whether a certificate is a proxy's of this fleet.
pub(super) fn proxy_verifier(
    ca: &CertificateDer<'static>,
) -> Result<Arc<dyn ClientCertVerifier>, FleetError> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone())?;
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
