//! Connections by where they come from, and whether anything goes on in them: one address does not hold all places of a
//! listener, and nobody holds a place for nothing.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use http_body_util::BodyExt as _;
use parking_lot::Mutex;

/// Connections that one address, or one IPv6 network of 64 bits, has at a time.
const FROM_ONE: usize = 256;
/// A connection in which nothing went on for so long is ended. Longer than any request takes until its response begins.
const IDLE_TIME: Duration = Duration::from_secs(120);

/// Of one listener.
#[derive(Debug, Clone, Default)]
pub(super) struct Sources(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Source {
    sources: Sources,
    from: IpAddr,
}

impl Sources {
    /// `None` when there are as many from there as may be.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Source> {
        let from = network(address);
        let mut held = self.0.lock();
        let number = held.entry(from).or_default();
        if *number >= FROM_ONE {
            return None;
        }
        *number += 1;
        Some(Source { sources: self.clone(), from })
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let mut held = self.sources.0.lock();
        match held.get_mut(&self.from) {
            Some(number) if *number > 1 => *number -= 1,
            _ => drop(held.remove(&self.from)),
        }
    }
}

/// Whoever has one IPv6 address has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// What goes on in a connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    begun: AtomicU64,
    /// Responses under way.
    running: AtomicUsize,
}

struct Running(Arc<Activity>);

impl Activity {
    /// A request has come.
    pub(super) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// The response, which counts until its body has been sent.
    pub(super) fn answer(self: &Arc<Self>, response: http::Response<Body>) -> http::Response<Body> {
        self.running.fetch_add(1, Ordering::Relaxed);
        let running = Running(Arc::clone(self));
        response.map(|body| {
            Body::new(body.map_frame(move |frame| {
                let _held = &running;
                frame
            }))
        })
    }

    /// Waits until nothing has gone on for [`IDLE_TIME`].
    pub(super) async fn idle(&self) {
        loop {
            let before = self.begun.load(Ordering::Relaxed);
            tokio::time::sleep(IDLE_TIME).await;
            if self.running.load(Ordering::Relaxed) == 0 && self.begun.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_does_not_hold_every_place() {
        let sources = Sources::default();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        for (first, same, other) in [
            ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
            ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"),
        ] {
            let mut held: Vec<_> = (0..FROM_ONE).map(|_| sources.enter(address(first)).unwrap()).collect();
            assert!(sources.enter(address(same)).is_none());
            assert!(sources.enter(address(other)).is_some());
            held.pop();
            assert!(sources.enter(address(same)).is_some());
        }
        assert!(sources.0.lock().is_empty(), "nothing is kept of those that are gone");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_when_nothing_was_asked_and_nothing_is_answered() {
        let activity = Arc::new(Activity::default());
        let within = |time: u64| tokio::time::timeout(Duration::from_secs(time), activity.idle());
        activity.begin();
        let response = activity.answer(http::Response::new(Body::from("x")));
        assert!(within(1000).await.is_err(), "a response is under way");
        drop(response);
        let asking = async {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_secs(100)).await;
                activity.begin();
            }
            std::future::pending::<()>().await;
        };
        let begun = tokio::time::Instant::now();
        tokio::select! {
            () = activity.idle() => {}
            () = asking => {}
        }
        assert!(begun.elapsed() >= Duration::from_secs(600), "{:?}", begun.elapsed());
    }
}
