//! Which revision of which tenant is current, kept by every replica for the proxies connected to it.
//!
//! A poll each second is the truth; a notification only brings the next poll forward, so its loss costs latency and
//! nothing else.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ids::{PoolId, ProxyId, TenantId};
use parking_lot::Mutex;
use seams::Monotonic;
use tokio::sync::{Notify, broadcast, watch};
use wire::{global::SCOPE, stream::Version};

use crate::{app::Core, db::StoreError, fleet, global::Aims};

/// Between polls, ±20 %.
const POLL: Duration = Duration::from_secs(1);
/// Between attempts to listen for notifications.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);
/// A poll that takes longer has failed: a connection may hang for ever.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a notification, so that those of one burst bring one poll.
const SETTLE: Duration = Duration::from_millis(5);
/// Changes a subscriber may lag behind before it is given the whole list again.
const BACKLOG: usize = 1_024;

/// One tenant's news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// New, or has a new revision.
    Current(TenantId, Version),
    /// Deleted, or moved to another pool.
    Vanished(TenantId),
}

/// What a subscriber is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Everything, replacing what was said before.
    Whole(Vec<(TenantId, Version)>),
    /// One change.
    One(Change),
    /// Live proxies of the pool, at least the one that asks.
    Live(u32),
}

#[derive(Debug, Default)]
struct State {
    current: HashMap<TenantId, (PoolId, Version)>,
    pools: HashMap<PoolId, broadcast::Sender<Change>>,
}

/// This replica's knowledge of current revisions.
#[derive(Debug)]
pub struct Hub {
    core: Core,
    state: Mutex<State>,
    live: watch::Sender<HashMap<PoolId, u32>>,
    aims: watch::Sender<Aims>,
    /// When what is current was last read.
    read_at: Mutex<Monotonic>,
    woken: Notify,
}

impl Hub {
    /// Reads what there is and starts polling.
    ///
    /// # Errors
    /// [`StoreError`] if the first reading fails.
    pub async fn start(core: Core) -> Result<Arc<Self>, StoreError> {
        let (state, live) = (Mutex::default(), watch::Sender::default());
        let aims = watch::Sender::default();
        let read_at = Mutex::new(core.clock.monotonic());
        let hub = Arc::new(Self { core, state, live, aims, read_at, woken: Notify::new() });
        hub.poll().await?;
        if hub.core.config.notified {
            hub.core.tasks.spawn("revision listener", hub.clone().listen());
        }
        hub.core.tasks.spawn("revision hub", hub.clone().run());
        Ok(hub)
    }

    /// What `proxy`, which is of `pool`, is to enforce: at first all of it, then each change. What is not a tenant's is told as
    /// that of [`SCOPE`].
    #[must_use]
    pub fn subscribe(self: &Arc<Self>, pool: PoolId, proxy: ProxyId) -> Subscription {
        let (changes, whole) = self.snapshot_of(pool);
        let mut live = self.live.subscribe();
        live.mark_changed();
        let global = Global { aims: self.aims.subscribe(), proxy, told: None };
        Subscription { hub: self.clone(), pool, changes, live, told_live: 0, whole: Some(whole), global }
    }

    /// What every proxy is to enforce of the fleet's configuration.
    #[must_use]
    pub fn aims(&self) -> watch::Receiver<Aims> {
        self.aims.subscribe()
    }

    /// Counts polls: what else waits in the database is looked for at the same moments.
    #[must_use]
    pub fn polls(&self) -> watch::Receiver<u64> {
        self.core.polls.subscribe()
    }

    fn snapshot_of(&self, pool: PoolId) -> (broadcast::Receiver<Change>, Vec<(TenantId, Version)>) {
        let mut state = self.state.lock();
        let sender = state.pools.entry(pool).or_insert_with(|| broadcast::Sender::new(BACKLOG));
        let changes = sender.subscribe();
        let whole = state.current.iter().filter(|(_, (at, _))| *at == pool);
        (changes, whole.map(|(tenant, (_, version))| (*tenant, *version)).collect())
    }

    async fn run(self: Arc<Self>) {
        let stopping = self.core.tasks.stopping();
        let mut healthy = true;
        loop {
            let turn = async {
                tokio::select! {
                    () = tokio::time::sleep(self.pause()) => {}
                    () = self.woken.notified() => tokio::time::sleep(SETTLE).await,
                }
                tokio::time::timeout(PATIENCE, self.poll())
                    .await
                    .unwrap_or_else(|_| Err(StoreError::Unavailable("no answer to a poll".into())))
            };
            let polled = tokio::select! {
                () = stopping.cancelled() => return,
                polled = turn => polled,
            };
            match polled {
                Ok(()) if !healthy => {
                    healthy = true;
                    tracing::info!("revisions are being read again");
                }
                Err(error) if healthy => {
                    healthy = false;
                    tracing::warn!(error.cause = %error, "revisions cannot be read; proxies keep what they have");
                }
                Ok(()) | Err(_) => {}
            }
        }
    }

