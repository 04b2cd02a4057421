//! Writes of one tenant follow each other, and wait for it here.

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

/// Held until the write ends.
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
}
