//! A member of the fleet that speaks the protocol by hand, well or badly: what no real proxy would send.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use crypto::join;
use hyper_util::rt::TokioIo;
use ids::{ProxyId, Uuid};
use rcgen::{CertificateParams, KeyPair, SigningKey as _};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpStream;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};
use wire::v1::{self, enrol_client::EnrolClient};

use crate::Gateway;

/// An identity, whoever gave it.
pub struct Member {
    /// Named in the certificate.
    pub proxy: ProxyId,
    /// Its private key.
    pub key: KeyPair,
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Whom it trusts.
    pub ca: CertificateDer<'static>,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("proxy", &self.proxy).finish_non_exhaustive()
    }
}

/// A certificate request, and the key that signed it.
#[must_use]
pub fn request() -> (KeyPair, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
    (key, request)
}

/// Asks to join with any request.
pub async fn enrol(
    gateway: &Gateway,
    token: &SecretString,
    csr_der: Vec<u8>,
) -> Result<v1::EnrolResponse, Status> {
    enrol_at(gateway.enrol_addr(), token, csr_der).await
}

async fn enrol_at(
    addr: SocketAddr,
    token: &SecretString,
    csr_der: Vec<u8>,
) -> Result<v1::EnrolResponse, Status> {
    let token = join::parse(token.expose_secret()).unwrap();
    let request =
        v1::EnrolRequest { join_token: token.token_text().to_owned(), csr_der, build: "by hand".to_owned() };
    Ok(EnrolClient::new(channel(addr, blind())).enrol(request).await?.into_inner())
}

/// A connection to the port where proxies join.
#[must_use]
pub fn enrol_channel(gateway: &Gateway) -> Channel {
    channel(gateway.enrol_addr(), blind())
}

impl Member {
    /// Joins as a proxy does.
    pub async fn join(gateway: &Gateway, token: &SecretString) -> Self {
        Self::join_at(gateway.enrol_addr(), token).await
    }

    /// Joins as a proxy does, at this address.
    pub async fn join_at(addr: SocketAddr, token: &SecretString) -> Self {
        let (key, csr) = request();
        let response = enrol_at(addr, token, csr).await.unwrap();
        Self {
            proxy: ProxyId::from_uuid(Uuid::from_slice(&response.proxy_id).unwrap()),
            key,
            chain: response.certificate_chain_der.into_iter().map(CertificateDer::from).collect(),
            ca: CertificateDer::from(response.ca_der.into_iter().next().unwrap()),
        }
    }

    /// Asks for a new certificate, the proof made by `signer`.
    pub async fn renew(&self, gateway: &Gateway, signer: &KeyPair) -> Result<v1::EnrolResponse, Status> {
        self.renew_with(gateway, signer, request().1).await
    }

    /// The same member with a new key and certificate.
    pub async fn renewed(&self, gateway: &Gateway) -> Result<Self, Status> {
        let (key, csr) = request();
        let response = self.renew_with(gateway, &self.key, csr).await?;
        let chain = response.certificate_chain_der.into_iter().map(CertificateDer::from).collect();
        Ok(Self { proxy: self.proxy, key, chain, ca: self.ca.clone() })
    }

    async fn renew_with(
        &self,
        gateway: &Gateway,
        signer: &KeyPair,
        csr_der: Vec<u8>,
    ) -> Result<v1::EnrolResponse, Status> {
        let proof = signer.sign(&[wire::RENEWAL_CONTEXT, &csr_der].concat()).unwrap();
        let request = v1::RenewRequest {
            certificate_der: self.chain[0].to_vec(),
            csr_der,
            proof,
            build: "by hand".to_owned(),
        };
        Ok(EnrolClient::new(enrol_channel(gateway)).renew(request).await?.into_inner())
    }

    /// A connection to the proxies' port that shows this identity.
    #[must_use]
    pub fn channel(&self, gateway: &Gateway) -> Channel {
        self.channel_at(gateway.streams_addr())
    }

    /// The same at this address.
    #[must_use]
    pub fn channel_at(&self, addr: SocketAddr) -> Channel {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let config = builder(&self.ca).with_client_auth_cert(self.chain.clone(), key).unwrap();
        channel(addr, config)
    }

    /// A connection to the proxies' port that shows nothing.
    #[must_use]
    pub fn anonymous_channel(&self, gateway: &Gateway) -> Channel {
        channel(gateway.streams_addr(), builder(&self.ca).with_no_client_auth())
    }
}

fn builder(
    ca: &CertificateDer<'static>,
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone()).unwrap();
    ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13]).with_root_certificates(roots)
}

/// Verifies nothing: these tests ask what the server refuses.
fn blind() -> ClientConfig {
    ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Blind))
        .with_no_client_auth()
}

fn channel(addr: SocketAddr, mut config: ClientConfig) -> Channel {
    config.alpn_protocols = vec![b"h2".to_vec()];
    let config = Arc::new(config);
    Endpoint::from_static("http://control.portcullis.internal")
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(20))
        .connect_with_connector_lazy(tower::service_fn(move |_: http::Uri| {
            let config = config.clone();
            async move {
                let stream = TcpStream::connect(addr).await?;
                stream.set_nodelay(true)?;
                let name = ServerName::try_from(wire::CONTROL_NAME).map_err(std::io::Error::other)?;
                tokio_rustls::TlsConnector::from(config).connect(name, stream).await.map(TokioIo::new)
            }
        }))
}

#[derive(Debug)]
struct Blind;

impl rustls::client::danger::ServerCertVerifier for Blind {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        vec![rustls::SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
