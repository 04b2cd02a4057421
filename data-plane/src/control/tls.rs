//! Whom the proxy takes for its control plane. TLS 1.3 only, and never a public root.

use std::{sync::Arc, time::Duration};

use crypto::digest::sha256;
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
    time_provider::TimeProvider,
};
use seams::Clock;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{ControlError, identity::Identity};

/// Certificate validity is judged by the product's clock.
#[derive(Debug)]
struct ClockTime(Arc<dyn Clock>);

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_micros(self.0.now().micros())))
    }
}

/// For joining: the CA is known by the hash of its key alone, which the join token carries. Its certificate has to be in
/// the chain that the server shows.
pub(super) fn joining(
    ca_key_hash: [u8; 32],
    clock: &Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, ControlError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let known = [authority_name(&ca_key_hash)];
    let verifier = Arc::new(PinnedCa { ca_key_hash, known, provider: provider.clone() });
    let config = ClientConfig::builder_with_details(provider, Arc::new(ClockTime(clock.clone())))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(finished(config))
}

/// For renewing a certificate: the CA is known, the server alone shows a certificate.
pub(super) fn renewing(
    identity: &Identity,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, ControlError> {
    let config = builder(identity, clock)?.with_no_client_auth();
    Ok(finished(config))
}

/// For everything else: both sides show one.
pub(super) fn mutual(identity: &Identity, clock: &Arc<dyn Clock>) -> Result<Arc<ClientConfig>, ControlError> {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key.serialize_der()));
    let config = builder(identity, clock)?.with_client_auth_cert(identity.chain.clone(), key)?;
    Ok(finished(config))
}

fn builder(
    identity: &Identity,
    clock: &Arc<dyn Clock>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, ControlError> {
    let mut roots = RootCertStore::empty();
    for ca in &identity.ca {
        roots.add(ca.clone())?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let known = roots.subjects();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|_| ControlError::Identity("no CA"))?;
    Ok(ClientConfig::builder_with_details(provider, Arc::new(ClockTime(clock.clone())))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Known { verifier, known })))
}

/// Verification as usual, under all known CAs, which are named to the server: while the fleet changes its CA, it shows the certificate of
/// one that this proxy knows (RFC 8446, section 4.2.4).
#[derive(Debug)]
struct Known {
    verifier: Arc<WebPkiServerVerifier>,
    known: Vec<DistinguishedName>,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        Some(&self.known)
    }
}

/// Subject of the authority with this key: a common name and nothing else ([`wire::AUTHORITY_NAME_PREFIX`]), in DER.
fn authority_name(key_hash: &[u8; 32]) -> DistinguishedName {
    const COMMON_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x03];
    let name = format!("{}{}", wire::AUTHORITY_NAME_PREFIX, crypto::digest::hex(&key_hash[..8]));
    let within = |tag: u8, content: &[u8]| [&[tag, content.len() as u8], content].concat();
    let attribute = within(0x30, &[&COMMON_NAME[..], &within(0x0c, name.as_bytes())].concat());
    DistinguishedName::in_sequence(&within(0x31, &attribute))
}

fn finished(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// SHA-256 of a certificate's SubjectPublicKeyInfo.
pub(super) fn key_hash(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(sha256(parsed.public_key().raw))
}

#[derive(Debug)]
struct PinnedCa {
    ca_key_hash: [u8; 32],
    known: [DistinguishedName; 1],
    provider: Arc<CryptoProvider>,
}

impl PinnedCa {
    /// Verification as usual, with the pinned CA as the only root.
    fn under_ca(&self, chain: &[CertificateDer<'_>]) -> Result<Arc<WebPkiServerVerifier>, rustls::Error> {
        let refused = || rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let ca = chain.iter().find(|each| key_hash(each) == Some(self.ca_key_hash)).ok_or_else(refused)?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|_| refused())
    }
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verifier = self.under_ca(intermediates)?;
        verifier.verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOfferedOrEnabled))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        Some(&self.known)
    }
}
