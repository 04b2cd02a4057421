//! Definitions of tools, each held once however many tenants and revisions have it.

use std::fmt;

use bytes::Bytes;
use hashbrown::HashSet;

/// Below so many nothing is looked through for what is no longer used.
const SWEEP_AT_LEAST: usize = 1_024;

/// Definitions by their bytes. Those of a popular server are the same for every tenant that uses it, and those of one tenant are
/// the same from revision to revision: without this each tenant's snapshot, of which a definition is a slice, would stay in
/// memory whole.
pub(super) struct Definitions {
    held: HashSet<Bytes, ahash::RandomState>,
    sweep_at: usize,
}

impl Default for Definitions {
    fn default() -> Self {
        Self { held: HashSet::default(), sweep_at: SWEEP_AT_LEAST }
    }
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
        if let Some(held) = self.held.get(definition.as_ref()) {
            return held.clone();
        }
        if self.held.len() >= self.sweep_at {
            // Nobody but this set has it: no index uses it any more.
            self.held.retain(|held| !held.is_unique());
            self.sweep_at = (2 * self.held.len()).max(SWEEP_AT_LEAST);
        }
        let own = Bytes::copy_from_slice(definition);
        self.held.insert(own.clone());
        own
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
    }
}
