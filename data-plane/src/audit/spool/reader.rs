//! The uploader's end of the spool.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    sync::Arc,
};

use bytes::Bytes;
use telemetry::metric;

use super::{
    Spool, SpoolError,
    frame::{self, FRAME, HEADER, MAX_RECORD, Next},
    recover::Segment,
};

/// Records of one boot, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Which boot wrote them.
    pub(crate) boot: [u8; 16],
    /// The last one's seq: what the control plane will acknowledge.
    pub(crate) last_seq: u64,
    /// Canonical `AuditRecord` bytes.
    pub(crate) records: Vec<Bytes>,
}

/// Reads unacknowledged records, oldest boot first.
#[derive(Debug)]
pub(crate) struct Reader {
    spool: Arc<Spool>,
    /// The segment being read; `None` before the first.
    at: Option<Place>,
    /// Its file.
    file: Option<Arc<File>>,
    /// Buffers of earlier batches, used again once nothing of them is left.
    spent: Vec<Bytes>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    boot: [u8; 16],
    number: u32,
    offset: u64,
}

/// What there is to read next.
#[derive(Debug)]
struct Source {
    place: Place,
    path: std::path::PathBuf,
    len: u64,
    first_seq: u64,
    acknowledged: u64,
}

impl Reader {
    pub(super) const fn new(spool: Arc<Spool>) -> Self {
        Self { spool, at: None, file: None, spent: Vec::new() }
    }

    /// The next records, at most about `max_bytes` of them, at least one if there is one. Reads from the page cache as
    /// a rule; call it where a short file read is acceptable.
    ///
    /// # Errors
    /// [`SpoolError::Io`] when a segment cannot be read.
    pub(crate) fn next_batch(&mut self, max_bytes: usize) -> Result<Option<Batch>, SpoolError> {
        loop {
            let Some(source) = self.source() else { return Ok(None) };
            if self.at.is_none_or(|at| (at.boot, at.number) != (source.place.boot, source.place.number)) {
                self.file = None;
            }
            let file = match &self.file {
                Some(file) => file.clone(),
                None => match File::open(&source.path) {
                    Ok(file) => self.file.insert(Arc::new(file)).clone(),
                    // Acknowledged and deleted since the look at the list.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        self.at = Some(Place { offset: source.len, ..source.place });
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                },
            };
            let (records, last_seq, offset) = self.read(&file, &source, max_bytes)?;
            self.at = Some(Place { offset, ..source.place });
            if !records.is_empty() {
                return Ok(Some(Batch { boot: source.place.boot, last_seq, records }));
            }
        }
    }

    /// The first segment with bytes that were not read.
    fn source(&self) -> Option<Source> {
        let inner = self.spool.inner.lock();
        let (segment, offset) = self.ahead(&inner.segments).next()?;
        Some(Source {
            place: Place { boot: segment.boot, number: segment.number, offset },
            path: segment.path.clone(),
            len: segment.len,
            first_seq: segment.first_seq,
            acknowledged: inner.acknowledged.get(&segment.boot).copied().unwrap_or(0),
        })
    }