    /// Beside polling, not before it: where nobody can listen, such as behind a pooler or with no connection to spare,
    /// trying must not hold up the poll.
    async fn listen(self: Arc<Self>) {
        let stopping = self.core.tasks.stopping();
        let listening = async {
            loop {
                if let Ok(mut wakes) = self.core.store.wakes().await {
                    while wakes.next().await.is_ok() {
                        self.woken.notify_one();
                    }
                }
                tokio::time::sleep(LISTEN_AGAIN).await;
            }
        };
        tokio::select! {
            () = stopping.cancelled() => {}
            () = listening => {}
        }
    }

    /// [`POLL`] ±20 %, so that replicas do not poll in step.
    fn pause(&self) -> Duration {
        let spread = POLL.as_millis() as u64 * 2 / 5;
        let extra = u64::from_le_bytes(self.core.entropy.bytes()) % (spread + 1);
        POLL * 4 / 5 + Duration::from_millis(extra)
    }

    /// How long ago that was. While the database does not answer, what this replica says of it grows old.
    #[must_use]
    pub fn unread(&self) -> Duration {
        self.core.clock.monotonic().since(*self.read_at.lock())
    }

    async fn poll(&self) -> Result<(), StoreError> {
        let started = self.core.clock.monotonic();
        let read = fleet::survey(&self.core.store, self.core.clock.now()).await?;
        self.live.send_if_modified(|known| {
            let changed = *known != read.live;
            *known = read.live;
            changed
        });
        self.aims.send_if_modified(|known| {
            let changed = *known != read.aims;
            *known = read.aims;
            changed
        });
        self.take(read.revisions);
        *self.read_at.lock() = started;
        self.core.polls.send_modify(|count| *count += 1);
        Ok(())
    }

    fn take(&self, read: Vec<(TenantId, PoolId, Version)>) {
        let mut state = self.state.lock();
        let read: HashMap<_, _> =
            read.into_iter().map(|(tenant, pool, version)| (tenant, (pool, version))).collect();
        let before = std::mem::take(&mut state.current);
        let tell = |pool: &PoolId, change| {
            if let Some(sender) = state.pools.get(pool) {
                // Nobody listening is no error.
                let _unheard = sender.send(change);
            }
        };
        for (tenant, (pool, _)) in &before {
            if read.get(tenant).is_none_or(|(now, _)| now != pool) {
                tell(pool, Change::Vanished(*tenant));
            }
        }
        for (tenant, (pool, version)) in &read {
            if before.get(tenant) != Some(&(*pool, *version)) {
                tell(pool, Change::Current(*tenant, *version));
            }
        }
        state.current = read;
    }
}

/// One stream's view of a pool.
#[derive(Debug)]
pub struct Subscription {
    hub: Arc<Hub>,
    pool: PoolId,
    changes: broadcast::Receiver<Change>,
    live: watch::Receiver<HashMap<PoolId, u32>>,
    told_live: u32,
    whole: Option<Vec<(TenantId, Version)>>,
    global: Global,
}

/// What one proxy is to enforce of the fleet's configuration.
#[derive(Debug)]
struct Global {
    aims: watch::Receiver<Aims>,
    proxy: ProxyId,
    told: Option<Version>,
}

impl Global {
    fn current(&mut self) -> Option<Version> {
        self.told = self.aims.borrow_and_update().of(self.proxy);
        self.told
    }

    /// What changed for this proxy.
    async fn changed(&mut self) -> Change {
        loop {
            // It ends with the hub, which the subscription keeps.
            if self.aims.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            let before = self.told;
            match self.current() {
                now if now == before => {}
                Some(version) => return Change::Current(SCOPE, version),
                None => return Change::Vanished(SCOPE),
            }
        }
    }
}

impl Subscription {
    /// The next news: how many proxies live, then everything, then each change. Dropping the future loses nothing.
    pub async fn next(&mut self) -> News {
        loop {
            tokio::select! {
                biased;
                // It ends with the hub, which this keeps.
                Ok(()) = self.live.changed() => {
                    // Its own lease is perhaps not written yet.
                    let live = self.live.borrow_and_update().get(&self.pool).copied().unwrap_or(0).max(1);
                    if std::mem::replace(&mut self.told_live, live) != live {
                        return News::Live(live);
                    }
                }
                change = self.global.changed(), if self.whole.is_none() => return News::One(change),
                news = changed(&mut self.changes, &mut self.whole) => match news {
                    Some(News::Whole(mut whole)) => {
                        whole.extend(self.global.current().map(|version| (SCOPE, version)));
                        return News::Whole(whole);
                    }
                    Some(news) => return news,
                    // Too far behind: begin again.
                    None => {
                        let (changes, whole) = self.hub.snapshot_of(self.pool);
                        (self.changes, self.whole) = (changes, Some(whole));
                    }
                },
            }
        }
    }
}

/// `None` when changes were missed.
async fn changed(
    changes: &mut broadcast::Receiver<Change>,
    whole: &mut Option<Vec<(TenantId, Version)>>,
) -> Option<News> {
    match whole.take() {
        Some(whole) => Some(News::Whole(whole)),
        None => changes.recv().await.ok().map(News::One),
    }
}
