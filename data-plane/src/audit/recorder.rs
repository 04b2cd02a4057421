//! Writes records: what pipeline and upstream call.

use std::{
    fmt,
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
use wire::v1::Decision;

use super::{
    ResponseDigest,
    aggregate::Aggregates,
    digest::Sent,
    record::{self, CallFacts, Conclusion, End},
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

/// A call whose intent is in the spool: the proof that forwarding needs. The call's outcome is recorded through it; one that is
/// dropped before says that the call was cut.
pub(crate) struct IntentId {
    open: Option<Box<Open>>,
}

struct Open {
    recorder: Recorder,
    facts: CallFacts,
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

    /// Writes a call's intent; with `strict`, waits until it is on disk.
    ///
    /// # Errors
    /// When it cannot be written: the call must not be forwarded.
    pub(crate) async fn intent(&self, facts: CallFacts, strict: bool) -> Result<IntentId, SpoolError> {
        let record = facts.intent(self.0.clock.now(), &*self.0.entropy);
        let seq = self.0.spool.append(&mut [record])?;
        let intent = IntentId { open: Some(Box::new(Open { recorder: self.clone(), facts })) };
        if strict {
            self.0.spool.durable(seq).await?;
        }
        Ok(intent)
    }

    /// Records a refusal of an authenticated caller. The refusal goes out even when this fails.
    pub(crate) fn refused(&self, facts: &CallFacts, code: ErrorCode, status: u16, body: &[u8]) {
        let conclusion = Conclusion {
            decision: Decision::Refused,
            code: Some(code),
            status,
            sent: Sent::whole(body),
            cut: false,
            latency_micros: self.latency(facts),
        };
        self.conclude(facts, &conclusion);
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

    fn latency(&self, facts: &CallFacts) -> u64 {
        self.0.clock.monotonic().since(facts.started).as_micros() as u64
    }

    fn conclude(&self, facts: &CallFacts, conclusion: &Conclusion) {
        let record = facts.outcome(self.0.clock.now(), conclusion, &*self.0.entropy);
        if let Err(error) = self.0.spool.append(&mut [record]) {
            // The call has happened; its intent is on record, and the missing outcome shows.
            tracing::error!(%error, call.id = %facts.call, "audit: outcome not recorded");
        }
    }
}

impl Shared {
    fn write_aggregates(&self) {
        let at = self.clock.now();
        let taken = self.aggregates.take();
        for group in taken.chunks(AGGREGATE_GROUP) {
            let mut records: Vec<_> =
                group.iter().map(|(key, tally)| record::aggregate(key, tally.count, tally.rev, at)).collect();
            if let Err(error) = self.spool.append(&mut records) {
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

impl IntentId {
    /// Time since the call's headers had come.
    pub(crate) fn elapsed(&self) -> Duration {
        let open = self.open.as_ref();
        open.map_or(Duration::ZERO, |open| open.recorder.0.clock.monotonic().since(open.facts.started))
    }

    /// Records the outcome of a call whose whole response is at hand.
    pub(crate) fn finish(mut self, end: End<'_>) {
        self.conclude(end.code, end.status, Sent::whole(end.body), end.cut);
    }

    /// Records the outcome of a call whose response was followed while it was sent.
    pub(crate) fn finish_stream(
        mut self,
        code: Option<ErrorCode>,
        status: u16,
        sent: ResponseDigest,
        cut: bool,
    ) {
        self.conclude(code, status, sent.finish(), cut);
    }

    fn conclude(&mut self, code: Option<ErrorCode>, status: u16, sent: Sent, cut: bool) {
        let Some(open) = self.open.take() else { return };
        let latency_micros = open.recorder.latency(&open.facts);
        let decision = Decision::Allowed;
        open.recorder
            .conclude(&open.facts, &Conclusion { decision, code, status, sent, cut, latency_micros });
    }
}

impl Drop for IntentId {
    fn drop(&mut self) {
        self.conclude(None, 0, Sent::whole(b""), true);
    }
}

impl fmt::Debug for IntentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntentId").field("call", &self.open.as_ref().map(|open| open.facts.call)).finish()
    }
}

#[cfg(test)]
mod tests;
