//! TLS towards upstreams: always verified, 1.2 at least, against the public roots or the tenant's own; and, where keys are
//! pinned, against those too.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, client::WebPkiServerVerifier};
use rustls_pki_types::{CertificateDer, ServerName};

use super::{error::UpstreamError, pins::Pinned};
use crate::snapshot::index::UpstreamIndex;

/// How to speak TLS to one upstream.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
}

/// How a server's certificate is verified.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TlsOptions<'a> {
    /// DER certificates trusted instead of the public roots; empty: these.
    pub(super) ca_der: &'a [Vec<u8>],
    /// Instead of the URL's host.
    pub(super) server_name: Option<&'a str>,
    /// SHA-256 of keys one of which it has to have; empty: any.
    pub(super) pins: &'a [[u8; 32]],
}

impl<'a> TlsOptions<'a> {
    pub(super) fn of(upstream: &'a UpstreamIndex) -> Self {
        let UpstreamIndex { ca_der, server_name, pins, .. } = upstream;
        Self { ca_der, server_name: server_name.as_deref(), pins }
    }
}

impl Tls {
    /// `host` is the URL's.
    pub(super) fn new(options: &TlsOptions<'_>, host: &str) -> Result<Self, UpstreamError> {
        let mut roots = RootCertStore::empty();
        if options.ca_der.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        } else {
            for der in options.ca_der {
                roots.add(CertificateDer::from(der.clone())).map_err(UpstreamError::TlsOptions)?;
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(UpstreamError::TlsOptions)?;
        let builder = if options.pins.is_empty() {
            builder.with_root_certificates(roots)
        } else {
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| UpstreamError::TlsOptions(rustls::Error::General(error.to_string())))?;
            let pinned = Pinned::new(verifier, options.pins.into());
            builder.dangerous().with_custom_certificate_verifier(Arc::new(pinned))
        };
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = options.server_name.unwrap_or(host);
        let name = ServerName::try_from(name.trim_matches(['[', ']']).to_owned())
            .map_err(|_| UpstreamError::TlsOptions(rustls::Error::General("server name".to_owned())))?;
        Ok(Self { config: Arc::new(config), name })
    }
}
