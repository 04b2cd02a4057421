//! Which certificate is shown to whom: by the name that the other end asks for.

use std::{collections::HashMap, fmt, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    SignatureScheme,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::certificate::Certificate;

/// Certificates that are found elsewhere, for names that the listener has none for.
pub trait Others: Send + Sync + fmt::Debug {
    /// For a name in lower case, without a final dot.
    fn find(&self, name: &str) -> Option<Arc<CertifiedKey>>;
}

/// The certificates in force; exchanged whole, while connections go on.
#[derive(Debug, Default)]
pub struct Certificates {
    table: ArcSwap<Table>,
    others: Option<Arc<dyn Others>>,
}

impl Certificates {
    /// In the order of preference. The first is for callers that ask for no name, such as those that connect to an address.
    #[must_use]
    pub fn new(certificates: &[Certificate]) -> Self {
        Self { table: ArcSwap::from_pointee(Table::new(certificates)), others: None }
    }

    /// With others for the names that these are not for. So nobody's certificate is shown in the place of the listener's own.
    #[must_use]
    pub fn and_others(self, others: Option<Arc<dyn Others>>) -> Self {
        Self { others, ..self }
    }

    /// From the next handshake on these are shown.
    pub fn replace(&self, certificates: &[Certificate]) {
        self.table.store(Arc::new(Table::new(certificates)));
    }
}

impl ResolvesServerCert for Certificates {
    /// `None`, and so no connection, for a name that no certificate is for: it would be refused over there, and it must not
    /// become a way to learn what else is served here.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name(), hello.signature_schemes())
    }
}

impl Certificates {
    fn find(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.table.load().find(name, schemes).or_else(|| {
            let found = self.others.as_ref()?.find(&spelling(name?))?;
            found.key.choose_scheme(schemes).is_some().then_some(found)
        })
    }
}

/// The one in which names are kept.
fn spelling(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[derive(Debug, Default)]
struct Table {
    all: Vec<Arc<CertifiedKey>>,
    exact: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
    /// By what follows `*.`.
    below: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
}

impl Table {
    fn new(certificates: &[Certificate]) -> Self {
        let mut table = Self::default();
        for certificate in certificates {
            table.all.push(Arc::clone(&certificate.key));
            for name in &certificate.names {
                let (names, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut table.below, parent),
                    None => (&mut table.exact, &**name),
                };
                names.entry(name.into()).or_default().push(Arc::clone(&certificate.key));
            }
        }
        table
    }

    /// An exact name before a wildcard, which stands for one label (RFC 9525 section 6.3). Of several certificates for a
    /// name, the first that the other end can verify.
    fn find(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let fitting = match name {
            None => &self.all,
            Some(name) => {
                let name = spelling(name);
                let below = || self.below.get(name.split_once('.')?.1);
                self.exact.get(&*name).or_else(below)?
            }
        };
        fitting.iter().find(|key| key.key.choose_scheme(schemes).is_some()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};

    use super::*;

    fn certificate(names: &[&str], algorithm: &'static SignatureAlgorithm) -> Certificate {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let signed = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        Certificate::from_pem(signed.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    }

    const ECDSA: &[SignatureScheme] = &[SignatureScheme::ECDSA_NISTP256_SHA256];
    const EDDSA: &[SignatureScheme] = &[SignatureScheme::ED25519];

    #[test]
    fn the_name_decides_and_an_unknown_one_gets_none() {
        let own = certificate(&["gw.example.com", "127.0.0.1"], &PKCS_ECDSA_P256_SHA256);
        let wild = certificate(&["*.example.com"], &PKCS_ECDSA_P256_SHA256);
        let table = Table::new(&[own.clone(), wild.clone()]);
        for (name, expected) in [
            (None, Some(&own)),
            (Some("gw.example.com"), Some(&own)),
            (Some("GW.Example.com."), Some(&own)),
            (Some("other.example.com"), Some(&wild)),
            (Some("a.b.example.com"), None),
            (Some("example.com"), None),
            (Some("evil.example"), None),
            (Some("com"), None),
            (Some(""), None),
        ] {
            let found = table.find(name, ECDSA);
            let same = match (&found, expected) {
                (Some(found), Some(expected)) => Arc::ptr_eq(found, &expected.key),
                (None, None) => true,
                _ => false,
            };
            assert!(same, "{name:?}");
        }
    }

    #[test]
    fn of_two_for_one_name_the_other_end_gets_the_one_it_can_verify() {
        let first = certificate(&["gw.example.com"], &PKCS_ED25519);
        let second = certificate(&["gw.example.com"], &PKCS_ECDSA_P256_SHA256);
        let table = Table::new(&[first.clone(), second.clone()]);
        assert!(Arc::ptr_eq(&table.find(Some("gw.example.com"), EDDSA).unwrap(), &first.key));
        assert!(Arc::ptr_eq(&table.find(Some("gw.example.com"), ECDSA).unwrap(), &second.key));
        assert!(table.find(Some("gw.example.com"), &[SignatureScheme::RSA_PSS_SHA256]).is_none());
    }

    #[derive(Debug)]
    struct One(&'static str, Arc<CertifiedKey>);

    impl Others for One {
        fn find(&self, name: &str) -> Option<Arc<CertifiedKey>> {
            (name == self.0).then(|| self.1.clone())
        }
    }

    #[test]
    fn others_are_for_the_names_that_are_left_and_never_take_the_listeners_own() {
        let own = certificate(&["gw.example.com"], &PKCS_ECDSA_P256_SHA256);
        let other = certificate(&["gw.example.com", "mcp.acme.example"], &PKCS_ECDSA_P256_SHA256);
        for (name, asked, expected) in [
            ("mcp.acme.example", Some("mcp.acme.example"), Some(&other)),
            ("mcp.acme.example", Some("MCP.acme.example."), Some(&other)),
            ("mcp.acme.example", Some("x.acme.example"), None),
            ("mcp.acme.example", None, Some(&own)),
            ("gw.example.com", Some("gw.example.com"), Some(&own)),
        ] {
            let others: Arc<dyn Others> = Arc::new(One(name, Arc::clone(&other.key)));
            let certificates = Certificates::new(std::slice::from_ref(&own)).and_others(Some(others));
            let found = certificates.find(asked, ECDSA);
            let same = match (&found, expected) {
                (Some(found), Some(expected)) => Arc::ptr_eq(found, &expected.key),
                (None, None) => true,
                _ => false,
            };
            assert!(same, "{asked:?}");
            assert!(asked != Some("mcp.acme.example") || certificates.find(asked, EDDSA).is_none());
        }
    }
}
