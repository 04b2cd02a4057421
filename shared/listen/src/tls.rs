//! How TLS is spoken: 1.3, or down to 1.2 where an operator says so; never less, and never with a suite that is not named here.

use std::{str::FromStr, sync::Arc};

use rustls::{
    ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{
        CryptoProvider,
        aws_lc_rs::{self, cipher_suite as suite},
    },
    server::ResolvesServerCert,
    version::{TLS12, TLS13},
};

use crate::callers::{Asking, Wants};

/// HTTP/2 in ALPN (RFC 9113 section 3.1).
pub const H2: &[u8] = b"h2";
/// HTTP/1.1 in ALPN (RFC 7301 section 6).
pub const HTTP_1_1: &[u8] = b"http/1.1";

/// The suites, best first: authenticated encryption and forward secrecy, all of them. Named one by one, so that a library's
/// next version cannot add to them.
static SUITES: [SupportedCipherSuite; 9] = [
    suite::TLS13_AES_256_GCM_SHA384,
    suite::TLS13_AES_128_GCM_SHA256,
    suite::TLS13_CHACHA20_POLY1305_SHA256,
    suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// The oldest version that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Floor {
    /// TLS 1.3 alone.
    #[default]
    Tls13,
    /// 1.2 too, for callers that have nothing better.
    Tls12,
}

static NEWEST: [&SupportedProtocolVersion; 1] = [&TLS13];
static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

impl Floor {
    fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls13 => &NEWEST,
            Self::Tls12 => &BOTH,
        }
    }
}

/// `1.2` or `1.3`.
impl FromStr for Floor {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        match text {
            "1.3" => Ok(Self::Tls13),
            "1.2" => Ok(Self::Tls12),
            _ => Err(UnknownVersion),
        }
    }
}

/// Not a version that may be a floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the oldest TLS version can be 1.3 or 1.2")]
pub struct UnknownVersion;

/// The one provider of cryptography, with our suites.
#[must_use]
pub fn provider() -> CryptoProvider {
    CryptoProvider { cipher_suites: SUITES.to_vec(), ..aws_lc_rs::default_provider() }
}

/// The server's side: no early data (RFC 8446 section 8: it can be replayed), no renegotiation (rustls has none), HTTP/2
/// preferred.
///
/// # Errors
/// When versions and suites do not fit together: not with those above.
pub fn server(
    certificates: Arc<dyn ResolvesServerCert>,
    floor: Floor,
) -> Result<ServerConfig, rustls::Error> {
    server_asking(certificates, floor, None)
}

/// The same, which asks callers for a certificate while somebody wants that.
///
/// # Errors
/// As [`server`].
pub fn server_asking(
    certificates: Arc<dyn ResolvesServerCert>,
    floor: Floor,
    wants: Option<Arc<dyn Wants>>,
) -> Result<ServerConfig, rustls::Error> {
    let builder =
        ServerConfig::builder_with_provider(Arc::new(provider())).with_protocol_versions(floor.versions())?;
    let mut config = match wants {
        Some(wants) => builder.with_client_cert_verifier(Arc::new(Asking::new(wants))),
        None => builder.with_no_client_auth(),
    }
    .with_cert_resolver(certificates);
    config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
    config.max_early_data_size = 0;
    // Without it a 1.2 session can be spliced into another (RFC 7627).
    config.require_ems = true;
    Ok(config)
}
