//! Looks in the database by whoever waits there for news: however many wait, the connections that serve proxies and operators are
//! not all theirs, and who waits for one kind of news does not hold up who waits for another.

use std::{future::Future, time::Duration};

use tokio::sync::Semaphore;

use crate::db::StoreError;

/// Looks of one kind that run at once at a replica.
const AT_ONCE: usize = 2;
/// How long a look waits for its turn, and lasts.
const PATIENCE: Duration = Duration::from_secs(5);

/// Turns of one kind.
#[derive(Debug)]
pub struct Turns(Semaphore);

impl Default for Turns {
    fn default() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }
}

/// Turns of each kind.
#[derive(Debug, Default)]
pub struct Looks {
    /// Writes that wait until proxies have applied them.
    pub writes: Turns,
    /// Kills that wait until proxies have acknowledged them.
    pub kills: Turns,
    /// Open watches.
    pub watches: Turns,
}

#[derive(Debug, thiserror::Error)]
#[error("a look did not get its turn")]
struct TooMany;

impl Turns {
    /// What `look` finds, in turn.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it does not get its turn, or does not end.
    pub async fn take<T>(&self, look: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        // Boxed: it is moved through three futures otherwise, and counted three times.
        self.within(PATIENCE, Box::pin(look)).await
    }

    async fn within<T>(
        &self,
        patience: Duration,
        look: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let looking = async {
            let turn = self.0.acquire().await;
            debug_assert!(turn.is_ok(), "it is never closed");
            look.await
        };
        let looked = tokio::time::timeout(patience, looking).await;
        looked.unwrap_or_else(|_| Err(StoreError::Unavailable(Box::new(TooMany))))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn looks_wait_for_those_of_their_kind_and_not_for_ever() {
        let looks = Looks::default();
        let mut stuck: Vec<_> = (0..AT_ONCE)
            .map(|_| Box::pin(looks.watches.take(std::future::pending::<Result<(), StoreError>>())))
            .collect();
        assert!(stuck.iter_mut().all(|look| look.as_mut().now_or_never().is_none()));
        assert!(matches!(looks.kills.take(async { Ok(7) }).now_or_never(), Some(Ok(7))), "another kind");
        let short = Duration::from_millis(1);
        let late = looks.watches.within(short, async { Ok(()) }).await;
        assert!(matches!(late, Err(StoreError::Unavailable(_))), "{late:?}");
        stuck.pop();
        assert!(looks.watches.take(async { Ok(()) }).await.is_ok());
        let endless = looks.watches.within(short, std::future::pending::<Result<(), StoreError>>()).await;
        assert!(matches!(endless, Err(StoreError::Unavailable(_))), "{endless:?}");
    }
}