    /// Segments that were not read to their end, each with where to read on.
    fn ahead<'a>(&self, segments: &'a VecDeque<Segment>) -> impl Iterator<Item = (&'a Segment, u64)> {
        // Segments never move in the list; those before the current one have been read to their end.
        let at = self.at;
        let from = at.and_then(|at| {
            segments.iter().position(|segment| (segment.boot, segment.number) == (at.boot, at.number))
        });
        segments.iter().enumerate().filter_map(move |(index, segment)| {
            let offset = match (at, from) {
                (Some(at), Some(from)) if index == from => at.offset,
                (_, Some(from)) if index < from => return None,
                // The current one was deleted: all that remain are later, or were never read.
                (Some(at), None) if at.boot == segment.boot && segment.number < at.number => return None,
                _ => HEADER as u64,
            };
            (offset < segment.len).then_some((segment, offset))
        })
    }

    /// Bytes that were not read.
    pub(crate) fn unread(&self) -> u64 {
        let inner = self.spool.inner.lock();
        self.ahead(&inner.segments).map(|(segment, offset)| segment.len - offset).sum()
    }

    /// Resolves when there is something to read. Under load that is after every record: whoever uploads gathers for a
    /// moment before asking for a batch.
    pub(crate) async fn more(&self) {
        loop {
            let appended = self.spool.appended.notified();
            if self.source().is_some() {
                return;
            }
            appended.await;
        }
    }

    /// Frames from the source's offset on. Returns the records, the last one's seq and the offset reached.
    fn read(
        &mut self,
        file: &File,
        source: &Source,
        max_bytes: usize,
    ) -> Result<(Vec<Bytes>, u64, u64), SpoolError> {
        let mut offset = source.place.offset;
        let want = (max_bytes + FRAME).max(FRAME + MAX_RECORD).min((source.len - offset) as usize);
        let buffer = self.fill(file, offset, want)?;
        let (mut records, mut last_seq, mut taken, mut at) = (Vec::new(), 0, 0, 0);
        while at < buffer.len() {
            match frame::next(&buffer[at..]) {
                Next::Frame(frame) => {
                    if !records.is_empty() && taken + frame.record.len() > max_bytes {
                        break;
                    }
                    at += frame.raw.len();
                    if frame.seq > source.acknowledged {
                        taken += frame.record.len();
                        last_seq = frame.seq;
                        records.push(buffer.slice_ref(frame.record));
                    }
                }
                Next::Short if offset + (buffer.len() as u64) < source.len => break,
                Next::Short | Next::Damaged => {
                    offset += at as u64;
                    let known = if last_seq > 0 { last_seq } else { source.first_seq.saturating_sub(1) };
                    return Ok((records, last_seq, self.step_over(file, source, offset, known)?));
                }
            }
        }
        offset += at as u64;
        Ok((records, last_seq, offset))
    }

    /// Where the next whole frame after the damage at `offset` is; the segment's end when there is none. The frame was whole
    /// when it was written or recovered: the file is kept as it is, under another name, and the control plane sees the gap.
    fn step_over(
        &mut self,
        file: &File,
        source: &Source,
        offset: u64,
        known: u64,
    ) -> Result<u64, SpoolError> {
        metrics::counter!(metric::AUDIT_CORRUPT_SEGMENTS).increment(1);
        let kept = source.path.with_extension("corrupt");
        let linked = fs::hard_link(&source.path, &kept);
        tracing::error!(
            file.path = %kept.display(),
            file.offset = offset,
            file.kept = linked.is_ok() || kept.exists(),
            "audit spool: a segment was damaged while the proxy ran; compare it with the disk's error log"
        );
        let rest = self.fill(file, offset, (source.len - offset) as usize)?;
        Ok(frame::resync(&rest, 1, Some(known)).map_or(source.len, |at| offset + at as u64))
    }

    /// `want` bytes of the file from `offset` on. Memory of a batch that has gone out is used again: a batch is large
    /// enough for fresh memory to cost more than reading into it.
    fn fill(&mut self, mut file: &File, offset: u64, want: usize) -> Result<Bytes, SpoolError> {
        let mut buffer = Vec::new();
        for spent in std::mem::take(&mut self.spent) {
            match spent.try_into_mut() {
                Ok(free) if buffer.capacity() == 0 => {
                    buffer = Vec::from(free);
                    buffer.clear();
                }
                Ok(_) => {}
                Err(used) => self.spent.push(used),
            }
        }
        buffer.reserve(want);
        file.seek(SeekFrom::Start(offset))?;
        if file.take(want as u64).read_to_end(&mut buffer)? < want {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let buffer = Bytes::from(buffer);
        self.spent.push(buffer.clone());
        Ok(buffer)
    }

    /// Starts again at the first record that is not acknowledged.
    pub(crate) fn rewind(&mut self) {
        self.at = None;
        self.file = None;
    }
}
