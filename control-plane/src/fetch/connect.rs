//! A connection to a server of others: resolve, look at every address, dial one that was looked at, speak TLS.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use egress::{Networks, Rules};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use url::Host;

use super::{
    Asked, Detail, FetchError, Inner,
    counted::{Counted, is_excess},
};

/// Addresses that are dialled, one after the other.
const TRIED: usize = 3;
/// For one of them, while there is another.
const EACH: Duration = Duration::from_millis(1_500);
/// Bytes that are read from one, handshake and all: a document of the longest kind in small pieces, and no more.
const MOST_READ: usize = 256 * 1024;
/// The one port that strangers may name.
const PORT: u16 = 443;

pub(super) type Stream = TlsStream<Counted<TcpStream>>;

/// Dials the URL's server.
pub(super) async fn connect(inner: &Inner, asked: &Asked) -> Result<Stream, FetchError> {
    let host = asked.url.host().ok_or(FetchError::Url)?;
    let port = asked.url.port_or_known_default().ok_or(FetchError::Url)?;
    let (addresses, name): (Vec<IpAddr>, ServerName<'static>) = match host {
        Host::Ipv4(ip) => (vec![ip.into()], IpAddr::from(ip).into()),
        Host::Ipv6(ip) => (vec![ip.into()], IpAddr::from(ip).into()),
        Host::Domain(name) => {
            let found = inner.dns.addresses(name, &*inner.entropy).await;
            let found = found.map_err(|error| FetchError::Resolve(Detail::of(error)))?;
            (found, ServerName::try_from(name.to_owned()).map_err(|_| FetchError::Url)?)
        }
    };
    // Whoever can be made to ask is often nobody yet, so a name with one bad address is not trusted with the others.
    for address in &addresses {
        check(&inner.networks, asked, *address, port)?;
    }
    let mut failed = FetchError::Resolve(Detail::of("it has no address"));
    let mut addresses = addresses.into_iter().take(TRIED).peekable();
    while let Some(address) = addresses.next() {
        inner.rates.dial(asked, address, inner.clock.monotonic())?;
        // The address that was checked: the name is not asked again.
        let dialling = dial(inner, SocketAddr::new(address, port), name.clone());
        let dialled = match addresses.peek() {
            Some(_) => tokio::time::timeout(EACH, dialling).await.unwrap_or(Err(FetchError::Time)),
            None => dialling.await,
        };
        match dialled {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Where an administrator sends us the tenant's egress rules count; where strangers do, public addresses and what the operator named.
fn check(networks: &Networks, asked: &Asked, address: IpAddr, port: u16) -> Result<(), FetchError> {
    if let Some(rules) = &asked.rules {
        return rules.check(address, port).map_err(FetchError::Refused);
    }
    if networks.permit(address) {
        return Ok(());
    }
    Rules::default().check(address, port).map_err(FetchError::Refused)?;
    if port == PORT { Ok(()) } else { Err(FetchError::Port) }
}

async fn dial(inner: &Inner, address: SocketAddr, name: ServerName<'static>) -> Result<Stream, FetchError> {
    let stream = TcpStream::connect(address).await.map_err(|error| FetchError::Connect(error.kind()))?;
    let connector = TlsConnector::from(inner.tls.clone());
    connector.connect(name, Counted::new(stream, MOST_READ)).await.map_err(|error: io::Error| {
        if is_excess(&error) { FetchError::Size } else { FetchError::Tls(Detail::of(error)) }
    })
}

#[cfg(test)]
mod tests {
    use egress::Rule;
    use ids::TenantId;

    use super::*;
    use crate::fetch::Kind;

    #[test]
    fn strangers_name_port_443_of_public_addresses_and_what_the_operator_adds() {
        let networks = Networks::new(["10.1.0.0/16".parse().unwrap()]);
        let rules = Rules::new([Rule::new("10.2.0.0/16", 8_443).unwrap()]);
        let checked = |rules: Option<&Rules>, address: &str, port: u16| {
            let url = "https://app.example/c".parse().unwrap();
            let (tenant, kind) = (TenantId::from_parts(1, [1; 10]), Kind::ClientMetadata);
            let asked = Asked { tenant, kind, url, rules: rules.cloned() };
            check(&networks, &asked, address.parse().unwrap(), port)
        };
        let stranger = |address, port| checked(None, address, port);
        assert!(stranger("8.8.8.8", 443).is_ok() && stranger("10.1.2.3", 8_080).is_ok());
        assert!(matches!(stranger("8.8.8.8", 8_443), Err(FetchError::Port)));
        assert!(matches!(stranger("10.2.0.1", 443), Err(FetchError::Refused(_))));
        let admin = |address, port| checked(Some(&rules), address, port);
        assert!(admin("8.8.8.8", 8_443).is_ok() && admin("10.2.0.1", 8_443).is_ok());
        for (address, port) in [("10.2.0.1", 443), ("10.1.2.3", 443), ("169.254.169.254", 443)] {
            assert!(matches!(admin(address, port), Err(FetchError::Refused(_))), "{address}:{port}");
        }
    }
}
