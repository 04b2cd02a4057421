//! gRPC over our own TLS connections.

use std::{io, sync::Arc, time::Duration};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};
use url::Url;

/// TCP and TLS together.
const CONNECT: Duration = Duration::from_secs(10);
/// Between signs of life, and how long to wait for an answer: a peer that vanished is noticed in twice this.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Flow-control windows: a snapshot of 16 MiB does not take its time in round trips.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// A channel that connects when first used and again after it broke.
pub(super) fn lazy(url: &Url, tls: Arc<ClientConfig>) -> Channel {
    let (host, port) = (host(url), url.port_or_known_default().unwrap_or(443));
    // The connector knows where to go; this URI only fills in `:authority`.
    let endpoint = Endpoint::from(Uri::from_static("http://control.portcullis.internal"))
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
        let (host, tls) = (host.clone(), tls.clone());
        async move { connect(&host, port, tls).await.map(TokioIo::new) }
    }))
}

/// Without the brackets of an IPv6 address.
fn host(url: &Url) -> String {
    match url.host() {
        Some(url::Host::Domain(name)) => name.to_owned(),
        Some(url::Host::Ipv4(address)) => address.to_string(),
        Some(url::Host::Ipv6(address)) => address.to_string(),
        None => String::new(),
    }
}

async fn connect(host: &str, port: u16, tls: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(wire::CONTROL_NAME).map_err(io::Error::other)?;
    let stream = TlsConnector::from(tls).connect(name, stream).await?;
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(io::Error::other("peer does not speak HTTP/2"));
    }
    Ok(stream)
}
