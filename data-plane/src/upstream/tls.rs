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

impl Tls {
    /// From the upstream's options. `host` is the URL's.
    pub(super) fn new(upstream: &UpstreamIndex, host: &str) -> Result<Self, UpstreamError> {
        let mut roots = RootCertStore::empty();
        if upstream.ca_der.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        } else {
            for der in &upstream.ca_der {
                roots.add(CertificateDer::from(der.clone())).map_err(UpstreamError::TlsOptions)?;
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(UpstreamError::TlsOptions)?;
        let builder = if upstream.pins.is_empty() {
            builder.with_root_certificates(roots)
        } else {
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| UpstreamError::TlsOptions(rustls::Error::General(error.to_string())))?;
            let pinned = Pinned::new(verifier, upstream.pins.clone());
            builder.dangerous().with_custom_certificate_verifier(Arc::new(pinned))
        };
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = upstream.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.trim_matches(['[', ']']).to_owned())
            .map_err(|_| UpstreamError::TlsOptions(rustls::Error::General("server name".to_owned())))?;
        Ok(Self { config: Arc::new(config), name })
    }
}
