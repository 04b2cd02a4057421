//! The definitions of tools that a proxy holds, as far as one stream knows.

use std::collections::BTreeSet;

use crate::{snapshot::definitions::Address, stream::ADDRESS_SHOWN};

/// So many are remembered of one stream. Those of a fleet's popular servers are far fewer; where there are more, all are
/// forgotten, and sent once more.
const MOST: usize = 1 << 16;

/// By the first bytes of their addresses. What is here and not there is asked for with `Need`: that a proxy no longer uses a
/// definition is told to nobody.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeSet<[u8; ADDRESS_SHOWN]>);

impl Known {
    /// As the proxy says.
    pub(super) fn said(&mut self, packed: &[u8]) {
        let (addresses, _) = packed.as_chunks();
        self.0.extend(addresses.iter().take(MOST));
    }

    /// The proxy is given this one; `false` when it has it.
    pub(super) fn learn(&mut self, address: &Address) -> bool {
        if self.0.len() >= MOST {
            self.0.clear();
        }
        address.first_chunk().is_some_and(|shown| self.0.insert(*shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_remembered_and_then_learnt_anew() {
        let address = |n: usize| {
            let mut address = [0; 32];
            address[..8].copy_from_slice(&n.to_be_bytes());
            address
        };
        let mut known = Known::default();
        known.said(&address(0)[..8]);
        assert!(!known.learn(&address(0)));
        for n in 1..MOST {
            assert!(known.learn(&address(n)));
        }
        assert!(known.learn(&address(0)), "forgotten with all others");
        assert_eq!(known.0.len(), 1);
    }
}
