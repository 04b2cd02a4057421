//! How often one may present what is no credential, and how often ask with one that is. Each replica counts for itself.
//!
//! Guessing 190 random bits is hopeless; this bounds what it costs us, without a way for those who guess to keep out those who need
//! not: an address that fails too often waits; a client whose secrets are guessed from everywhere is closed to addresses that
//! have failed lately, and to no others; and a secret that was good here before is never counted.

use std::{collections::HashSet, fmt, net::IpAddr, time::Duration};

use crypto::digest::HmacKey;
use ids::{ClientId, TenantId};
use limits::{AddressTable, Decision, Rate, address::AddressKey};
use parking_lot::Mutex;
use seams::{Entropy, Monotonic};

/// Failures of one address: one each second, and so many at once.
const OF_ADDRESS: Rate = Rate { per_minute: 60, burst: 30 };
/// Failures with one client's name, from everywhere.
const OF_CLIENT: Rate = Rate { per_minute: 60, burst: 60 };
/// Requests of one client that authenticates: each is a record in its tenant's log.
const REQUESTS: Rate = Rate { per_minute: 120, burst: 240 };
/// Requests of one address in the name of clients that prove nothing.
const OF_STRANGER: Rate = Rate { per_minute: 120, burst: 240 };
/// Addresses, and clients, that are remembered.
const REMEMBERED: usize = 16 * 1024;
/// Credentials remembered that were good here.
const GOOD: usize = 16 * 1024;

/// Who is counted: a client of a tenant, whether or not there is one.
#[derive(Debug, Clone, Copy)]
pub struct Named {
    /// The tenant.
    pub tenant: TenantId,
    /// The client; `None`: what was presented is no client's id.
    pub client: Option<ClientId>,
}

impl Named {
    /// Ids are random enough that two of them differ in their sum too.
    fn key(self) -> AddressKey {
        let client = self.client.map_or(0, |client| client.uuid().as_u128());
        AddressKey::Name(self.tenant.uuid().as_u128().wrapping_add(client.rotate_left(1)))
    }
}

/// The counts.
pub struct Attempts {
    addresses: AddressTable,
    clients: AddressTable,
    requests: AddressTable,
    strangers: AddressTable,
    /// By a keyed hash, with a key that nobody else has and that ends with the process.
    good: Mutex<HashSet<[u8; 32]>>,
    key: HmacKey,
}

impl Attempts {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(entropy: &dyn Entropy) -> Self {
        let table = || {
            let seed = std::array::from_fn(|_| u64::from_le_bytes(entropy.bytes()));
            AddressTable::new(REMEMBERED, seed)
        };
        let key = crypto::Zeroizing::new(entropy.bytes::<32>());
        Self {
            addresses: table(),
            clients: table(),
            requests: table(),
            strangers: table(),
            good: Mutex::default(),
            key: HmacKey::new(key.as_slice()),
        }
    }

    /// Whether a credential may be presented now of which nothing is known.
    ///
    /// # Errors
    /// How long to wait.
    pub fn may(&self, address: Option<IpAddr>, named: Named, now: Monotonic) -> Result<(), Duration> {
        let Some(address) = address else { return Ok(()) };
        let now = now.nanos();
        wait(self.addresses.peek(address, now, OF_ADDRESS, 1))?;
        let Err(retry_after) = wait(self.clients.peek(named.key(), now, OF_CLIENT, 1)) else { return Ok(()) };
        // Whoever has failed nowhere has nothing to do with it.
        wait(self.addresses.peek(address, now, OF_ADDRESS, OF_ADDRESS.burst)).map_err(|_| retry_after)
    }

    /// What was presented was no credential of the client.
    pub fn failed(&self, address: Option<IpAddr>, named: Named, now: Monotonic) {
        if let Some(address) = address {
            self.addresses.try_take(address, now.nanos(), OF_ADDRESS, 1);
        }
        self.clients.try_take(named.key(), now.nanos(), OF_CLIENT, 1);
    }

    /// Takes one request of a client that is authenticated.
    ///
    /// # Errors
    /// How long to wait.
    pub fn request(&self, named: Named, now: Monotonic) -> Result<(), Duration> {
        wait(self.requests.try_take(named.key(), now.nanos(), REQUESTS, 1))
    }

    /// Takes one request of somebody who says to be a client that can prove nothing.
    ///
    /// # Errors
    /// How long to wait.
    pub fn stranger(&self, address: Option<IpAddr>, now: Monotonic) -> Result<(), Duration> {
        let Some(address) = address else { return Ok(()) };
        wait(self.strangers.try_take(address, now.nanos(), OF_STRANGER, 1))
    }

    /// What a client's secret is remembered by.
    #[must_use]
    pub fn digest(&self, named: Named, secret: &str) -> [u8; 32] {
        let client = named.client.map(|client| *client.uuid().as_bytes()).unwrap_or_default();
        self.key.mac(&[named.tenant.uuid().as_bytes(), &client, secret.as_bytes()])
    }

    /// Whether it was good here before. It may have ended since.
    #[must_use]
    pub fn was_good(&self, digest: &[u8; 32]) -> bool {
        self.good.lock().contains(digest)
    }

    /// It is good no more.
    pub fn forget(&self, digest: &[u8; 32]) {
        self.good.lock().remove(digest);
    }

    /// It is good.
    pub fn is_good(&self, digest: [u8; 32]) {
        let mut good = self.good.lock();
        if good.len() >= GOOD {
            good.clear();
        }
        good.insert(digest);
    }
}

fn wait(decision: Decision) -> Result<(), Duration> {
    match decision {
        Decision::Admit { .. } => Ok(()),
        Decision::Refuse { retry_after, .. } => Err(retry_after),
    }
}

impl fmt::Debug for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attempts(…)")
    }
}

#[cfg(test)]
mod tests {
    use seams::SeededEntropy;

    use super::*;

    #[test]
    fn who_guesses_a_clients_secret_from_everywhere_does_not_keep_it_out() {
        let attempts = Attempts::new(&SeededEntropy::new(1));
        let tenant = TenantId::from_parts(1, [1; 10]);
        let named = |n: u8| Named { tenant, client: Some(ClientId::from_parts(1, [n; 10])) };
        let (now, address) = (Monotonic::from_nanos(1), |n: u8| Some(IpAddr::from([192, 0, 2, n])));
        for n in 0..60 {
            assert_eq!(attempts.may(address(n), named(1), now), Ok(()));
            attempts.failed(address(n), named(1), now);
        }
        assert!(attempts.may(address(1), named(1), now).is_err(), "it has failed, and too many have");
        assert_eq!(attempts.may(address(200), named(1), now), Ok(()), "from elsewhere");
        assert_eq!(attempts.may(address(1), named(2), now), Ok(()), "another client");
        for _ in 0..30 {
            attempts.failed(address(201), named(3), now);
        }
        assert!(attempts.may(address(201), named(2), now).is_err(), "an address that fails too often");
    }
}
