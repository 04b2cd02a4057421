//! The spool: audit records on the proxy's own disk until the control plane has acknowledged them.
//!
//! Files lie in `<dir>/<boot>/<number>.seg` ([`frame`] has their format). There is one writer, behind a lock, and one
//! `write` for each group of records: once it has returned, a record survives the death of the process (the kernel
//! holds it), and within [`Config::sync_within`] the death of the machine. Records are named by (proxy, boot, seq), with
//! `seq` gapless within a boot, which is how the control plane notices a missing one.

mod frame;
mod reader;
mod recover;
mod segments;
mod sync;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, DirBuilder},
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::Thread,
    time::Duration,
};

use errors::ErrorCode;
use ids::ProxyId;
use parking_lot::Mutex;
use seams::Clock;
use telemetry::metric;
use tokio::sync::Notify;
use wire::record::{Author, Draft};

pub(crate) use reader::{Batch, Reader};
use recover::Shares;
use segments::Inner;

/// Where the spool lies and how large it may be.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Directory of the spool; created when missing.
    pub(crate) dir: PathBuf,
    /// Who writes.
    pub(crate) proxy: ProxyId,
    /// Names this process: 16 random bytes.
    pub(crate) boot: [u8; 16],
    /// Bytes of all segments; above it every call is refused.
    pub(crate) quota_bytes: u64,
    /// Bytes of one tenant's records; above it that tenant's calls are refused.
    pub(crate) tenant_quota_bytes: u64,
    /// A segment that has reached this many bytes is finished.
    pub(crate) segment_bytes: u64,
    /// Longest time between a write and its fsync.
    pub(crate) sync_within: Duration,
}

impl Config {
    fn boot_dir(&self) -> PathBuf {
        self.dir.join(hex::encode(self.boot))
    }
}

/// Why a record could not be written or read. Refuses the call: what cannot be recorded is not forwarded.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The disk said no.
    #[error("audit spool cannot be used: look at the disk's free space and permissions")]
    Io(#[from] io::Error),
    /// [`Config::quota_bytes`] is reached.
    #[error("audit spool is full: look at the connection to the control plane")]
    Full,
    /// [`Config::tenant_quota_bytes`] is reached.
    #[error("the tenant's share of the audit spool is full: look at the connection to the control plane")]
    TenantFull,
    /// A record is longer than a frame may be.
    #[error("audit record too long")]
    TooLong,
    /// fsync failed: what was written may be lost.
    #[error("audit record was not confirmed by the disk")]
    NotDurable,
}

impl SpoolError {
    /// The code a caller sees.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        ErrorCode::AuditUnavailable
    }
}

/// The spool of one process.
#[derive(Debug)]
pub(crate) struct Spool {
    config: Config,
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
    /// Last sequence number written, fsynced, and not made durable because fsync failed; of this boot.
    written: AtomicU64,
    synced: AtomicU64,
    lost: AtomicU64,
    /// The thread that calls [`Self::sync`], and whether it waits to be woken.
    syncer: OnceLock<Thread>,
    idle: AtomicBool,
    urgent: AtomicBool,
    appended: Notify,
    progressed: Notify,
    meters: Meters,
}

#[derive(Debug)]
struct Meters {
    bytes: metrics::Gauge,
    records: metrics::Counter,
    refused: metrics::Counter,
    sync: metrics::Histogram,
}

impl Spool {
    /// Recovers what earlier boots left and opens the spool for this one. Blocks; for start-up.
    ///
    /// # Errors
    /// When the directory cannot be created, read or repaired.
    pub(crate) fn open(config: Config, clock: Arc<dyn Clock>) -> Result<Arc<Self>, SpoolError> {
        DirBuilder::new().recursive(true).mode(0o700).create(&config.dir)?;
        let recovered = recover::recover(&config.dir)?;
        metrics::counter!(metric::AUDIT_CORRUPT_SEGMENTS).increment(recovered.corrupt);
        let inner = Inner::new(recovered.segments, config.proxy);
        let meters = Meters {
            bytes: metrics::gauge!(metric::AUDIT_SPOOL_BYTES),
            records: metrics::counter!(metric::AUDIT_RECORDS),
            refused: metrics::counter!(metric::AUDIT_REFUSED),
            sync: metrics::histogram!(metric::AUDIT_SYNC),
        };
        meters.bytes.set(inner.bytes as f64);
        Ok(Arc::new(Self {
            config,
            clock,
            inner: Mutex::new(inner),
            written: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            syncer: OnceLock::new(),
            idle: AtomicBool::new(false),
            urgent: AtomicBool::new(false),
            appended: Notify::new(),
            progressed: Notify::new(),
            meters,
        }))
    }

