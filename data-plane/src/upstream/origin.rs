//! Where an upstream is, taken apart once: what every connection and request to it needs.

use std::sync::Arc;

use http::{HeaderValue, Uri, uri::PathAndQuery};
use url::{Host, Url};

use super::{
    addresses::Addresses,
    error::UpstreamError,
    tls::{Tls, TlsOptions},
};
use crate::snapshot::index::UpstreamIndex;

/// An upstream's place.
#[derive(Debug)]
pub(crate) struct Origin {
    /// Name or literal address to connect to.
    pub(super) host: Host<String>,
    pub(super) port: u16,
    /// `None` for plain HTTP.
    pub(super) tls: Option<Tls>,
    /// Request target over HTTP/1.1: path and query.
    pub(super) path: Uri,
    /// Request target over HTTP/2: scheme and authority too.
    pub(super) absolute: Uri,
    /// `Host`: the upstream's, never the caller's.
    pub(super) authority: HeaderValue,
    /// What follows the method in a request over HTTP/1.1: target, version and `Host`.
    pub(super) opening: Box<str>,
    /// What is known of its addresses.
    pub(super) addresses: Addresses,
}

impl Origin {
    /// Takes the upstream's URL and TLS options apart.
    pub(crate) fn new(upstream: &UpstreamIndex) -> Result<Self, UpstreamError> {
        Self::at(&upstream.url, &TlsOptions::of(upstream))
    }

    /// Of any URL.
    pub(super) fn at(url: &Url, tls: &TlsOptions<'_>) -> Result<Self, UpstreamError> {
        let host = url.host().ok_or(UpstreamError::Url)?.to_owned();
        let tls = match url.scheme() {
            "https" => Some(Tls::new(tls, &host.to_string())?),
            "http" => None,
            _ => return Err(UpstreamError::Url),
        };
        let port = url.port_or_known_default().ok_or(UpstreamError::Url)?;
        let path: PathAndQuery = target(url).parse().map_err(|_| UpstreamError::Url)?;
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        let absolute = Uri::builder()
            .scheme(url.scheme())
            .authority(authority.as_str())
            .path_and_query(path.clone())
            .build()
            .map_err(|_| UpstreamError::Url)?;
        let opening = format!(" {path} HTTP/1.1\r\nhost: {authority}\r\n").into_boxed_str();
        Ok(Self {
            host,
            port,
            tls,
            path: Uri::from(path),
            absolute,
            authority: HeaderValue::from_str(&authority).map_err(|_| UpstreamError::Url)?,
            opening,
            addresses: Addresses::default(),
        })
    }

    /// Whose addresses are used in turn from there on.
    pub(super) fn beginning_at(mut self, turn: u16) -> Self {
        self.addresses = Addresses::beginning_at(turn);
        self
    }

    /// For a client that speaks HTTP/1.1 alone.
    pub(crate) fn without_h2(mut self) -> Self {
        if let Some(tls) = &mut self.tls {
            Arc::make_mut(&mut tls.config).alpn_protocols.retain(|protocol| protocol != b"h2");
        }
        self
    }

    /// Request target over HTTP/1.1.
    pub(crate) fn target(&self) -> Uri {
        self.path.clone()
    }

    /// `Host`.
    pub(crate) fn host_header(&self) -> HeaderValue {
        self.authority.clone()
    }
}

fn target(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}
