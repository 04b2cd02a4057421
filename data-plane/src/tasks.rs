//! The proxy's tasks: who is running, and how they are told to stop.

use std::{future::Future, time::Duration};

use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

/// Starts tasks on the control runtime and waits for them at shutdown. Clones share one set of tasks.
#[derive(Debug, Clone)]
pub struct Tasks {
    runtime: Handle,
    tracker: TaskTracker,
    stopping: CancellationToken,
}

impl Tasks {
    /// No tasks yet; they will run on `runtime`.
    #[must_use]
    pub fn new(runtime: Handle) -> Self {
        Self { runtime, tracker: TaskTracker::new(), stopping: CancellationToken::new() }
    }

    /// Runs `work`, from any thread. It has to end soon after [`Self::token`] is cancelled. `name` is for logs.
    pub fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let span = tracing::info_span!(parent: None, "task", task.name = name);
        let running = self.runtime.spawn(self.tracker.track_future(work.instrument(span)));
        // A second, tiny task, so that a panic is not lost in a handle that nobody looks at.
        self.runtime.spawn(self.tracker.track_future(async move {
            if running.await.is_err_and(|error| error.is_panic()) {
                tracing::error!(task.name = name, "task panicked");
            }
        }));
    }

    /// Cancelled when shutdown begins.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// The runtime they run on.
    #[must_use]
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Tells every task to stop and waits until all have, at most `patience`. Says whether all did.
    pub async fn shutdown(&self, patience: Duration) -> bool {
        self.stopping.cancel();
        self.tracker.close();
        tokio::time::timeout(patience, self.tracker.wait()).await.is_ok()
    }
}

/// Runs `work` on the worker this is called on. It lives at most as long as that worker, whose drain waits for the calls
/// that such tasks serve and then drops them. Its span is nobody's: a call's span is exported when the last one inside it
/// has ended, and an upstream's connection outlives the call that made it.
pub fn spawn_local(name: &'static str, work: impl Future<Output = ()> + 'static) {
    tokio::task::spawn_local(work.instrument(tracing::debug_span!(parent: None, "task", task.name = name)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn shutdown_waits_for_tasks_that_listen() {
        let tasks = Tasks::new(Handle::current());
        let stopping = tasks.token();
        tasks.spawn("listener", async move { stopping.cancelled().await });
        assert!(tasks.shutdown(Duration::from_secs(5)).await);
    }

    #[tokio::test]
    async fn shutdown_does_not_wait_for_ever() {
        let tasks = Tasks::new(Handle::current());
        tasks.spawn("deaf", std::future::pending());
        assert!(!tasks.shutdown(Duration::from_millis(20)).await);
    }
}
