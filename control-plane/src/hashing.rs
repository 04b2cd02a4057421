//! argon2id, bounded: it takes 19 MiB and tens of milliseconds, on purpose, and whoever makes us compute it should not have all
//! of the machine.

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;

use crate::http::problem::ApiError;

/// Hashes computed at a time.
const AT_ONCE: usize = 2;
/// How long one waits for a turn.
const PATIENCE: Duration = Duration::from_secs(3);

/// Turns for hashing.
#[derive(Debug)]
pub struct Hashing(Arc<Semaphore>);

/// Why nothing was hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashingError {
    /// Too many wait.
    #[error("too many secrets are being hashed")]
    Crowded,
    /// It panicked.
    #[error("hashing ended unexpectedly")]
    Ended(#[source] tokio::task::JoinError),
}

impl HashingError {
    /// When to try again.
    pub const RETRY_AFTER: Duration = Duration::from_secs(1);
}

impl Default for Hashing {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Hashing {
    /// Runs `work` when it is its turn, off the threads that serve requests. The turn lasts as long as the work, also when whoever
    /// asked for it has gone.
    ///
    /// # Errors
    /// [`HashingError`].
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HashingError> {
        let waiting = tokio::time::timeout(PATIENCE, Arc::clone(&self.0).acquire_owned());
        // It is never closed; if it were, nothing could be hashed.
        let turn = waiting.await.map_err(|_| HashingError::Crowded)?.map_err(|_| HashingError::Crowded)?;
        let running = move || {
            let done = work();
            drop(turn);
            done
        };
        tokio::task::spawn_blocking(running).await.map_err(HashingError::Ended)
    }
}

impl From<HashingError> for ApiError {
    fn from(error: HashingError) -> Self {
        match error {
            HashingError::Crowded => Self::RateLimited { retry_after: HashingError::RETRY_AFTER },
            error @ HashingError::Ended(_) => Self::internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_more_is_hashed_at_once_than_said_also_for_those_who_went_away() {
        let (hashing, running) = (Arc::new(Hashing::default()), Arc::new(AtomicUsize::new(0)));
        let most = Arc::new(AtomicUsize::new(0));
        let work = |running: Arc<AtomicUsize>, most: Arc<AtomicUsize>| {
            move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(30));
                running.fetch_sub(1, Ordering::SeqCst);
            }
        };
        for _ in 0..6 {
            let asked = hashing.run(work(running.clone(), most.clone()));
            // Hangs up in the middle.
            let _gone = tokio::time::timeout(Duration::from_millis(5), asked).await;
        }
        hashing.run(work(running.clone(), most.clone())).await.unwrap();
        assert_eq!(most.load(Ordering::SeqCst), AT_ONCE);
    }
}
