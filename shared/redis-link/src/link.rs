//! The shared end of the connection.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult};
use seams::Entropy;
use tokio::sync::{Notify, watch};

use crate::{
    address::{Address, Kind},
    connection::Connection,
    keeper::Keeper,
    slots::{Slot, Slots},
};

/// An answer that takes longer does not count (reliability.md §2), unless the address says otherwise.
pub const BUDGET: Duration = Duration::from_millis(20);

/// Errors of a server that is of no use although it answers.
const OF_NO_USE: [&str; 4] = ["READONLY", "MASTERDOWN", "NOAUTH", "CLUSTERDOWN"];

/// The way to Redis. Clones share one connection, which lives on the runtime that runs the [`Keeper`]; calls may come from
/// any runtime that has a timer.
#[derive(Clone)]
pub struct Link {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) connection: ArcSwapOption<Connection>,
    pub(crate) up: watch::Sender<bool>,
    /// The same for who asks with every call.
    is_up: AtomicBool,
    /// Somebody's call failed: the keeper looks at once.
    pub(crate) trouble: Notify,
    /// The connection is of no use although it answers, as one to a server that has become a replica.
    pub(crate) stale: AtomicBool,
    /// Of a cluster.
    pub(crate) slots: Option<Slots>,
    budget: Duration,
}

/// What belongs together in a cluster: keys with the same text in braces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place(Option<Slot>);

/// Why there is no answer that counts.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Redis is known to be away; nothing was sent.
    #[error("Redis is away")]
    Away,
    /// No answer within the budget. The command may still be carried out.
    #[error("Redis did not answer in time")]
    Late,
    /// The connection failed, or Redis answered with an error.
    #[error("Redis call failed")]
    Failed(#[source] RedisError),
}

impl Link {
    /// A link that is down until its keeper runs.
    #[must_use]
    pub fn new(address: Address, entropy: Arc<dyn Entropy>) -> (Self, Keeper) {
        let inner = Arc::new(Inner {
            connection: ArcSwapOption::empty(),
            up: watch::Sender::new(false),
            is_up: AtomicBool::new(false),
            trouble: Notify::new(),
            stale: AtomicBool::new(false),
            slots: matches!(address.kind, Kind::Cluster(_)).then(Slots::default),
            budget: address.budget(),
        });
        let link = Self { inner };
        (link.clone(), Keeper::new(link, address, entropy))
    }

    /// Whether calls are answered.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.inner.is_up.load(Ordering::Acquire)
    }

    /// Changes with [`Self::is_up`].
    #[must_use]
    pub fn state(&self) -> watch::Receiver<bool> {
        self.inner.up.subscribe()
    }

    /// Where a key is. Costs nothing where there is no cluster.
    pub(crate) fn place(&self, key: impl fmt::Display) -> Place {
        Place(self.inner.slots.as_ref().map(|_| Slot::for_key(key.to_string())))
    }

    /// Whether calls about what is there are answered.
    pub(crate) fn is_up_at(&self, Place(slot): Place) -> bool {
        let away = |slot| self.inner.slots.as_ref().is_some_and(|slots| slots.is_away(slot));
        self.is_up() && !slot.is_some_and(away)
    }

    /// Sends one command.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, CallError> {
        self.with(async |mut connection| command.query_async(&mut connection).await).await
    }

    /// Does `ask` with the connection, within [`BUDGET`] altogether.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn with<T, F>(&self, ask: impl FnOnce(Connection) -> F) -> Result<T, CallError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        self.with_at(Place(None), ask).await
    }

    /// The same about what is at `place`.
    pub(crate) async fn with_at<T, F>(
        &self,
        place: Place,
        ask: impl FnOnce(Connection) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        if !self.is_up_at(place) {
            return Err(CallError::Away);
        }
        let Some(connection) = self.inner.connection.load_full() else { return Err(CallError::Away) };
        match tokio::time::timeout(self.inner.budget, ask(Connection::clone(&connection))).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                self.failed(&error, place);
                Err(CallError::Failed(error))
            }
            Err(_late) => {
                self.went_down(place);
                Err(CallError::Late)
            }
        }
    }

    fn failed(&self, error: &RedisError, place: Place) {
        let answered = matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension);
        let of_no_use = error.code().is_some_and(|code| OF_NO_USE.contains(&code));
        if of_no_use && self.inner.slots.is_none() {
            self.inner.stale.store(true, Ordering::Release);
        }
        if of_no_use || !answered {
            self.went_down(place);
        }
    }

    /// From here on, calls are answered at once with [`CallError::Away`], until the keeper has found Redis well.
    fn went_down(&self, Place(slot): Place) {
        match (&self.inner.slots, slot) {
            (Some(slots), Some(slot)) => slots.set_away(slot),
            // Of a cluster this says only that some node is not well.
            (Some(_), None) => {}
            (None, _) => self.set_up(false),
        }
        self.inner.trouble.notify_one();
    }

    pub(crate) fn set_up(&self, up: bool) {
        self.inner.is_up.store(up, Ordering::Release);
        self.inner.up.send_if_modified(|now| std::mem::replace(now, up) != up);
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("up", &self.is_up()).finish_non_exhaustive()
    }
}
