//! What a proxy holds, in a constant size: one number for each last byte of a tenant's id.

use aws_lc_rs::digest::{Context, SHA256};
use ids::TenantId;

use super::Version;

/// How many there are.
pub const BUCKETS: usize = 256;

/// Bytes of all of them in a message.
const BYTES: usize = BUCKETS * 8;

/// For each last byte of a tenant's id, which is random, the first 64 bits of the digests of (tenant, version), combined so
/// that order does not matter and one change costs two digests. It shows that the two ends of a stream, which trust each
/// other, have come apart; it proves nothing to anybody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buckets(Box<[u64; BUCKETS]>);

impl Default for Buckets {
    fn default() -> Self {
        Self(Box::new([0; BUCKETS]))
    }
}

impl Buckets {
    /// Of everything held.
    pub fn of<'a>(held: impl IntoIterator<Item = (&'a TenantId, &'a Version)>) -> Self {
        let mut buckets = Self::default();
        for (tenant, version) in held {
            buckets.change(*tenant, None, Some(*version));
        }
        buckets
    }

    /// The bucket of a tenant.
    #[must_use]
    pub fn place(tenant: TenantId) -> u8 {
        tenant.uuid().as_bytes()[15]
    }

    /// A tenant is held at another version than before.
    pub fn change(&mut self, tenant: TenantId, before: Option<Version>, after: Option<Version>) {
        let bucket = &mut self.0[usize::from(Self::place(tenant))];
        for version in [before, after].into_iter().flatten() {
            *bucket ^= number(tenant, version);
        }
    }

    /// As in a message.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|bucket| bucket.to_be_bytes()).collect()
    }

    /// The buckets that differ from those in a message; `None` when it has not as many.
    #[must_use]
    pub fn differing(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        if bytes.len() != BYTES {
            return None;
        }
        let pairs = (0..=u8::MAX).zip(self.0.iter().zip(bytes.chunks_exact(8)));
        Some(pairs.filter(|(_, (own, other))| own.to_be_bytes() != **other).map(|(place, _)| place).collect())
    }
}

fn number(tenant: TenantId, version: Version) -> u64 {
    let mut hash = Context::new(&SHA256);
    hash.update(b"portcullis bucket v1\0");
    hash.update(tenant.uuid().as_bytes());
    hash.update(&version.rev.to_be_bytes());
    hash.update(&version.digest);
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finish().as_ref()[..8]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::tests::{stored, tenant};

    #[test]
    fn one_change_shows_in_one_bucket_and_its_undoing_in_none() {
        let at = |n| (tenant(n), stored(tenant(n), 1));
        let held: Vec<_> = (0..50).map(at).collect();
        let before = Buckets::of(held.iter().map(|(tenant, version)| (tenant, version)));
        let mut buckets = before.clone();
        let (changed, old) = held[7];
        buckets.change(changed, Some(old), Some(stored(changed, 2)));
        assert_eq!(buckets.differing(&before.to_bytes()), Some(vec![Buckets::place(changed)]));
        buckets.change(changed, Some(stored(changed, 2)), Some(old));
        assert_eq!(buckets.differing(&before.to_bytes()), Some(Vec::new()));
        assert_eq!(buckets, Buckets::of(held.iter().rev().map(|(tenant, version)| (tenant, version))));
        assert_eq!(buckets.differing(&[0; 8]), None);
    }
}
