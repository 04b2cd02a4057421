use seams::SeededEntropy;

use super::*;

mod client;
mod converge;
mod definitions;
mod server;

/// A clock and a random source that a test moves by hand.
struct Stage {
    now: Monotonic,
    entropy: SeededEntropy,
}

impl Stage {
    fn new(seed: u64) -> Self {
        Self { now: Monotonic::from_nanos(1_000_000_000), entropy: SeededEntropy::new(seed) }
    }

    fn context(&self) -> Context<'_> {
        Context {
            now: self.now,
            wall: Timestamp::from_micros(self.now.nanos() / 1_000),
            entropy: &self.entropy,
        }
    }

    fn pass(&mut self, by: Duration) {
        self.now = later(self.now, by);
    }
}

pub(super) fn tenant(n: u64) -> TenantId {
    TenantId::from_parts(1_000 + n, [n as u8; 10])
}

/// A version whose digest depends on tenant and revision.
pub(super) fn stored(tenant: TenantId, rev: u64) -> Version {
    let mut digest = [0; 32];
    digest[..16].copy_from_slice(tenant.uuid().as_bytes());
    digest[16..24].copy_from_slice(&rev.to_le_bytes());
    Version { rev, digest }
}

#[test]
fn jitter_stays_within_a_fifth() {
    let stage = Stage::new(1);
    for _ in 0..1_000 {
        let wait = stage.context().jittered(BEAT);
        assert!((Duration::from_secs(4)..=Duration::from_secs(6)).contains(&wait), "{wait:?}");
    }
}
