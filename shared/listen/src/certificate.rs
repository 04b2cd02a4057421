//! A certificate with its key, and what it says about itself.

use std::sync::Arc;

use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::{
    prelude::{FromDer as _, GeneralName, ParsedExtension, X509Certificate},
    public_key::PublicKey,
};

use crate::tls;

/// A certificate that can be shown.
#[derive(Debug, Clone)]
pub struct Certificate {
    pub(crate) key: Arc<CertifiedKey>,
    /// DNS names it is for, lower case; a wildcard keeps its `*.`.
    pub(crate) names: Vec<Box<str>>,
    /// Seconds since 1970 between which it is accepted.
    not_before: i64,
    pub(crate) not_after: i64,
    /// Of an RSA key; otherwise 0.
    rsa_bits: usize,
}

/// The longest RSA key whose signatures are quick enough for a tenant's certificate; an operator's may have a longer one.
const QUICK_RSA_BITS: usize = 4096;

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
        Self::new(chain_from_pem(chain)?, key_from_pem(key)?)
    }

    /// A chain, leaf first, with its leaf's key.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, CertificateError> {
        let leaf = chain.first().ok_or(CertificateError::Empty)?;
        let Described { names, not_before, not_after, rsa_bits } = describe(leaf)?;
        let key = CertifiedKey::from_der(chain, key, &tls::provider())?;
        // Where the two cannot be compared this is an error too.
        key.keys_match()?;
        Ok(Self { key: Arc::new(key), names, not_before, not_after, rsa_bits })
    }

    /// Whether it is for this host, in lower case: by its name, or by a wildcard, which stands for one label (RFC 9525 section
    /// 6.3).
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        let below = host.split_once('.').map(|(_, parent)| parent);
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(parent) => below == Some(parent),
            None => **name == *host,
        })
    }

    /// Whether it is accepted at this time, in seconds since 1970.
    #[must_use]
    pub fn is_valid_at(&self, now: i64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// DNS names it is for, lower case; a wildcard keeps its `*.`.
    #[must_use]
    pub fn names(&self) -> &[Box<str>] {
        &self.names
    }

    /// Whether each handshake with it costs about as much as with others: a signature of an RSA key of 8192 bits takes a
    /// hundred times what one of P-256 does, on the thread that serves everybody.
    #[must_use]
    pub const fn is_quick(&self) -> bool {
        self.rsa_bits <= QUICK_RSA_BITS
    }

    /// Seconds since 1970 after which nobody accepts it.
    #[must_use]
    pub const fn not_after(&self) -> i64 {
        self.not_after
    }

    /// DER, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }

    /// What a handshake shows and signs with.
    #[must_use]
    pub const fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }
}

/// The certificates of a PEM text, in its order.
///
/// # Errors
/// [`CertificateError::Pem`], or [`CertificateError::Empty`] where there is none.
pub fn chain_from_pem(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>()?;
    if chain.is_empty() { Err(CertificateError::Empty) } else { Ok(chain) }
}

/// The first private key of a PEM text.
///
/// # Errors
/// [`CertificateError::Pem`].
pub fn key_from_pem(text: &[u8]) -> Result<PrivateKeyDer<'static>, CertificateError> {
    Ok(PrivateKeyDer::from_pem_slice(text)?)
}

struct Described {
    names: Vec<Box<str>>,
    not_before: i64,
    not_after: i64,
    rsa_bits: usize,
}

fn describe(leaf: &CertificateDer<'_>) -> Result<Described, CertificateError> {
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| CertificateError::Malformed)?;
    let alternative = leaf.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    let mut names = Vec::new();
    let mut addresses = false;
    for name in alternative.into_iter().flatten() {
        match name {
            // Anything else is no host name, and not every store takes it.
            GeneralName::DNSName(name) if !name.bytes().all(|byte| byte.is_ascii_graphic()) => {}
            GeneralName::DNSName(name) => names.push(name.to_ascii_lowercase().into()),
            GeneralName::IPAddress(_) => addresses = true,
            _ => {}
        }
    }
    if names.is_empty() && !addresses {
        return Err(CertificateError::Nameless);
    }
    let validity = leaf.validity();
    let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let rsa_bits = match leaf.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => key.key_size(),
        _ => 0,
    };
    Ok(Described { names, not_before, not_after, rsa_bits })
}
