//! What a client authority may be: refused here, before anything is stored.

use std::sync::Arc;

use rustls::{RootCertStore, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject as _};

use super::types::ClientAuthoritySettings;
use crate::http::problem::{ApiError, FieldError};

const MAX_PEM: usize = 65_536;
const MAX_LISTS_PEM: usize = 524_288;
const MAX_CERTIFICATES: usize = 32;
const MAX_LISTS: usize = 8;
const MAX_RULES: usize = 1_000;
const MAX_URI: usize = 1_024;
const MAX_DNS: usize = 253;

/// Refuses settings that cannot be, naming every place.
///
/// # Errors
/// [`ApiError::Invalid`].
pub(super) fn check(settings: &ClientAuthoritySettings) -> Result<(), ApiError> {
    let mut errors = Vec::new();
    let mut wrong = |pointer: String, message: &str| {
        errors.push(FieldError { pointer, message: message.to_owned() });
    };
    let roots = roots(&settings.ca_pem);
    if roots.is_none() {
        wrong("/ca_pem".into(), "must be 1 to 32 certificates that can be roots, PEM, at most 65536 bytes");
    }
    if let (Some(roots), Some(pem)) = (roots, &settings.crl_pem)
        && !are_lists(roots, pem)
    {
        wrong("/crl_pem".into(), "must be 1 to 8 lists of revoked certificates, PEM, at most 524288 bytes");
    }
    if settings.callers.len() > MAX_RULES {
        wrong("/callers".into(), "must be at most 1000");
    }
    for (place, rule) in settings.callers.iter().enumerate() {
        let fits = match (&rule.uri, &rule.dns) {
            (Some(uri), None) => (1..=MAX_URI).contains(&uri.len()) && uri.is_ascii(),
            (None, Some(dns)) => (1..=MAX_DNS).contains(&dns.len()) && *dns == dns.to_ascii_lowercase(),
            _ => false,
        };
        if !fits {
            wrong(format!("/callers/{place}"), "must have either `uri` or `dns`, this in lower case");
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::Invalid(errors)) }
}

/// DER of certificates in PEM; `None`: it is none.
pub(crate) fn certificates(pem: &str) -> Option<Vec<Vec<u8>>> {
    let each = CertificateDer::pem_slice_iter(pem.as_bytes()).map(|der| der.map(|der| der.to_vec()));
    each.collect::<Result<_, _>>().ok()
}

/// DER of lists of revoked certificates in PEM; `None`: it is none.
pub(crate) fn lists(pem: &str) -> Option<Vec<Vec<u8>>> {
    let each = CertificateRevocationListDer::pem_slice_iter(pem.as_bytes());
    each.map(|der| der.map(|der| der.to_vec())).collect::<Result<_, _>>().ok()
}

fn roots(pem: &str) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for der in certificates(pem).filter(|_| pem.len() <= MAX_PEM)? {
        roots.add(CertificateDer::from(der)).ok()?;
    }
    (1..=MAX_CERTIFICATES).contains(&roots.len()).then_some(roots)
}

/// Read as proxies read them.
fn are_lists(roots: RootCertStore, pem: &str) -> bool {
    let Some(lists) = lists(pem).filter(|_| pem.len() <= MAX_LISTS_PEM) else { return false };
    let fits = (1..=MAX_LISTS).contains(&lists.len());
    let lists = lists.into_iter().map(CertificateRevocationListDer::from);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).with_crls(lists);
    fits && builder.build().is_ok()
}
