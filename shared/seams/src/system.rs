//! The machine's clock and random source: the only readers of either in the product.

use std::{
    cell::RefCell,
    sync::OnceLock,
    time::{Instant, SystemTime},
};

use crate::{Clock, Entropy, Monotonic, Timestamp};

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "this is the seam that everything else goes through")]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(since.as_micros() as u64)
    }

    fn monotonic(&self) -> Monotonic {
        static START: OnceLock<Instant> = OnceLock::new();
        Monotonic::from_nanos(START.get_or_init(Instant::now).elapsed().as_nanos() as u64)
    }
}

/// The operating system's random source (`getrandom(2)`).
///
/// Small requests are cut from a block that each thread draws ahead, so that a nonce does not cost a system call. What is
/// handed out is erased from the block; a process that forks without `exec` would hand it out twice, and this one never does.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

/// Bytes that a thread draws ahead.
const BLOCK: usize = 1024;
/// Requests above this many bytes are drawn by themselves.
const SMALL: usize = 64;

struct Block {
    bytes: [u8; BLOCK],
    /// Bytes before this one have been handed out.
    used: usize,
}

impl Block {
    fn hand_out(&mut self, out: &mut [u8]) {
        if self.used + out.len() > BLOCK {
            draw(&mut self.bytes);
            self.used = 0;
        }
        let taken = &mut self.bytes[self.used..self.used + out.len()];
        out.copy_from_slice(taken);
        taken.fill(0);
        self.used += out.len();
    }
}

thread_local! {
    static AHEAD: RefCell<Block> = const { RefCell::new(Block { bytes: [0; BLOCK], used: BLOCK }) };
}

#[expect(clippy::disallowed_methods, reason = "this is the seam that everything else goes through")]
fn draw(out: &mut [u8]) {
    if getrandom::fill(out).is_err() {
        // Without randomness every secret made from here on would be guessable; there is no way to continue.
        std::process::abort();
    }
}

impl Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) {
        // A thread that is ending has no block any more.
        if out.len() > SMALL || AHEAD.try_with(|ahead| ahead.borrow_mut().hand_out(out)).is_err() {
            draw(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn nothing_is_handed_out_twice_nor_kept() {
        let mut seen = HashSet::new();
        for len in (8..=SMALL + 8).cycle().take(400) {
            let mut out = vec![0; len];
            SystemEntropy.fill(&mut out);
            assert!(seen.insert(out[..8].to_vec()));
            AHEAD.with_borrow(|block| {
                assert!(block.bytes[..block.used].iter().all(|byte| *byte == 0));
            });
        }
    }

    #[test]
    fn threads_draw_their_own() {
        let draw = || {
            let mut out = [0; 16];
            SystemEntropy.fill(&mut out);
            out
        };
        let others: HashSet<_> = (0..8).map(|_| std::thread::spawn(draw).join().unwrap()).collect();
        assert_eq!(others.len(), 8);
    }
}
