//! A new connection to an upstream: resolve, look at every address, dial one that was looked at, speak TLS.
//!
//! The address that was checked is the one that is dialled, so a name that changes between the two (DNS rebinding) gains
//! nothing. Redirects are never followed, so no other host can be reached by an answer.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use url::Host;

use super::{
    error::{UpstreamError, Waiting},
    origin::Origin,
    resolve::Resolver,
};

/// A connection, with the address at its other end.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) io: Io,
    pub(crate) address: SocketAddr,
    /// ALPN chose HTTP/2.
    pub(crate) h2: bool,
}

/// Dials the upstream. `sticky` is preferred where the name still has it: a session lives in one server.
///
/// # Errors
/// See [`UpstreamError`]; within `timeout` in any case.
pub(crate) async fn connect(
    origin: &Origin,
    rules: &egress::Rules,
    resolver: &dyn Resolver,
    sticky: Option<SocketAddr>,
    timeout: Duration,
) -> Result<Connected, UpstreamError> {
    let connecting = async {
        let addresses = allowed(origin, rules, resolver, sticky).await?;
        let (stream, address) = dial(&addresses).await?;
        secure(origin, stream, address).await
    };
    tokio::time::timeout(timeout, connecting).await.unwrap_or(Err(UpstreamError::Timeout(Waiting::Connect)))
}

/// The addresses that may be dialled. One refused address does not spoil the others: a public name with a stray
/// private record stays reachable, at its public addresses only.
async fn allowed(
    origin: &Origin,
    rules: &egress::Rules,
    resolver: &dyn Resolver,
    sticky: Option<SocketAddr>,
) -> Result<Vec<SocketAddr>, UpstreamError> {
    let resolved: Vec<IpAddr> = match &origin.host {
        Host::Ipv4(ip) => vec![(*ip).into()],
        Host::Ipv6(ip) => vec![(*ip).into()],
        Host::Domain(name) => resolver.resolve(name).await.map_err(UpstreamError::Resolve)?,
    };
    let mut refused = None;
    let mut addresses = Vec::with_capacity(resolved.len());
    for ip in resolved {
        match rules.check(ip, origin.port) {
            Ok(()) => addresses.push(SocketAddr::new(ip, origin.port)),
            Err(error) => refused = Some(error),
        }
    }
    if let Some(at) = addresses.iter().position(|address| Some(*address) == sticky) {
        addresses.swap(0, at);
    }
    match (addresses.is_empty(), refused) {
        (false, _) => Ok(addresses),
        (true, Some(error)) => Err(UpstreamError::AddressRefused(error)),
        (true, None) => {
            Err(UpstreamError::Resolve(io::Error::new(io::ErrorKind::NotFound, "the name has no address")))
        }
    }
}

async fn dial(addresses: &[SocketAddr]) -> Result<(TcpStream, SocketAddr), UpstreamError> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Small requests must not wait for the acknowledgement of earlier ones.
                stream.set_nodelay(true).map_err(UpstreamError::Connect)?;
                return Ok((stream, *address));
            }
            Err(error) => last = error,
        }
    }
    Err(UpstreamError::Connect(last))
}

async fn secure(origin: &Origin, stream: TcpStream, address: SocketAddr) -> Result<Connected, UpstreamError> {
    let Some(tls) = &origin.tls else { return Ok(Connected { io: Io::Plain(stream), address, h2: false }) };
    let connector = TlsConnector::from(tls.config.clone());
    let stream = connector.connect(tls.name.clone(), stream).await.map_err(UpstreamError::Tls)?;
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok(Connected { io: Io::Tls(Box::new(stream)), address, h2 })
}

/// A byte stream to an upstream.
#[derive(Debug)]
pub(crate) enum Io {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
