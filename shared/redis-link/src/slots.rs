//! Which parts of a cluster are away. A node that is gone takes its slots with it, and no others.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use parking_lot::Mutex;
pub(crate) use redis::cluster_routing::Slot;

/// Slots in which a call failed, until the keeper finds their node well.
#[derive(Default)]
pub(crate) struct Slots {
    away: Mutex<HashSet<Slot>>,
    /// Spares everybody the lock while all is well.
    any: AtomicBool,
    turn: AtomicUsize,
}

impl Slots {
    pub(crate) fn is_away(&self, slot: Slot) -> bool {
        self.any.load(Ordering::Acquire) && self.away.lock().contains(&slot)
    }

    pub(crate) fn set_away(&self, slot: Slot) {
        self.away.lock().insert(slot);
        self.any.store(true, Ordering::Release);
    }

    pub(crate) fn is_back(&self, slot: Slot) {
        let mut away = self.away.lock();
        away.remove(&slot);
        self.any.store(!away.is_empty(), Ordering::Release);
    }

    /// Some of those that are away, other ones each time: as many of one dead node are not to hide another's.
    pub(crate) fn away(&self, most: usize) -> Vec<Slot> {
        if !self.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut away: Vec<_> = self.away.lock().iter().copied().collect();
        let begin = self.turn.fetch_add(most, Ordering::Relaxed) % away.len().max(1);
        away.rotate_left(begin);
        away.truncate(most);
        away
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_keys_are_in_one_slot_and_others_are_not_away_with_it() {
        let slots = Slots::default();
        let slot = Slot::for_key("{tnt_1}:limit:tenant:calls");
        assert_eq!(slot, Slot::for_key("{tnt_1}:limit:cl_1:running"));
        let other = Slot::for_key("{tnt_2}:limit:cl_1:running");
        slots.set_away(slot);
        assert!(slots.is_away(slot) && !slots.is_away(other));
        slots.set_away(other);
        slots.is_back(slot);
        assert!(!slots.is_away(slot) && slots.is_away(other));
        assert_eq!(slots.away(9), [other]);
        // All have their turn.
        slots.set_away(slot);
        let looked_at: HashSet<_> = (0..2).flat_map(|_| slots.away(1)).collect();
        assert_eq!(looked_at, HashSet::from([slot, other]));
    }
}
