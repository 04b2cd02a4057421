//! A stub's connection: mutual TLS to whichever control plane takes it, as behind one address for all of them.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use harness::member::Member;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
};
use seams::{Entropy, SystemEntropy};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};

/// As a proxy's own.
const CONNECT: Duration = Duration::from_secs(10);
const KEEPALIVE: Duration = Duration::from_secs(10);

/// A channel that connects when first used and again after it broke, each time to any of `targets`.
pub(crate) fn channel(member: &Member, targets: Vec<SocketAddr>) -> anyhow::Result<Channel> {
    let mut roots = RootCertStore::empty();
    roots.add(member.ca.clone())?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(member.key.serialize_der()));
    let mut config = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_root_certificates(roots)
        .with_client_auth_cert(member.chain.clone(), key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (config, targets) = (Arc::new(config), Arc::new(targets));
    let endpoint = Endpoint::from_static("http://control.portcullis.internal")
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true);
    Ok(endpoint.connect_with_connector_lazy(tower::service_fn(move |_: http::Uri| {
        let (config, targets) = (config.clone(), targets.clone());
        async move { connect(config, &targets).await.map(TokioIo::new) }
    })))
}

/// One that refuses is passed over, as a load balancer does.
async fn connect(config: Arc<ClientConfig>, targets: &[SocketAddr]) -> io::Result<TlsStream<TcpStream>> {
    let entropy: &dyn Entropy = &SystemEntropy;
    let first = usize::from(u16::from_le_bytes(entropy.bytes()));
    let mut refused = io::Error::other("there is no control plane");
    for at in 0..targets.len() {
        let Some(target) = targets.get((first + at) % targets.len()) else { continue };
        match TcpStream::connect(target).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                let name = ServerName::try_from(wire::CONTROL_NAME).map_err(io::Error::other)?;
                return TlsConnector::from(config).connect(name, stream).await;
            }
            Err(error) => refused = error,
        }
    }
    Err(refused)
}
