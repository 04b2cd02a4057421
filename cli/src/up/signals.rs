//! Being asked to stop: Ctrl-C, SIGTERM, or the terminal being closed.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens from its making on, so that nothing asked meanwhile is missed.
#[derive(Debug)]
pub(super) struct Asked {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Asked {
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    pub(super) async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
