//! Where a document of somebody else's is: always behind verified TLS, and asked for without a credential.

use std::sync::Arc;

use http::{HeaderValue, Uri, uri::PathAndQuery};
use rustls::{ClientConfig, RootCertStore, client::Resumption};
use rustls_pki_types::{CertificateDer, ServerName};
use url::Url;

use super::{addresses::Addresses, error::UpstreamError, origin::Origin, tls::Tls};

impl Origin {
    /// From an https URL and the certificates that are trusted instead of the public roots, if there are any. For a client that speaks
    /// HTTP/1.1 alone.
    ///
    /// # Errors
    /// [`UpstreamError`] where the URL or a certificate is none.
    pub(crate) fn of_document(url: &Url, ca_der: &[Vec<u8>]) -> Result<Self, UpstreamError> {
        let host = url.host().filter(|_| url.scheme() == "https").ok_or(UpstreamError::Url)?.to_owned();
        let port = url.port_or_known_default().ok_or(UpstreamError::Url)?;
        let target =
            url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let path: PathAndQuery = target.parse().map_err(|_| UpstreamError::Url)?;
        let authority = url.port().map_or_else(|| host.to_string(), |port| format!("{host}:{port}"));
        let absolute = Uri::builder()
            .scheme("https")
            .authority(authority.as_str())
            .path_and_query(path.clone())
            .build()
            .map_err(|_| UpstreamError::Url)?;
        Ok(Self {
            tls: Some(tls(&host.to_string(), ca_der)?),
            host,
            port,
            opening: format!(" {path} HTTP/1.1\r\nhost: {authority}\r\n").into_boxed_str(),
            path: Uri::from(path),
            absolute,
            authority: HeaderValue::from_str(&authority).map_err(|_| UpstreamError::Url)?,
            addresses: Addresses::default(),
        })
    }
}

fn tls(host: &str, ca_der: &[Vec<u8>]) -> Result<Tls, UpstreamError> {
    let mut roots = RootCertStore::empty();
    if ca_der.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    for der in ca_der {
        roots.add(CertificateDer::from(der.clone())).map_err(UpstreamError::TlsOptions)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(UpstreamError::TlsOptions)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // One request for each connection, minutes apart.
    config.resumption = Resumption::disabled();
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
        .map_err(|_| UpstreamError::TlsOptions(rustls::Error::General("server name".to_owned())))?;
    Ok(Tls { config: Arc::new(config), name })
}
