//! A certificate with its key, and what it says about itself.

use std::sync::Arc;

use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension, X509Certificate};

use crate::tls;

/// A certificate that can be shown.
#[derive(Debug, Clone)]
pub struct Certificate {
    pub(crate) key: Arc<CertifiedKey>,
    /// DNS names it is for, lower case; a wildcard keeps its `*.`.
    pub(crate) names: Vec<Box<str>>,
    /// Seconds since 1970 after which nobody accepts it.
    pub(crate) not_after: i64,
}

/// Why a certificate cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The PEM does not hold what it should.
    #[error("certificate chain or private key is not PEM")]
    Pem(#[from] pem::Error),
    /// The PEM holds no certificate.
    #[error("certificate chain is empty")]
    Empty,
    /// The leaf cannot be read.
    #[error("the first certificate of the chain cannot be read")]
    Malformed,
    /// Clients have gone by these names alone since RFC 6125.
    #[error("the certificate names no host: it has no DNS name or address among its alternative names")]
    Nameless,
    /// Key and certificate do not belong together, or are of a kind that is not supported.
    #[error("certificate and key are not usable together")]
    Unusable(#[from] rustls::Error),
}

impl Certificate {
    /// Reads a chain, leaf first, and its leaf's key.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>()?;
        let leaf = chain.first().ok_or(CertificateError::Empty)?;
        let (names, not_after) = describe(leaf)?;
        let key = PrivateKeyDer::from_pem_slice(key)?;
        let key = CertifiedKey::from_der(chain, key, &tls::provider())?;
        // Where the two cannot be compared this is an error too.
        key.keys_match()?;
        Ok(Self { key: Arc::new(key), names, not_after })
    }
}

fn describe(leaf: &CertificateDer<'_>) -> Result<(Vec<Box<str>>, i64), CertificateError> {
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| CertificateError::Malformed)?;
    let alternative = leaf.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    let mut names = Vec::new();
    let mut addresses = false;
    for name in alternative.into_iter().flatten() {
        match name {
            GeneralName::DNSName(name) => names.push(name.to_ascii_lowercase().into()),
            GeneralName::IPAddress(_) => addresses = true,
            _ => {}
        }
    }
    if names.is_empty() && !addresses {
        return Err(CertificateError::Nameless);
    }
    Ok((names, leaf.validity().not_after.timestamp()))
}
