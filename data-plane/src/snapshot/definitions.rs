//! Definitions of tools, each held once however many tenants and revisions have it.

use std::fmt;

use bytes::Bytes;
use hashbrown::{HashMap, HashTable, hash_table::Entry};
use wire::{
    snapshot::definitions::{Address, LEAST, address},
    stream::ADDRESS_SHOWN,
};

/// Below so many nothing is looked through for what is no longer used,
const SWEEP_AT_LEAST: usize = 1_024;
/// unless it is as large as this, bytes.
const SWEEP_AT_LEAST_BYTES: usize = 16 << 20;
/// So many are told to a control plane.
const SHOWN_MOST: usize = 1 << 16;

/// Definitions by their bytes. Those of a popular server are the same for every tenant that uses it, and those of one tenant are
/// the same from revision to revision: without this each tenant's snapshot, of which a definition is a slice, would stay in
/// memory whole.
///
/// It is of no use to a tenant: what is asked of it is asked by a control plane, which has the definition itself, and what it
/// answers changes which bytes go over that stream and nothing that a tenant is shown.
#[derive(Default)]
pub(super) struct Definitions {
    held: HashTable<Held>,
    /// Hashes of the bytes, by address.
    addresses: HashMap<Address, u64, ahash::RandomState>,
    hasher: ahash::RandomState,
    bytes: usize,
    sweep_at: (usize, usize),
    /// What was learnt for the next change, which nothing else uses yet.
    learnt: Vec<Bytes>,
}

struct Held {
    address: Address,
    bytes: Bytes,
}

impl fmt::Debug for Definitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definitions").field("held", &self.held.len()).finish()
    }
}

impl Definitions {
    /// The same bytes, in memory of their own that is shared with everyone who has them.
    pub(super) fn share(&mut self, definition: &Bytes) -> Bytes {
        if definition.is_empty() {
            return Bytes::new();
        }
        let hash = self.hasher.hash_one(definition.as_ref());
        let same = |held: &Held| held.bytes == definition;
        if let Some(held) = self.held.find(hash, same) {
            return held.bytes.clone();
        }
        self.sweep();
        let rehash = |held: &Held| self.hasher.hash_one(held.bytes.as_ref());
        let own = Bytes::copy_from_slice(definition);
        if let Entry::Vacant(place) = self.held.entry(hash, same, rehash) {
            let address = address(&own);
            place.insert(Held { address, bytes: own.clone() });
            self.addresses.insert(address, hash);
            self.bytes += own.len();
        }
        own
    }

    /// Lets go of what nobody uses, once there may be much of it.
    fn sweep(&mut self) {
        let (count, bytes) = self.sweep_at;
        if self.held.len() < count.max(SWEEP_AT_LEAST) && self.bytes < bytes.max(SWEEP_AT_LEAST_BYTES) {
            return;
        }
        self.held.retain(|held| {
            // Nobody but this table has it: no index uses it any more.
            let gone = held.bytes.is_unique();
            if gone {
                self.addresses.remove(&held.address);
                self.bytes -= held.bytes.len();
            }
            !gone
        });
        self.sweep_at = (2 * self.held.len(), 2 * self.bytes);
    }

    /// The definition of this address.
    pub(super) fn get(&self, address: &Address) -> Option<Bytes> {
        let hash = *self.addresses.get(address)?;
        Some(self.held.find(hash, |held| held.address == *address)?.bytes.clone())
    }

    /// Keeps one for the next change, until [`forget_learnt`](Self::forget_learnt).
    pub(super) fn learn(&mut self, definition: &Bytes) {
        let shared = self.share(definition);
        self.learnt.push(shared);
    }

    /// A change was made, or refused: what it did not use is used by nobody.
    pub(super) fn forget_learnt(&mut self) {
        self.learnt.clear();
    }

    /// The first bytes of the addresses of those in use.
    pub(super) fn shown(&self) -> Vec<u8> {
        let used = self.held.iter().filter(|held| held.bytes.len() >= LEAST && !held.bytes.is_unique());
        used.take(SHOWN_MOST).flat_map(|held| held.address.into_iter().take(ADDRESS_SHOWN)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_definitions_are_one_and_unused_ones_go() {
        let mut definitions = Definitions::default();
        let buffer = Bytes::from(vec![b'a'; 100]);
        let first = definitions.share(&buffer.slice(..50));
        let second = definitions.share(&buffer.slice(50..));
        assert_eq!(first.as_ptr(), second.as_ptr());
        assert!(!buffer.as_ptr_range().contains(&first.as_ptr()), "the snapshot's buffer is not held");
        for n in 0..3 * SWEEP_AT_LEAST {
            drop(definitions.share(&Bytes::from(n.to_string())));
        }
        assert!(definitions.held.len() <= SWEEP_AT_LEAST);
        assert_eq!(definitions.share(&buffer.slice(..50)).as_ptr(), first.as_ptr(), "in use, so still held");
        assert_eq!(definitions.addresses.len(), definitions.held.len());
    }

    #[test]
    fn what_is_learnt_is_kept_for_the_next_change_and_no_longer() {
        let mut definitions = Definitions::default();
        let learnt = Bytes::from(vec![b'a'; 100]);
        definitions.learn(&learnt);
        let fill = |definitions: &mut Definitions| {
            for n in 0..3 * SWEEP_AT_LEAST {
                drop(definitions.share(&Bytes::from(format!("{n} {}", definitions.bytes))));
            }
        };
        fill(&mut definitions);
        assert_eq!(definitions.get(&address(&learnt)), Some(learnt.clone()));
        assert_eq!(definitions.shown(), &address(&learnt)[..ADDRESS_SHOWN], "and is told of");
        definitions.forget_learnt();
        fill(&mut definitions);
        assert_eq!(definitions.get(&address(&learnt)), None);
        assert_eq!(definitions.shown(), [0_u8; 0]);
    }

    #[test]
    fn few_large_ones_that_nobody_uses_go_too() {
        let mut definitions = Definitions::default();
        for n in 0..400_u32 {
            let mut large = vec![b'a'; 256 << 10];
            large[..4].copy_from_slice(&n.to_be_bytes());
            drop(definitions.share(&Bytes::from(large)));
        }
        assert!(definitions.bytes <= SWEEP_AT_LEAST_BYTES, "{}", definitions.bytes);
    }
}
