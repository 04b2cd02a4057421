//! One upstream's connections, as one worker knows them.

use std::{net::SocketAddr, rc::Rc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2;
use seams::Monotonic;
use tokio::sync::oneshot;

use super::{
    super::{http1, origin::Origin},
    Kind,
    budget::Budget,
};

/// A connection with so many exchanges on it is reason for one to another address of the same name, this often at most.
const BUSY: usize = 16;
const WIDEN_AFTER: Duration = Duration::from_secs(1);

/// What is known of one upstream.
pub(super) struct Place {
    pub(super) fingerprint: [u8; 32],
    pub(super) origin: Rc<Origin>,
    pub(super) idle: Vec<Idle>,
    pub(super) shared: Vec<Shared>,
    pub(super) used: Monotonic,
    /// When it last got another connection for many exchanges beside one that was busy.
    pub(super) widened: Monotonic,
    /// For calls that are sent twice.
    pub(super) retries: Budget,
}

pub(super) struct Idle {
    pub(super) connection: Rc<http1::Connection>,
    pub(super) until: Monotonic,
}

/// A connection that carries many.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) sender: http2::SendRequest<Full<Bytes>>,
    pub(super) address: SocketAddr,
    pub(super) driver: Rc<Driver>,
}

/// Ends the task that drives a connection when dropped, and with it the connection, whatever is in flight.
pub(super) struct Driver(
    #[expect(dead_code, reason = "dropping it is what it is for")] pub(super) oneshot::Sender<()>,
);

impl Place {
    /// A connection that can be used: one for many exchanges, or the one used last, which is the least likely to be closed
    /// soon. What is found on the way and cannot be used any more is closed.
    pub(super) fn take(
        &mut self,
        now: Monotonic,
        rules: &egress::Rules,
        sticky: Option<SocketAddr>,
    ) -> Option<Kind> {
        let port = self.origin.port;
        // An address that an operator no longer allows is not used again.
        let permitted = |address: SocketAddr| rules.check(address.ip(), port).is_ok();
        let wanted = |address: SocketAddr| sticky.is_none_or(|sticky| sticky == address);
        if !self.shared.is_empty() {
            self.shared.retain(|shared| !shared.sender.is_closed() && permitted(shared.address));
            let fitting = self.shared.iter().filter(|shared| wanted(shared.address));
            if let Some(shared) = fitting.min_by_key(|shared| shared.load()) {
                let busy = sticky.is_none() && shared.load() >= BUSY;
                let shared = shared.clone();
                if busy && self.widens(now) {
                    return None;
                }
                return Some(Kind::Many(shared));
            }
        }
        for at in (0..self.idle.len()).rev() {
            let Idle { connection, until } = self.idle.get(at)?;
            let usable = now < *until && permitted(connection.address()) && connection.is_quiet();
            if !usable {
                self.idle.remove(at);
            } else if wanted(connection.address()) {
                return Some(Kind::One(self.idle.remove(at).connection));
            }
        }
        None
    }

    /// Whether another connection for many exchanges is made now, to an address that has none.
    fn widens(&mut self, now: Monotonic) -> bool {
        let widens =
            now.since(self.widened) >= WIDEN_AFTER && self.shared.len() < self.origin.addresses.count();
        if widens {
            self.widened = now;
        }
        widens
    }
}

impl Shared {
    /// Exchanges on it, roughly.
    fn load(&self) -> usize {
        Rc::strong_count(&self.driver)
    }
}
