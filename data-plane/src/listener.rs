//! The gateway's sockets: one for each worker, all on the same address (SO_REUSEPORT), so that the kernel spreads
//! connections and no worker waits for another. And the TLS that may lie on them.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use rustls::{ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use secrecy::ExposeSecret;
use socket2::{Domain, Protocol, Socket, Type};
use tokio_rustls::TlsAcceptor;

use crate::config::Tls;

/// Connections the kernel holds for a worker that has not accepted them yet.
const BACKLOG: i32 = 4096;

/// Sockets that listen on one address.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) address: SocketAddr,
    pub(crate) listeners: Vec<TcpListener>,
}

/// Binds one socket for each worker. With port 0 the first takes a free port and the others join it.
///
/// Sharing is for our own sockets alone: a port on which another process listens is taken, though the kernel would let
/// the same user's processes share it, and so hand calls to whichever it likes.
pub(crate) fn bind(address: SocketAddr, workers: usize) -> io::Result<Sockets> {
    if address.port() != 0 {
        drop(bind_alone(address)?);
    }
    let first = bind_one(address, true)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..workers {
        listeners.push(bind_one(address, true)?);
    }
    Ok(Sockets { address, listeners })
}

/// Binds one socket that nothing joins.
pub(crate) fn bind_alone(address: SocketAddr) -> io::Result<TcpListener> {
    bind_one(address, false)
}

fn bind_one(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Why the gateway's certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The PEM does not hold what it should.
    #[error("certificate chain or private key is not PEM")]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// The PEM holds no certificate.
    #[error("certificate chain is empty")]
    NoCertificate,
    /// Key and certificate do not belong together, or are of a kind that is not supported.
    #[error("certificate and key are not usable")]
    Unusable(#[from] rustls::Error),
}

/// The server side of TLS: 1.3, with 1.2 as the floor; HTTP/2 and HTTP/1.1 by ALPN.
pub(crate) fn acceptor(tls: &Tls) -> Result<TlsAcceptor, TlsError> {
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(&tls.certificate_chain_pem).collect::<Result<_, _>>()?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(tls.private_key_pem.expose_secret().as_bytes())?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worker_listens_on_the_same_free_port() {
        let sockets = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        assert_ne!(sockets.address.port(), 0);
        for listener in &sockets.listeners {
            assert_eq!(listener.local_addr().unwrap(), sockets.address);
        }
    }

    #[test]
    fn a_port_another_proxy_listens_on_is_taken() {
        let sockets = bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let error = bind(sockets.address, 2).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(sockets.listeners);
        assert!(bind(sockets.address, 2).is_ok());
    }

    #[test]
    fn a_certificate_that_is_none_is_refused() {
        let tls = |chain: &str| Tls {
            certificate_chain_pem: chain.as_bytes().to_vec(),
            private_key_pem: secrecy::SecretString::from("no key"),
        };
        assert!(matches!(acceptor(&tls("")), Err(TlsError::NoCertificate)));
        let certified = rcgen::generate_simple_self_signed(["gw.example.com".to_owned()]).unwrap();
        assert!(matches!(acceptor(&tls(&certified.cert.pem())), Err(TlsError::Pem(_))));
        let usable = Tls {
            certificate_chain_pem: certified.cert.pem().into_bytes(),
            private_key_pem: certified.signing_key.serialize_pem().into(),
        };
        assert!(acceptor(&usable).is_ok());
    }
}
