//! A Redis of a test's own, to be stopped, paused and emptied.

use std::{net::TcpListener, sync::Arc};

use portcullis_cli::private::{ProcessId, redis};
use redis_link::{Address, Keeper, Link};
use rustix::process::Signal;
use seams::SystemEntropy;

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
