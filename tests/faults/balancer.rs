//! One address before several servers: passes connections on, and one that is refused goes to the next.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::net::{TcpListener, TcpStream};

/// Passes connections at `port` on to these ports in turn; ends with the test's runtime.
pub(crate) async fn balance(port: u16, backends: Vec<u16>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    let turn = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((mut caller, _)) = listener.accept().await {
            let (backends, first) = (backends.clone(), turn.fetch_add(1, Ordering::Relaxed));
            tokio::spawn(async move {
                for at in 0..backends.len() {
                    let backend = backends[(first + at) % backends.len()];
                    if let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, backend)).await {
                        let _ended = tokio::io::copy_bidirectional(&mut caller, &mut server).await;
                        return;
                    }
                }
            });
        }
    });
}
