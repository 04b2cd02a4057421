//! What keeps the connection: connects, looks after it, connects again.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use redis::{AsyncConnectionConfig, ErrorKind, RedisError, RedisResult, aio::MultiplexedConnection};
use seams::Entropy;
use telemetry::metric;

use crate::{address::Address, link::Link};

/// For TCP, TLS and the password together.
const CONNECT: Duration = Duration::from_secs(2);
/// Between two looks at a connection that is well,
const LOOK: Duration = Duration::from_millis(500);
/// and at one that is not.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// A connection that has been silent for so many looks is given up.
const SILENT_LOOKS: u32 = 20;
/// Waits between attempts to connect are uniform between nothing and a bound that doubles from the first to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Runs for as long as the link is to be kept.
#[derive(Debug)]
pub struct Keeper {
    link: Link,
    address: Address,
    entropy: Arc<dyn Entropy>,
}

/// Why a connection was given up.
enum Ended {
    Silent,
    Broken(RedisError),
    Replica,
}

impl Keeper {
    pub(crate) fn new(link: Link, address: Address, entropy: Arc<dyn Entropy>) -> Self {
        Self { link, address, entropy }
    }

    /// Connects and looks after the connection, until dropped. Logs once when Redis goes and once when it comes.
    pub async fn run(self) {
        let gauge = metrics::gauge!(metric::REDIS_UP);
        gauge.set(0.0);
        let place = self.address.place();
        let mut complained = false;
        let mut failures = 0;
        loop {
            match self.connect().await {
                Ok(connection) => {
                    failures = 0;
                    complained = false;
                    let ended = self.look_after(connection, &gauge).await;
                    self.set_up(false, &gauge);
                    self.link.inner.connection.store(None);
                    match ended {
                        Ended::Silent => {
                            tracing::warn!(redis = place, "connection to Redis given up: silent")
                        }
                        Ended::Replica => {
                            tracing::warn!(redis = place, "Redis takes no writes; connects again")
                        }
                        Ended::Broken(error) => {
                            tracing::warn!(redis = place, error.cause = %error, "connection to Redis broke");
                        }
                    }
                }
                Err(error) if !complained => {
                    complained = true;
                    tracing::warn!(redis = place, error.cause = %error, "Redis cannot be reached");
                }
                Err(_) => {}
            }
            tokio::time::sleep(self.wait(failures)).await;
            failures = failures.saturating_add(1);
        }
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        // Late answers are judged by who asked: the connection itself waits on, or answers would be mistaken.
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(None);
        let connecting =
            async { self.address.client()?.get_multiplexed_async_connection_with_config(&config).await };
        // The password's turn is not covered by the time for connecting.
        tokio::time::timeout(CONNECT, connecting)
            .await
            .unwrap_or_else(|_| Err(RedisError::from((ErrorKind::Io, "no answer in time"))))
    }

    async fn look_after(&self, connection: MultiplexedConnection, gauge: &metrics::Gauge) -> Ended {
        let inner = &self.link.inner;
        inner.stale.store(false, Ordering::Release);
        inner.connection.store(Some(Arc::new(connection.clone())));
        let mut silent = 0;
        loop {
            match self.look(connection.clone()).await {
                Some(Ok(())) => {
                    silent = 0;
                    self.set_up(true, gauge);
                }
                Some(Err(error)) => return Ended::Broken(error),
                None => {
                    silent += 1;
                    self.set_up(false, gauge);
                    if silent >= SILENT_LOOKS {
                        return Ended::Silent;
                    }
                }
            }
            let pause = if silent == 0 { LOOK } else { LOOK_AGAIN };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = inner.trouble.notified() => {
                    gauge.set(0.0);
                    if inner.stale.load(Ordering::Acquire) {
                        return Ended::Replica;
                    }
                }
            }
        }
    }

    /// `None`: no answer in time.
    async fn look(&self, mut connection: MultiplexedConnection) -> Option<RedisResult<()>> {
        let ping = redis::cmd("PING");
        tokio::time::timeout(self.address.budget(), ping.query_async(&mut connection)).await.ok()
    }

    fn set_up(&self, up: bool, gauge: &metrics::Gauge) {
        if self.link.is_up() != up {
            tracing::info!(redis = self.address.place(), up, "Redis changed state");
        }
        gauge.set(if up { 1.0 } else { 0.0 });
        self.link.set_up(up);
    }

    fn wait(&self, failures: u32) -> Duration {
        let most = FIRST_WAIT.saturating_mul(1 << failures.min(10)).min(LONGEST_WAIT);
        let random = u64::from_le_bytes(self.entropy.bytes());
        Duration::from_nanos(random % (u64::try_from(most.as_nanos()).unwrap_or(u64::MAX - 1) + 1))
    }
}
