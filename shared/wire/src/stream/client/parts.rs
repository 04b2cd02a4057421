//! A snapshot that comes in parts.

use bytes::BytesMut;

use crate::{
    snapshot::MAX_BYTES,
    stream::CHUNK,
    v1::{Chunk, Replace},
};

/// A `Replace` of which not every part has come.
#[derive(Debug)]
pub(super) struct Parts {
    replace: Replace,
    bytes: BytesMut,
    next: u32,
}

impl Parts {
    pub(super) fn begin(replace: Replace) -> Self {
        let mut parts = Self { replace, bytes: BytesMut::with_capacity(2 * CHUNK), next: 1 };
        let first = std::mem::take(&mut parts.replace.snapshot);
        parts.keep(&first);
        parts
    }

    /// `None` when this is not the next part; the whole with the last one.
    pub(super) fn add(&mut self, chunk: &Chunk) -> Option<Option<Replace>> {
        if chunk.nonce != self.replace.nonce || chunk.index != self.next {
            return None;
        }
        self.keep(&chunk.bytes);
        self.next += 1;
        if self.next <= self.replace.chunks {
            return Some(None);
        }
        let mut replace = std::mem::take(&mut self.replace);
        (replace.snapshot, replace.chunks) = (std::mem::take(&mut self.bytes).freeze(), 0);
        Some(Some(replace))
    }

    /// Of a snapshot that is too large, one byte too many is kept: enough for it to be refused as any other that is, without
    /// the stream having to end, which would hold up every other tenant.
    fn keep(&mut self, bytes: &[u8]) {
        let room = (MAX_BYTES + 1).saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}
