//! Writes records: what pipeline and upstream call.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use errors::ErrorCode;
use ids::{EndpointId, TenantId};
use parking_lot::Mutex;
use seams::{Clock, Entropy};
use wire::{record::Draft, v1::Decision};

use super::{
    aggregate::Aggregates,
    digest::Sent,
    record::{self, CallFacts, Conclusion},
    spool::{Spool, SpoolError},
};

/// How often counted refusals are written.
const AGGREGATE_EVERY: Duration = Duration::from_secs(1);
/// Records in one write of counted refusals.
const AGGREGATE_GROUP: usize = 64;

/// Writes audit records to the spool. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Recorder(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    spool: Arc<Spool>,
    aggregates: Aggregates,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    stop: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Recorder {
    /// Starts recording, with a thread of its own that calls fsync and writes counted refusals.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start(
        spool: Arc<Spool>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, SpoolError> {
        let recorder = Self(Arc::new(Shared {
            spool,
            aggregates: Aggregates::default(),
            clock,
            entropy,
            stop: AtomicBool::new(false),
            thread: Mutex::new(None),
        }));
        let shared = recorder.0.clone();
        let thread = std::thread::Builder::new().name("audit-sync".to_owned()).spawn(move || run(&shared))?;
        *recorder.0.thread.lock() = Some(thread);
        Ok(recorder)
    }

    pub(super) fn spool(&self) -> &Spool {
        &self.0.spool
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    pub(super) fn entropy(&self) -> &dyn Entropy {
        &*self.0.entropy
    }

    /// Records a refusal of an authenticated caller. The refusal goes out even when this fails.
    pub(crate) fn refused(&self, facts: &CallFacts, code: ErrorCode, status: u16, body: &[u8]) {
        let conclusion = Conclusion {
            decision: Decision::Refused,
            code: Some(code),
            status,
            sent: Sent::whole(body),
            cut: false,
        };
        let draft = facts.outcome(self.0.clock.monotonic(), &conclusion, &*self.0.entropy);
        if let Err(error) = self.0.spool.append(&[draft]) {
            tracing::error!(%error, call.id = %facts.call, "audit: refusal not recorded");
        }
    }

    /// Counts a refusal of a caller that was not authenticated.
    pub(crate) fn count(
        &self,
        tenant: TenantId,
        rev: u64,
        endpoint: EndpointId,
        address: IpAddr,
        code: ErrorCode,
    ) {
        self.0.aggregates.count(tenant, rev, endpoint, address, code);
    }

    /// For a drain: writes what is pending and waits until the control plane has acknowledged everything. False when
    /// the deadline came first.
    pub(crate) async fn flush(&self, deadline: Duration) -> bool {
        self.0.write_aggregates();
        self.0.spool.request_sync();
        tokio::time::timeout(deadline, self.0.spool.drained()).await.is_ok()
    }

    /// Writes and fsyncs what is pending and ends the thread. Blocks; for the end of the process.
    pub(crate) fn shutdown(&self) {
        self.0.stop.store(true, Ordering::SeqCst);
        self.0.spool.wake_syncer();
        if let Some(thread) = self.0.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("audit: the syncing thread panicked");
        }
        self.0.write_aggregates();
        self.0.spool.sync();
        self.0.spool.close();
    }
}

impl Shared {
    fn write_aggregates(&self) {
        let at = self.clock.now();
        let taken = self.aggregates.take();
        for group in taken.chunks(AGGREGATE_GROUP) {
            let records: Vec<_> = group
                .iter()
                .map(|(key, tally)| Draft::of(&record::aggregate(key, tally.count, tally.rev, at)))
                .collect();
            if let Err(error) = self.spool.append(&records) {
                let lost: u64 = group.iter().map(|(_, tally)| tally.count).sum();
                tracing::error!(%error, refusals.lost = lost, "audit: counted refusals not recorded");
            }
        }
    }
}

fn run(shared: &Shared) {
    shared.spool.register_syncer();
    let mut written = shared.clock.monotonic();
    while !shared.stop.load(Ordering::SeqCst) {
        let since = shared.clock.monotonic().since(written);
        shared.spool.wait_for_work(AGGREGATE_EVERY.saturating_sub(since).max(Duration::from_millis(1)));
        if shared.clock.monotonic().since(written) >= AGGREGATE_EVERY {
            written = shared.clock.monotonic();
            shared.write_aggregates();
        }
        shared.spool.sync();
    }
}