    /// Names the proxy once it has enrolled. Records written before keep the earlier name.
    pub(crate) fn set_proxy(&self, proxy: ProxyId) {
        self.inner.lock().proxy = proxy;
    }

    /// Writes records in one `write`, giving each its author and number. Returns the last one's seq. When it fails, none
    /// of them was written.
    ///
    /// # Errors
    /// See [`SpoolError`].
    pub(crate) fn append(&self, records: &[Draft]) -> Result<u64, SpoolError> {
        let result = self.write(records);
        match &result {
            Ok(_) => {
                self.meters.records.increment(records.len() as u64);
                self.appended.notify_one();
                if self.idle.load(Ordering::SeqCst) {
                    self.wake_syncer();
                }
            }
            Err(_) => self.meters.refused.increment(records.len() as u64),
        }
        result
    }

    fn write(&self, records: &[Draft]) -> Result<u64, SpoolError> {
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        inner.admit(&self.config, records)?;
        let file = inner.writer(&self.config, self.clock.now().micros())?;
        let author = Author { proxy: *inner.proxy.uuid().as_bytes(), boot: self.config.boot };
        let mut buffer = std::mem::take(&mut inner.buffer);
        buffer.clear();
        let mut shares = Shares::new();
        let mut seq = inner.next_seq;
        for record in records {
            let tenant = record.tenant();
            let start = buffer.len();
            frame::write(&mut buffer, seq, tenant, record.completed_len(seq), |out| {
                record.complete(&author, seq, out);
            })?;
            shares.push((tenant, (buffer.len() - start) as u64));
            seq += 1;
        }
        let written = (&*file).write_all(&buffer);
        let grown = buffer.len() as u64;
        inner.buffer = buffer;
        let Some(segment) = inner.segments.back_mut() else { return Err(SpoolError::NotDurable) };
        if let Err(error) = written {
            // Part of the group may be on disk; the next append starts where this one did, or in a new segment.
            inner.broken = file.set_len(segment.len).is_err();
            return Err(error.into());
        }
        segment.len += grown;
        segment.last_seq = seq - 1;
        inner.bytes += grown;
        for (tenant, bytes) in shares {
            segment.count(tenant, bytes);
            *inner.shares.entry(tenant).or_default() += bytes;
        }
        inner.next_seq = seq;
        self.written.store(seq - 1, Ordering::SeqCst);
        self.meters.bytes.set(inner.bytes as f64);
        Ok(seq - 1)
    }

    /// Everything of `boot` up to and including `seq` is stored at the control plane.
    pub(crate) fn acknowledge(&self, boot: [u8; 16], seq: u64) {
        let mut guard = self.inner.lock();
        let known = guard.acknowledged.entry(boot).or_default();
        *known = (*known).max(seq);
        guard.release(&self.config);
        self.meters.bytes.set(guard.bytes as f64);
        drop(guard);
        self.progressed.notify_waiters();
    }

    /// Waits until everything appended so far, and everything older, is acknowledged.
    pub(crate) async fn drained(&self) {
        let upto = self.written.load(Ordering::SeqCst);
        loop {
            let progressed = self.progressed.notified();
            if self.is_drained(upto) {
                return;
            }
            progressed.await;
        }
    }

    fn is_drained(&self, upto: u64) -> bool {
        let inner = self.inner.lock();
        let own = inner.acknowledged.get(&self.config.boot).copied().unwrap_or(0);
        own >= upto && inner.segments.iter().all(|segment| segment.boot == self.config.boot)
    }

    /// Bytes of all segments, the acknowledged part of the current one included.
    #[must_use]
    pub(crate) fn unacknowledged_bytes(&self) -> u64 {
        self.inner.lock().bytes
    }

    /// The uploader's end. There is one reader at a time.
    #[must_use]
    pub(crate) fn reader(self: &Arc<Self>) -> Reader {
        Reader::new(self.clone())
    }

    /// Removes this boot's directory when nothing in it is still needed. For the end of the process.
    pub(in crate::audit) fn close(&self) {
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        inner.writer = None;
        if let Some(segment) = inner.segments.back_mut() {
            segment.finished = true;
        }
        inner.release(&self.config);
        if !inner.segments.iter().any(|segment| segment.boot == self.config.boot) {
            let _ = fs::remove_dir(self.config.boot_dir());
        }
    }
}
