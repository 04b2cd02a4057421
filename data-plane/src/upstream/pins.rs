//! Keys that a server may have: beside the verification of its certificate, never instead of it.
//!
//! The server's own key is compared (RFC 7469 section 2.4: SHA-256 of the subject public key info), not those of its
//! authorities: which of the certificates it sends were used to verify it is not known here, and it may send any. A resumed
//! session shows no certificate; it was begun under the same pins, because what is remembered of sessions belongs to one
//! configuration of one upstream.

use std::{fmt, io, sync::Arc};

use crypto::digest::sha256;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Verifies certificates, and then that the key is one of these.
#[derive(Debug)]
pub(super) struct Pinned {
    verifier: Arc<WebPkiServerVerifier>,
    pins: Box<[[u8; 32]]>,
}

/// The key is not pinned.
#[derive(Debug)]
struct Mismatch;

impl Pinned {
    pub(super) const fn new(verifier: Arc<WebPkiServerVerifier>, pins: Box<[[u8; 32]]>) -> Self {
        Self { verifier, pins }
    }
}

/// Whether a handshake has failed because of the pins alone.
pub(super) fn is_mismatch(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    matches!(error, Some(Error::InvalidCertificate(CertificateError::Other(other))) if other.0.is::<Mismatch>())
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        let (_, certificate) = X509Certificate::from_der(end_entity)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let pin = sha256(certificate.public_key().raw);
        if self.pins.contains(&pin) {
            Ok(verified)
        } else {
            Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Mismatch)))))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

impl std::error::Error for Mismatch {}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the key is not one that was pinned")
    }
}
