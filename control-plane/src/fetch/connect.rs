//! A connection to a server of others: resolve, look at every address, dial one that was looked at, speak TLS.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use url::Host;

use super::{FetchError, Fetcher, Wanted};

/// Addresses that are dialled, one after the other.
const TRIED: usize = 3;

/// Dials the URL's server.
pub(super) async fn connect(
    fetcher: &Fetcher,
    wanted: &Wanted<'_>,
) -> Result<TlsStream<TcpStream>, FetchError> {
    let host = wanted.url.host().ok_or(FetchError::Url)?;
    let port = wanted.url.port_or_known_default().ok_or(FetchError::Url)?;
    let (addresses, name): (Vec<IpAddr>, ServerName<'static>) = match host {
        Host::Ipv4(ip) => (vec![ip.into()], IpAddr::from(ip).into()),
        Host::Ipv6(ip) => (vec![ip.into()], IpAddr::from(ip).into()),
        Host::Domain(name) => {
            let found = fetcher.dns.addresses(name, &*fetcher.entropy).await;
            let found = found.map_err(|error| FetchError::Resolve(error.to_string().into()))?;
            (found, ServerName::try_from(name.to_owned()).map_err(|_| FetchError::Url)?)
        }
    };
    // Whoever can be made to ask is often nobody yet, so a name with one bad address is not trusted with the others.
    for address in &addresses {
        wanted.rules.check(*address, port)?;
    }
    let mut failed = FetchError::Resolve("it has no address".into());
    for address in addresses.into_iter().take(TRIED) {
        // The address that was checked: the name is not asked again.
        match TcpStream::connect(SocketAddr::new(address, port)).await {
            Ok(stream) => {
                let connecting = TlsConnector::from(fetcher.tls.clone()).connect(name, stream);
                return connecting
                    .await
                    .map_err(|error: io::Error| FetchError::Tls(error.to_string().into()));
            }
            Err(error) => failed = FetchError::Connect(error.kind()),
        }
    }
    Err(failed)
}
