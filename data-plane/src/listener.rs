//! The gateway's sockets: one for each worker, all on the same address (SO_REUSEPORT), so that the kernel spreads
//! connections and no worker waits for another.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections the kernel holds for a worker that has not accepted them yet.
const BACKLOG: i32 = 4096;

/// Sockets that listen on one address.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) address: SocketAddr,
    pub(crate) listeners: Vec<TcpListener>,
}

impl Sockets {
    /// Connections on them end when the other end takes nothing of what is sent to it for so long, be it gone or only deaf.
    /// The kernel sees to it (Linux tcp(7), `TCP_USER_TIMEOUT`, which accepted sockets have from the listening one), so
    /// that it costs neither a timer nor a look for any answer.
    #[cfg(target_os = "linux")]
    pub(crate) fn give_up_unread(&self, after: Duration) -> io::Result<()> {
        let give_up = |socket| socket2::SockRef::from(socket).set_tcp_user_timeout(Some(after));
        self.listeners.iter().try_for_each(give_up)
    }

    /// Other systems give up when they will.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn give_up_unread(&self, _after: Duration) -> io::Result<()> {
        Ok(())
    }
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
}
