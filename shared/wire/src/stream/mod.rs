//! The two ends of the configuration stream as state machines without I/O.
//!
//! A machine is fed [`server::Input`]s or [`client::Input`]s together with a [`Context`] (time and randomness) and
//! answers with outputs that the plane's driver carries out: send this message, load that snapshot, apply, reconnect.
//! Nothing here reads a clock, opens a socket or waits, so that a simulation can run thousands of streams in one thread.
//!
//! Promises, each with a test: both ends converge on the newest stored revision of every tenant, whatever is lost and
//! whoever restarts; a tenant whose snapshot is refused delays no other; a revision never goes back; at most one
//! `Replace`, `Delta` or `Remove` per tenant is unacknowledged.
//!
//! A proxy that is known to hold a stored revision is sent what changed since. Where that does not fit what it really
//! holds, it says `Need` and is sent the whole tenant. Beats carry [`Buckets`] of what the proxy holds: the two ends
//! notice when they have come apart and repair the tenants concerned, and no others.
//!
//! Definitions of tools are most of a tenant, and the same for all that use a server: each goes over a stream once, and not at
//! all where the proxy said that it holds it. What refers to one that is not there after all is answered with `Need` too.
//!
//! One of the tenants is none: [`crate::global::SCOPE`], configuration of the fleet. Which of its revisions a proxy is to have
//! its driver says, as of any tenant; a proxy of an earlier build is not sent it.

mod buckets;
pub mod client;
pub mod server;

use std::{ops::RangeInclusive, time::Duration};

use ids::{TenantId, Uuid};
use seams::{Entropy, Monotonic, Timestamp};

pub use buckets::{BUCKETS, Buckets};

/// Time and randomness for one step of a machine.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// For durations.
    pub now: Monotonic,
    /// For what is told to the other side.
    pub wall: Timestamp,
    /// For jitter.
    pub entropy: &'a dyn Entropy,
}

/// A revision of a tenant with the digest of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    /// Gapless per tenant, from 1.
    pub rev: u64,
    /// SHA-256 over the sorted (resource id, SHA-256 of the resource's bytes).
    pub digest: [u8; 32],
}

/// Both ends send a `Beat` this often, ±20 %.
pub const BEAT: Duration = Duration::from_secs(5);

/// A peer that has said nothing for this long is taken for dead; also the lease of a proxy.
pub const LEASE_TTL: Duration = Duration::from_secs(15);

/// The snapshot schemas this build writes and reads.
pub const SCHEMAS: RangeInclusive<u32> = 1..=crate::snapshot::SCHEMA;

/// What this build says and reads: `Hello.protocol`.
const PROTOCOL: u32 = 3;

/// From which protocol on a proxy takes the global scope.
pub const TAKES_GLOBAL: u32 = 2;

/// From which protocol on a proxy keeps definitions, and takes what they are cut out of.
const KEEPS_DEFINITIONS: u32 = 3;

/// So many bytes of a definition's address are said in `Hello`.
pub const ADDRESS_SHOWN: usize = 8;

/// A snapshot larger than this goes in parts, bytes.
pub const CHUNK: usize = 1 << 20;

impl Context<'_> {
    fn after(&self, wait: Duration) -> Monotonic {
        later(self.now, wait)
    }

    /// Uniform in `0..=most`.
    fn up_to(&self, most: Duration) -> Duration {
        let bound = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX - 1);
        Duration::from_nanos(u64::from_le_bytes(self.entropy.bytes()) % (bound + 1))
    }

    /// `around` ±20 %.
    fn jittered(&self, around: Duration) -> Duration {
        around * 4 / 5 + self.up_to(around * 2 / 5)
    }
}

fn later(at: Monotonic, by: Duration) -> Monotonic {
    let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
    Monotonic::from_nanos(at.nanos().saturating_add(nanos))
}

/// The tenant id in a message, if it is one.
fn tenant_id(bytes: &[u8]) -> Option<TenantId> {
    Uuid::from_slice(bytes).ok().map(TenantId::from_uuid)
}

fn version(rev: u64, digest: &[u8]) -> Option<Version> {
    Some(Version { rev, digest: digest.try_into().ok()? })
}

#[cfg(test)]
mod tests;
