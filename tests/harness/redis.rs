//! A Redis of a test's own, to be stopped, paused and emptied.

use std::{net::TcpListener, sync::Arc, time::Duration};

use portcullis_cli::private::{ProcessId, redis};
use redis_link::{Address, Keeper, Link};
use rustix::process::Signal;
use seams::SystemEntropy;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// A private Redis. Ends with this value.
#[derive(Debug)]
pub struct Redis {
    dir: tempfile::TempDir,
    port: u16,
    server: redis::Server,
}

impl Redis {
    /// Starts one.
    #[must_use]
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let server = run(&dir, port);
        Self { dir, port, server }
    }

    /// How to reach it.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// On which port it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lets it stand still.
    pub fn pause(&self) {
        self.process().signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.process().signal(Signal::CONT);
    }

    /// Ends it; its data is lost.
    pub fn stop(&self) {
        self.server.stop();
    }

    /// Starts it again after [`Self::stop`], empty, on the same port and with the same password.
    pub fn start_again(&mut self) {
        self.server = run(&self.dir, self.port);
    }

    fn process(&self) -> ProcessId {
        self.server.process()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.go_on();
        self.server.stop();
    }
}

fn run(dir: &tempfile::TempDir, port: u16) -> redis::Server {
    redis::Server::start(&dir.path().join("redis"), port, &dir.path().join("password"), &SystemEntropy)
        .unwrap()
}

/// A link to a Redis, and what keeps it.
#[must_use]
pub fn link(url: &str) -> (Link, Keeper) {
    Link::new(Address::parse(url.into(), None).unwrap(), Arc::new(SystemEntropy))
}

/// The same with all the time that a busy machine needs, where a late answer is not what the test is about.
#[must_use]
pub fn patient_link(url: &str) -> (Link, Keeper) {
    Link::new(patient_address(url), Arc::new(SystemEntropy))
}

/// The address of [`patient_link`].
#[must_use]
pub fn patient_address(url: &str) -> Address {
    Address::parse(url.into(), None).unwrap().with_budget(Duration::from_secs(10))
}

/// A way to Redis that can be cut: what is sent neither arrives nor is refused.
#[derive(Debug)]
pub struct Partition {
    port: u16,
    cut: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<()>,
}

impl Partition {
    /// Leads to a port of this machine.
    pub async fn start(to: u16) -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = watch::Sender::new(false);
        let state = cut.subscribe();
        let serving = tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                let state = state.clone();
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
                    let ((from_caller, to_caller), (from_server, to_server)) =
                        (caller.into_split(), server.into_split());
                    tokio::select! {
                        () = carry(from_caller, to_server, state.clone()) => {}
                        () = carry(from_server, to_caller, state) => {}
                    }
                });
            }
        });
        Self { port, cut, serving }
    }

    /// On which port it begins.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on nothing arrives.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// What was held back arrives, and so does everything after it.
    pub fn heal(&self) {
        self.cut.send_replace(false);
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut cut: watch::Receiver<bool>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if cut.wait_for(|cut| !*cut).await.is_err() || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
