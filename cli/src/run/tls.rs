//! Options of a listener's TLS, the same for both planes.

use std::path::PathBuf;

use anyhow::ensure;
use listen::{
    files::{CertificateFiles, Tls},
    tls::Floor,
};

/// Certificates, and the oldest version that is spoken.
#[derive(Debug, clap::Args)]
pub(super) struct TlsOptions {
    /// PEM file with a certificate chain of the listener, leaf first. Several for several names, as a list or by repeating; the
    /// first also for callers that ask for no name. Read again when it changes, and at SIGHUP
    #[arg(long, env = "PORTCULLIS_TLS_CERT", value_delimiter = ',', requires = "tls_key")]
    tls_cert: Vec<PathBuf>,
    /// PEM file with the key of a chain; as many, in the same order
    #[arg(long, env = "PORTCULLIS_TLS_KEY", value_delimiter = ',', requires = "tls_cert")]
    tls_key: Vec<PathBuf>,
    /// Oldest TLS version that callers may speak: 1.3, or 1.2 for those that have nothing better
    #[arg(long, env = "PORTCULLIS_TLS_MIN_VERSION", default_value = "1.3")]
    tls_min_version: Floor,
}

impl TlsOptions {
    /// `None` where no certificate is given.
    pub(super) fn tls(self) -> anyhow::Result<Option<Tls>> {
        let (chains, keys) = (self.tls_cert, self.tls_key);
        ensure!(chains.len() == keys.len(), "give as many --tls-key as --tls-cert, in the same order");
        let pair = |(chain, key)| CertificateFiles { chain, key };
        let certificates: Vec<_> = chains.into_iter().zip(keys).map(pair).collect();
        Ok((!certificates.is_empty()).then_some(Tls { certificates, floor: self.tls_min_version }))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        tls: TlsOptions,
    }

    fn parsed(arguments: &str) -> anyhow::Result<Option<Tls>> {
        Command::try_parse_from(["it"].into_iter().chain(arguments.split_whitespace()))?.tls.tls()
    }

    #[test]
    fn certificates_and_keys_go_in_pairs() {
        assert_eq!(parsed("").unwrap(), None);
        let tls = parsed("--tls-cert a.pem,b.pem --tls-key a.key --tls-key b.key").unwrap().unwrap();
        let pairs: Vec<_> = tls.certificates.iter().map(|pair| (&*pair.chain, &*pair.key)).collect();
        let path = std::path::Path::new;
        assert_eq!(pairs, [(path("a.pem"), path("a.key")), (path("b.pem"), path("b.key"))]);
        assert_eq!(tls.floor, Floor::Tls13);
        let older = parsed("--tls-cert a --tls-key b --tls-min-version 1.2").unwrap().unwrap();
        assert_eq!(older.floor, Floor::Tls12);
        for wrong in
            ["--tls-cert a", "--tls-cert a,b --tls-key a", "--tls-min-version 1.1", "--tls-min-version 1"]
        {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
