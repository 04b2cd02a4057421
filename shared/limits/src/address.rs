//! Buckets for addresses: as many as fit, however many addresses appear.
//!
//! A set-associative table. An address hashes to one set of eight entries; a full set gives its emptiest-handed entry up,
//! the one whose bucket is nearest to full, because forgetting it forgives least. Memory is fixed when the table is
//! made, and no take looks at more than eight entries. The hash is keyed, so nobody can aim at a set.

use std::{fmt, net::IpAddr};

use ahash::RandomState;
use parking_lot::Mutex;

use crate::gcra::{self, Decision, Rate};

const WAYS: usize = 8;
/// Sets to a lock.
const SETS_PER_SHARD: usize = 16;

/// Who is counted together: an IPv4 address, or an IPv6 network of 64 bits, since a single subscriber holds at least one.
/// An IPv4 address mapped into IPv6 is the IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressKey {
    /// The address.
    V4(u32),
    /// The upper 64 bits.
    V6(u64),
    /// Nobody's address: whoever is told apart by a number instead, in a table for those.
    Name(u128),
}

impl From<IpAddr> for AddressKey {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.to_bits()),
            // The shift leaves 64 bits.
            IpAddr::V6(v6) => Self::V6((v6.to_bits() >> 64) as u64),
        }
    }
}

/// A bounded table of buckets by address.
pub struct AddressTable {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
}

#[derive(Clone)]
struct Shard {
    /// Latest time brought to this shard; see [`crate::Bucket`] on time that steps back.
    latest: u64,
    sets: [[Option<Entry>; WAYS]; SETS_PER_SHARD],
}

#[derive(Clone, Copy)]
struct Entry {
    key: AddressKey,
    tat: u64,
}

impl AddressTable {
    /// Room for at least `capacity` addresses, rounded up to a power of two of at least 128. `seed` is random: who knows
    /// it can choose addresses that push each other out.
    #[must_use]
    pub fn new(capacity: usize, seed: [u64; 4]) -> Self {
        let shards = capacity.div_ceil(WAYS * SETS_PER_SHARD).max(1).next_power_of_two();
        let empty = Shard { latest: 0, sets: [[None; WAYS]; SETS_PER_SHARD] };
        let [a, b, c, d] = seed;
        Self {
            shards: (0..shards).map(|_| Mutex::new(empty.clone())).collect(),
            hasher: RandomState::with_seeds(a, b, c, d),
        }
    }

    /// How many addresses fit.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shards.len() * SETS_PER_SHARD * WAYS
    }

    /// What [`Self::try_take`] would answer, taking nothing and remembering nobody.
    #[must_use]
    pub fn peek(&self, address: impl Into<AddressKey>, now_nanos: u64, rate: Rate, cost: u32) -> Decision {
        let key = address.into();
        let hash = self.hasher.hash_one(key) as usize;
        let shard = self.shards[(hash / SETS_PER_SHARD) & (self.shards.len() - 1)].lock();
        let held = shard.sets[hash % SETS_PER_SHARD].iter().flatten().find(|entry| entry.key == key);
        gcra::decide(held.map_or(0, |entry| entry.tat), now_nanos.max(shard.latest), rate, cost)
    }

    /// Takes `cost` units from the bucket of `address`.
    pub fn try_take(
        &self,
        address: impl Into<AddressKey>,
        now_nanos: u64,
        rate: Rate,
        cost: u32,
    ) -> Decision {
        let key = address.into();
        let hash = self.hasher.hash_one(key) as usize;
        let mut shard = self.shards[(hash / SETS_PER_SHARD) & (self.shards.len() - 1)].lock();
        shard.latest = shard.latest.max(now_nanos);
        let now = shard.latest;
        let set = &mut shard.sets[hash % SETS_PER_SHARD];
        let held = set.iter().position(|entry| entry.is_some_and(|entry| entry.key == key));
        let tat = held.and_then(|place| set[place]).map_or(0, |entry| entry.tat);
        let decision = gcra::decide(tat, now, rate, cost);
        if let Decision::Admit { new_tat, .. } = decision {
            // `None` orders before every time, so a free place is taken first.
            let place = held.or_else(|| (0..WAYS).min_by_key(|&place| set[place].map(|entry| entry.tat)));
            if let Some(place) = place {
                set[place] = Some(Entry { key, tat: new_tat });
            }
        }
        decision
    }
}

impl fmt::Debug for AddressTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddressTable").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}
