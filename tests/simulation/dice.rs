//! Everything random in a run, from its number.

use std::{ops::Range, rc::Rc, time::Duration};

use seams::{Entropy, SeededEntropy};

#[derive(Debug)]
pub(crate) struct Dice(Rc<SeededEntropy>);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Rc::new(SeededEntropy::new(seed)))
    }

    pub(crate) fn entropy(&self) -> Rc<dyn Entropy> {
        self.0.clone()
    }

    /// Uniform in `0..bound`.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        let entropy: &dyn Entropy = &*self.0;
        u64::from_le_bytes(entropy.bytes()) % bound
    }

    pub(crate) fn percent(&self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub(crate) fn millis(&self, range: Range<u64>) -> Duration {
        Duration::from_millis(range.start + self.below(range.end - range.start))
    }

    /// One of them.
    pub(crate) fn pick<'a, T>(&self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}
