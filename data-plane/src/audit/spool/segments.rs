//! The segments on disk and the one being written: rotation, quotas, deletion. All of it happens under the spool's lock.

use std::{
    collections::VecDeque,
    fs::{self, DirBuilder, File, OpenOptions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    sync::Arc,
};

use hashbrown::HashMap;
use ids::ProxyId;
use wire::record::Draft;

use super::{
    Config, SpoolError, frame,
    recover::{Segment, Shares},
};

#[derive(Debug)]
pub(super) struct Inner {
    /// Oldest first; the one being written, if any, is last.
    pub(super) segments: VecDeque<Segment>,
    pub(super) writer: Option<Arc<File>>,
    /// Files with bytes that were not fsynced, and directories with names that were not.
    pub(super) unsynced: Vec<Arc<File>>,
    pub(super) acknowledged: HashMap<[u8; 16], u64, ahash::RandomState>,
    pub(super) shares: HashMap<[u8; 16], u64, ahash::RandomState>,
    pub(super) bytes: u64,
    pub(super) proxy: ProxyId,
    pub(super) next_seq: u64,
    pub(super) next_number: u32,
    pub(super) buffer: Vec<u8>,
    /// The current segment cannot be trusted any more: continue in a new one.
    pub(super) broken: bool,
}

impl Inner {
    /// Over what recovery found.
    pub(super) fn new(segments: Vec<Segment>, proxy: ProxyId) -> Self {
        let mut inner = Self {
            segments: segments.into(),
            writer: None,
            unsynced: Vec::new(),
            acknowledged: HashMap::default(),
            shares: HashMap::default(),
            bytes: 0,
            proxy,
            next_seq: 1,
            next_number: 1,
            buffer: Vec::with_capacity(4096),
            broken: false,
        };
        for segment in &inner.segments {
            inner.bytes += segment.len;
            for (tenant, bytes) in &segment.shares {
                *inner.shares.entry(*tenant).or_default() += bytes;
            }
        }
        inner
    }

    /// Quotas. An acknowledged segment that is only kept because it is being written makes room first.
    pub(super) fn admit(&mut self, config: &Config, records: &[Draft]) -> Result<(), SpoolError> {
        let over = |inner: &Self| {
            if inner.bytes >= config.quota_bytes {
                return Some(SpoolError::Full);
            }
            let full = |record: &Draft| {
                inner.shares.get(&record.tenant()).is_some_and(|sum| *sum >= config.tenant_quota_bytes)
            };
            records.iter().any(full).then_some(SpoolError::TenantFull)
        };
        if over(self).is_none() {
            return Ok(());
        }
        let acknowledged = self.acknowledged.get(&config.boot).copied().unwrap_or(0);
        if let Some(segment) = self.segments.back_mut()
            && !segment.finished
            && segment.last_seq >= segment.first_seq
            && segment.last_seq <= acknowledged
        {
            segment.finished = true;
            self.writer = None;
            self.release(config);
        }
        over(self).map_or(Ok(()), Err)
    }

    /// The file to write to: the current one, or a new one.
    pub(super) fn writer(&mut self, config: &Config, now_micros: u64) -> Result<Arc<File>, SpoolError> {
        if let (Some(file), Some(segment)) = (&self.writer, self.segments.back())
            && !self.broken
            && segment.len < config.segment_bytes
        {
            return Ok(file.clone());
        }
        let dir = config.boot_dir();
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let number = self.next_number;
        let path = dir.join(format!("{number:08}.seg"));
        self.next_number += 1;
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
        let header = frame::Header {
            boot: config.boot,
            proxy: *self.proxy.uuid().as_bytes(),
            number,
            created_micros: now_micros,
            first_seq: self.next_seq,
        };
        if let Err(error) = (&file).write_all(&header.encode()) {
            let _ = fs::remove_file(&path);
            return Err(error.into());
        }
        if let Some(previous) = self.segments.back_mut() {
            previous.finished = true;
        }
        let file = Arc::new(file);
        self.unsynced.extend(self.writer.take());
        // The names too must reach the disk: the segment's in its directory, the directory's in the spool's.
        for dir in [&dir, &config.dir] {
            self.unsynced.push(Arc::new(File::open(dir)?));
        }
        self.unsynced.push(file.clone());
        self.segments.push_back(Segment {
            boot: config.boot,
            number,
            path,
            first_seq: self.next_seq,
            last_seq: self.next_seq - 1,
            len: frame::HEADER as u64,
            shares: Shares::new(),
            finished: false,
        });
        self.bytes += frame::HEADER as u64;
        self.writer = Some(file.clone());
        self.broken = false;
        self.release(config);
        Ok(file)
    }

    /// Deletes finished segments that are wholly acknowledged.
    pub(super) fn release(&mut self, config: &Config) {
        let Inner { segments, acknowledged, shares, bytes, unsynced, .. } = self;
        segments.retain(|segment| {
            let done = segment.finished
                && acknowledged.get(&segment.boot).is_some_and(|acknowledged| segment.last_seq <= *acknowledged);
            if !done {
                return true;
            }
            if let Err(error) = fs::remove_file(&segment.path) {
                tracing::warn!(file.path = %segment.path.display(), %error, "audit spool: cannot delete a segment");
            }
            *bytes -= segment.len.min(*bytes);
            for (tenant, share) in &segment.shares {
                if let Some(sum) = shares.get_mut(tenant) {
                    *sum -= (*share).min(*sum);
                }
            }
            false
        });
        shares.retain(|_, sum| *sum > 0);
        acknowledged.retain(|boot, _| {
            let kept = *boot == config.boot || segments.iter().any(|segment| segment.boot == *boot);
            if !kept {
                // Fails, as it should, when a damaged segment was set aside there.
                let _ = fs::remove_dir(config.dir.join(hex::encode(boot)));
            }
            kept
        });
        if segments.is_empty() {
            unsynced.clear();
        }
    }
}
