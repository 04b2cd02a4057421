//! `Debug` for the messages that hold secrets: shapes and ids, never the secret.

use std::fmt;

use crate::v1;

impl fmt::Debug for v1::TenantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantKey").field("current", &self.current).finish_non_exhaustive()
    }
}

impl fmt::Debug for v1::Replace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replace")
            .field("nonce", &self.nonce)
            .field("rev", &self.rev)
            .field("snapshot_bytes", &self.snapshot.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for v1::Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk")
            .field("nonce", &self.nonce)
            .field("index", &self.index)
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

impl fmt::Debug for v1::Delta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delta")
            .field("nonce", &self.nonce)
            .field("from_rev", &self.from_rev)
            .field("rev", &self.rev)
            .field("changes", &self.changes)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for v1::Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes")
            .field("upserts", &self.upserts.len())
            .field("tombstones", &self.tombstones.len())
            .finish()
    }
}

impl fmt::Debug for v1::Definitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definitions").field("definitions", &self.definitions.len()).finish()
    }
}

impl fmt::Debug for v1::EnrolRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnrolRequest").field("build", &self.build).finish_non_exhaustive()
    }
}
