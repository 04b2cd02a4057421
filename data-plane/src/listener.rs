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
        // Only bound: were it to listen, callers who come back at this very moment would be accepted, and reset.
        drop(bound(address, false)?);
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
    let socket = bound(address, shared)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bound(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// From now on the kernel drops what would open a new connection, and still completes those that are being opened.
///
/// Closing a listening socket resets connections that the kernel has answered but nobody has accepted: their callers
/// have sent a request and lose it. After this, no more of them come; when the rest are accepted, the socket can be
/// closed. A caller that is dropped tries again within a second (RFC 6298 section 2) and then is refused, which loses
/// nothing.
#[cfg(target_os = "linux")]
pub(crate) fn refuse_new(listener: &tokio::net::TcpListener) -> io::Result<()> {
    use socket2::{SockFilter, SockRef};
    // Classic BPF over the TCP header (RFC 9293 section 3.1). Byte 13 holds the flags; 0x02 is SYN, 0x10 is ACK: a
    // segment with SYN alone is dropped, every other one is kept.
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    SockRef::from(listener).attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, 13),
        SockFilter::new(AND, 0, 0, 0x12),
        SockFilter::new(JUMP_EQUAL, 0, 1, 0x02),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ])
}

/// Other systems offer no way to: a connection that comes in the instant of closing is reset.
#[cfg(not(target_os = "linux"))]
pub(crate) fn refuse_new(_listener: &tokio::net::TcpListener) -> io::Result<()> {
    Ok(())
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

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn new_connections_are_dropped_and_those_that_wait_are_not() {
        use std::time::Duration;

        use tokio::net::{TcpListener, TcpStream};

        let sockets = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let listener = TcpListener::from_std(sockets.listeners.into_iter().next().unwrap()).unwrap();
        let waiting = TcpStream::connect(sockets.address).await.unwrap();
        refuse_new(&listener).unwrap();
        let late =
            tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(sockets.address)).await;
        assert!(late.is_err(), "nobody answers");
        let (accepted, from) = listener.accept().await.unwrap();
        assert_eq!(from, waiting.local_addr().unwrap());
        accepted.try_write(b"still here").unwrap();
        waiting.readable().await.unwrap();
        let mut read = [0; 16];
        assert_eq!(waiting.try_read(&mut read).unwrap(), 10);
        drop(listener);
        assert!(TcpStream::connect(sockets.address).await.is_err());
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
