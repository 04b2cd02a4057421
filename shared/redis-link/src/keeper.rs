//! What keeps the connection: connects, looks after it, connects again.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use redis::{RedisError, RedisResult};
use seams::Entropy;
use telemetry::metric;
use tokio::task::JoinSet;

use crate::{address::Address, connection::Connection, link::Link, slots::Slot};

/// Between two looks at a connection that is well,
const LOOK: Duration = Duration::from_millis(500);
/// and at one that is not.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// A connection that has been silent for so many looks is given up.
const SILENT_LOOKS: u32 = 20;
/// A cluster of which no node was found well for so many looks is down; at each look another one is asked.
const CLUSTER_LOOKS: u32 = 3;
/// Slots that are away and are looked at together.
const SLOTS_AT_ONCE: usize = 256;
/// Between two questions whether the sentinels have made another server the master, while this one answers.
const ASK_SENTINELS: Duration = Duration::from_secs(2);
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
    Replaced,
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
            match Connection::open(&self.address).await {
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
                        Ended::Replaced => {
                            tracing::warn!(redis = place, "Redis has another master; connects to it");
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

    async fn look_after(&self, connection: Connection, gauge: &metrics::Gauge) -> Ended {
        tokio::select! {
            ended = self.look_again_and_again(connection, gauge) => ended,
            () = self.until_replaced() => Ended::Replaced,
        }
    }

    async fn look_again_and_again(&self, connection: Connection, gauge: &metrics::Gauge) -> Ended {
        let inner = &self.link.inner;
        inner.stale.store(false, Ordering::Release);
        inner.connection.store(Some(Arc::new(connection.clone())));
        let bearable = if inner.slots.is_some() { CLUSTER_LOOKS } else { 1 };
        let mut silent = 0;
        loop {
            match self.look(connection.clone(), None).await {
                Some(Ok(())) => {
                    silent = 0;
                    self.look_at_slots(&connection).await;
                    self.set_up(true, gauge);
                }
                Some(Err(error)) if inner.slots.is_none() => return Ended::Broken(error),
                Some(Err(_)) | None => {
                    silent += 1;
                    if silent >= bearable {
                        self.set_up(false, gauge);
                    }
                    if silent >= SILENT_LOOKS {
                        return Ended::Silent;
                    }
                }
            }
            let away = inner.slots.as_ref().is_some_and(|slots| !slots.away(1).is_empty());
            let pause = if silent == 0 && !away { LOOK } else { LOOK_AGAIN };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = inner.trouble.notified() => {
                    gauge.set(if self.link.is_up() { 1.0 } else { 0.0 });
                    if inner.stale.load(Ordering::Acquire) {
                        return Ended::Replica;
                    }
                    // One report after the other must not make this a busy loop.
                    if inner.slots.is_some() {
                        tokio::time::sleep(LOOK_AGAIN).await;
                    }
                }
            }
        }
    }

    /// `None`: no answer in time.
    async fn look(&self, mut connection: Connection, slot: Option<Slot>) -> Option<RedisResult<()>> {
        tokio::time::timeout(self.address.budget(), connection.ping(slot)).await.ok()
    }

    /// Finds out which slots of a cluster are back.
    async fn look_at_slots(&self, connection: &Connection) {
        let Some(slots) = &self.link.inner.slots else { return };
        let mut looks = JoinSet::new();
        for slot in slots.away(SLOTS_AT_ONCE) {
            let (mut connection, budget) = (connection.clone(), self.address.budget());
            looks.spawn(async move {
                let look = tokio::time::timeout(budget, connection.ping(Some(slot))).await;
                (slot, matches!(look, Ok(Ok(()))))
            });
        }
        while let Some(look) = looks.join_next().await {
            if let Ok((slot, true)) = look {
                slots.is_back(slot);
            }
        }
    }

    /// Ends when sentinels name another master than at first; never without sentinels.
    async fn until_replaced(&self) {
        let mut first = None;
        loop {
            let master = Connection::master(&self.address).await;
            if first.is_some() && master.is_some() && first != master {
                return;
            }
            first = first.or(master);
            tokio::time::sleep(ASK_SENTINELS).await;
        }
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
