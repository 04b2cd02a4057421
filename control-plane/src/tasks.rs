//! The control plane's tasks: who is running, and how they are told to stop.

use std::{future::Future, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

use crate::db::StoreError;

/// Starts tasks and waits for them at shutdown. Clones share one set of tasks.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stopping: CancellationToken,
}

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `work`. It has to end soon after [`Self::stopping`] resolves. `name` is for logs.
    #[expect(clippy::disallowed_methods, reason = "this is the supervisor that shutdown waits for")]
    pub fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        // Of nobody: a span is exported when the last one inside it has ended, and a task may outlive who started it.
        let span = tracing::info_span!(parent: None, "task", task.name = name);
        let running = tokio::spawn(self.tracker.track_future(work.instrument(span)));
        // A second, tiny task, so that a panic is not lost in a handle that nobody looks at.
        tokio::spawn(self.tracker.track_future(async move {
            if running.await.is_err_and(|error| error.is_panic()) {
                tracing::error!(task.name = name, "task panicked");
            }
        }));
    }

    /// Resolves when shutdown begins.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Tells every task to stop and waits until all have, at most `patience`. Says whether all did.
    pub async fn shutdown(&self, patience: Duration) -> bool {
        self.stopping.cancel();
        self.tracker.close();
        tokio::time::timeout(patience, self.tracker.wait()).await.is_ok()
    }
}

/// Does `turn` again and again, with a pause after each, until shutdown, which does not wait for a turn to end. One that goes wrong is
/// logged as `failed`.
pub async fn again<F: Future<Output = Result<(), StoreError>>>(
    tasks: &Tasks,
    pause: Duration,
    failed: &'static str,
    turn: impl Fn() -> F,
) {
    let stopping = tasks.stopping();
    loop {
        let turned = tokio::select! {
            () = stopping.cancelled() => return,
            turned = turn() => turned,
        };
        if let Err(error) = turned {
            tracing::warn!(error.cause = %error, "{failed}");
        }
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn shutdown_waits_for_tasks_that_listen() {
        let tasks = Tasks::new();
        let stopping = tasks.stopping();
        tasks.spawn("listener", async move { stopping.cancelled().await });
        assert!(tasks.shutdown(Duration::from_secs(5)).await);
    }

    #[tokio::test]
    async fn shutdown_does_not_wait_for_ever() {
        let tasks = Tasks::new();
        tasks.spawn("deaf", std::future::pending());
        assert!(!tasks.shutdown(Duration::from_millis(20)).await);
    }
}
