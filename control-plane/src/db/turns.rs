//! Who waits for whom before it holds a connection: writes of one tenant for each other, proxies that come for each other.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use ids::TenantId;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::StoreError;

/// How long a write waits for those before it.
const PATIENCE: Duration = Duration::from_secs(15);

/// A tenant's row orders its writes, but who waits for a row holds a connection: waiting writes of one tenant would take
/// all there are from the others. So a write takes its turn first, and at most one of each tenant holds a connection of
/// this replica.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<TenantId, Weak<Semaphore>>>>);

/// Held until the transaction has ended.
pub(super) type Turn = OwnedSemaphorePermit;

#[derive(Debug, thiserror::Error)]
#[error("other writes of this tenant took too long")]
struct TooMany;

impl Turns {
    /// Waits for the tenant's turn.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when that takes too long.
    pub(super) async fn take(&self, tenant: TenantId) -> Result<Turn, StoreError> {
        let turn = tokio::time::timeout(PATIENCE, self.of(tenant).acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or_else(|| StoreError::Unavailable(Box::new(TooMany)))
    }

    fn of(&self, tenant: TenantId) -> Arc<Semaphore> {
        let mut tenants = self.0.lock();
        if let Some(turn) = tenants.get(&tenant).and_then(Weak::upgrade) {
            return turn;
        }
        // Nobody waits or writes: only tenants that are being written to are remembered.
        tenants.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(Semaphore::new(1));
        tenants.insert(tenant, Arc::downgrade(&turn));
        turn
    }
}

/// Proxies that wait to be looked up. More are told to come again, by a pause that grows.
const MOST_WAITING: usize = 1_024;
/// How long one waits for that. Whoever asked may be gone by then.
const WAITS: Duration = Duration::from_secs(5);

/// Proxies that come.
#[derive(Debug, Clone)]
pub(super) struct Admissions {
    turns: Arc<Semaphore>,
    room: Arc<Semaphore>,
    waits: Duration,
}

impl Admissions {
    pub(super) fn new(turns: usize) -> Self {
        let [turns, room] = [turns, MOST_WAITING].map(|most| Arc::new(Semaphore::new(most)));
        Self { turns, room, waits: WAITS }
    }

    /// Its turn; `None` when there is no room to wait for it, or it does not come.
    pub(super) async fn enter(&self) -> Option<Turn> {
        let _room = self.room.clone().try_acquire_owned().ok()?;
        tokio::time::timeout(self.waits, self.turns.clone().acquire_owned()).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_tenant_waits_for_itself_and_is_forgotten() {
        let turns = Turns::default();
        let [a, b] = [1, 2].map(|n| TenantId::from_parts(n, [0; 10]));
        let held = turns.take(a).await.unwrap();
        assert!(turns.take(a).now_or_never().is_none());
        assert!(turns.take(b).now_or_never().is_some());
        drop(held);
        assert!(turns.take(a).now_or_never().is_some());
        assert_eq!(turns.0.lock().len(), 1);
    }

    #[tokio::test]
    async fn proxies_that_come_wait_in_bounds() {
        let mut admissions = Admissions::new(1);
        let held = admissions.enter().await.unwrap();
        let mut waiting: Vec<_> = (0..MOST_WAITING).map(|_| Box::pin(admissions.enter())).collect();
        assert!(waiting.iter_mut().all(|each| each.as_mut().now_or_never().is_none()));
        assert!(admissions.enter().now_or_never().unwrap().is_none(), "there is no room");
        drop(held);
        assert!(waiting[0].as_mut().await.is_some());
        assert!(waiting.remove(1).await.is_some(), "in the order in which they came");
        drop(waiting);
        let held = admissions.enter().await.unwrap();
        admissions.waits = Duration::from_millis(1);
        assert!(admissions.enter().await.is_none(), "nor does one wait for ever");
        drop(held);
        assert!(admissions.enter().await.is_some());
    }
}
