//! fsync: one thread calls [`Spool::sync`] soon after something was written, for all records of the moment together.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{Spool, SpoolError};

impl Spool {
    /// fsyncs what was written since the last call.
    pub(in crate::audit) fn sync(&self) {
        let (files, upto) = {
            let mut inner = self.inner.lock();
            let upto = self.written.load(Ordering::SeqCst);
            if upto <= self.synced.load(Ordering::SeqCst) {
                return;
            }
            let mut files = std::mem::take(&mut inner.unsynced);
            if let Some(writer) = &inner.writer
                && !files.iter().any(|file| Arc::ptr_eq(file, writer))
            {
                files.push(writer.clone());
            }
            (files, upto)
        };
        let started = self.clock.monotonic();
        for file in files {
            if let Err(error) = file.sync_data() {
                // After a failed fsync the kernel forgets which pages were dirty: the segment cannot be trusted.
                tracing::error!(%error, "audit spool: fsync failed; records may be lost if the machine fails");
                self.lost.fetch_max(upto, Ordering::SeqCst);
                self.inner.lock().broken = true;
            }
        }
        self.meters.sync.record(self.clock.monotonic().since(started).as_secs_f64());
        self.synced.store(upto, Ordering::SeqCst);
        self.progressed.notify_waiters();
    }

    /// Waits until the record `seq` of this boot is on disk.
    ///
    /// # Errors
    /// [`SpoolError::NotDurable`] when fsync failed.
    pub(in crate::audit) async fn durable(&self, seq: u64) -> Result<(), SpoolError> {
        loop {
            let progressed = self.progressed.notified();
            if seq <= self.lost.load(Ordering::SeqCst) {
                return Err(SpoolError::NotDurable);
            }
            if seq <= self.synced.load(Ordering::SeqCst) {
                return Ok(());
            }
            self.request_sync();
            progressed.await;
        }
    }

    /// The calling thread is the one that calls [`Self::sync`].
    pub(in crate::audit) fn register_syncer(&self) {
        let _ = self.syncer.set(std::thread::current());
    }

    /// Waits for work as the syncing thread: until something was written, then for the grace time in which more
    /// records join the same fsync. Returns after `longest` in any case.
    pub(in crate::audit) fn wait_for_work(&self, longest: Duration) {
        self.idle.store(true, Ordering::SeqCst);
        if self.written.load(Ordering::SeqCst) <= self.synced.load(Ordering::SeqCst) {
            std::thread::park_timeout(longest);
        }
        self.idle.store(false, Ordering::SeqCst);
        let pending = self.written.load(Ordering::SeqCst) > self.synced.load(Ordering::SeqCst);
        if pending && !self.urgent.swap(false, Ordering::SeqCst) {
            // Half of the bound for gathering, half for the fsync itself.
            std::thread::park_timeout(self.config.sync_within / 2);
            self.urgent.store(false, Ordering::SeqCst);
        }
    }

    /// Asks for an fsync now rather than after the grace time.
    pub(in crate::audit) fn request_sync(&self) {
        self.urgent.store(true, Ordering::SeqCst);
        self.wake_syncer();
    }

    /// Wakes the syncing thread, if it waits.
    pub(in crate::audit) fn wake_syncer(&self) {
        if let Some(thread) = self.syncer.get() {
            thread.unpark();
        }
    }
}
