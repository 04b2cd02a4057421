//! Certificates of callers: asked for in the handshake where somebody may want one, and otherwise not.
//!
//! Whoever shows one proves that it has the key, and nothing else: whether the certificate is good depends on the endpoint that is called,
//! which is known only afterwards. So it is kept as it is, within bounds, and means nothing by itself. What a session is resumed
//! with is what was shown when it began.

use std::{fmt, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};

use crate::tls;

/// Certificates that a caller may show: its own, and those between it and an authority.
pub const MAX_CHAIN: usize = 5;
/// Bytes of all of them.
pub const MAX_CHAIN_BYTES: usize = 32 * 1024;

/// Whether somebody wants certificates of callers at this moment.
pub trait Wants: Send + Sync + fmt::Debug {
    /// Asked with each handshake.
    fn wants(&self) -> bool;
}

/// Asks for a certificate, and takes any whose key the caller has.
#[derive(Debug)]
pub(crate) struct Asking {
    wants: Arc<dyn Wants>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Asking {
    pub(crate) fn new(wants: Arc<dyn Wants>) -> Self {
        Self { wants, algorithms: tls::provider().signature_verification_algorithms }
    }
}

impl ClientCertVerifier for Asking {
    fn offer_client_auth(&self) -> bool {
        self.wants.wants()
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// Which authorities a tenant has is nobody else's business.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let bytes = end_entity.len() + intermediates.iter().map(|each| each.len()).sum::<usize>();
        if intermediates.len() >= MAX_CHAIN || bytes > MAX_CHAIN_BYTES {
            return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
