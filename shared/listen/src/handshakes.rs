//! Handshakes under way, and headers of the PROXY protocol before them: each has its time, and together they have a number.

use std::{collections::BTreeMap, io, time::Duration};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Bounds handshakes. When as many are under way as may be, the oldest gives way to the new one: a caller in good faith needs
/// a few round trips and is not the oldest for long, while whoever only holds places open loses them first.
#[derive(Debug)]
pub struct Handshakes {
    most: usize,
    time: Duration,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    begun: u64,
    running: BTreeMap<u64, oneshot::Sender<()>>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The other end broke off, or could not agree.
    #[error("handshake failed")]
    Failed(#[source] io::Error),
    /// It took too long.
    #[error("handshake took too long")]
    TimedOut,
    /// Newer ones needed its place.
    #[error("too many handshakes; the oldest gave way")]
    GaveWay,
}

impl HandshakeError {
    /// Counts it.
    fn count(self) -> Self {
        let reason = match self {
            Self::Failed(_) => "failed",
            Self::TimedOut => "timed_out",
            Self::GaveWay => "gave_way",
        };
        metrics::counter!(telemetry::metric::TLS_HANDSHAKES_FAILED, "reason" => reason).increment(1);
        self
    }
}

impl Handshakes {
    /// At most `most` at once, each within `time`.
    #[must_use]
    pub fn new(most: usize, time: Duration) -> Self {
        Self { most: most.max(1), time, open: Mutex::default() }
    }

    /// Runs a handshake to its end.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub async fn run<T>(&self, handshake: impl Future<Output = io::Result<T>>) -> Result<T, HandshakeError> {
        let (_place, given_way) = self.begin();
        let done = tokio::select! {
            biased;
            done = tokio::time::timeout(self.time, handshake) => match done {
                Ok(done) => done.map_err(HandshakeError::Failed),
                Err(_) => Err(HandshakeError::TimedOut),
            },
            _gone = given_way => Err(HandshakeError::GaveWay),
        };
        done.map_err(HandshakeError::count)
    }

    fn begin(&self) -> (Place<'_>, oneshot::Receiver<()>) {
        let (place, given_way) = oneshot::channel();
        let mut open = self.open.lock();
        let number = open.begun;
        open.begun += 1;
        if open.running.len() >= self.most {
            open.running.pop_first();
        }
        open.running.insert(number, place);
        (Place { all: self, number }, given_way)
    }
}

struct Place<'a> {
    all: &'a Handshakes,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.all.open.lock().running.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::Arc};

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn the_oldest_gives_way_to_the_newest() {
        let all = Arc::new(Handshakes::new(2, LONG));
        let waiting: Vec<_> = (0..2).map(|_| Box::pin(all.run(pending::<io::Result<()>>()))).collect();
        let mut waiting = waiting.into_iter();
        let (mut first, mut second) = (waiting.next().unwrap(), waiting.next().unwrap());
        for each in [&mut first, &mut second] {
            assert!(tokio::time::timeout(Duration::ZERO, each).await.is_err());
        }
        assert!(all.run(async { Ok(()) }).await.is_ok());
        assert!(matches!(first.await, Err(HandshakeError::GaveWay)));
        assert!(tokio::time::timeout(Duration::ZERO, &mut second).await.is_err(), "the younger one stays");
        drop(second);
        assert!(all.open.lock().running.is_empty());
    }

    #[tokio::test]
    async fn each_has_its_time() {
        let all = Handshakes::new(2, Duration::from_millis(5));
        assert!(matches!(all.run(pending::<io::Result<()>>()).await, Err(HandshakeError::TimedOut)));
        let broken = all.run(async { Err::<(), _>(io::ErrorKind::UnexpectedEof.into()) }).await;
        assert!(matches!(broken, Err(HandshakeError::Failed(_))));
        assert!(all.open.lock().running.is_empty());
    }
}
