//! How often one may try to sign in. Each replica counts for itself.
//!
//! Passwords can be guessed, so tries are few. An address has its own; an account that is tried from everywhere is closed to addresses
//! that have failed with it, and to no others, so that nobody keeps its owner out by guessing. A pair of both has the fewest.

use std::{fmt, net::IpAddr, time::Duration};

use crypto::{Zeroizing, digest::HmacKey};
use limits::{AddressTable, Decision, Rate, address::AddressKey};
use seams::{Entropy, Monotonic};

use crate::hashing::Hashing;

/// Tries from one address, good or not: many people may share it, and each of them costs a hash.
const OF_ADDRESS: Rate = Rate { per_minute: 30, burst: 30 };
/// Failures with one account, from everywhere.
const OF_ACCOUNT: Rate = Rate { per_minute: 10, burst: 20 };
/// Failures with one account from one address.
const OF_PAIR: Rate = Rate { per_minute: 2, burst: 6 };
/// Addresses, accounts and pairs that are remembered.
const REMEMBERED: usize = 16 * 1024;

/// The counts, and the turns for hashing what people type: others than those of clients, whom they do not hold up.
pub struct SignIns {
    addresses: AddressTable,
    accounts: AddressTable,
    pairs: AddressTable,
    /// By a keyed hash, so that nobody can choose two accounts that are counted as one.
    key: HmacKey,
    pub(super) hashing: Hashing,
}

impl SignIns {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(entropy: &dyn Entropy) -> Self {
        let table =
            || AddressTable::new(REMEMBERED, std::array::from_fn(|_| u64::from_le_bytes(entropy.bytes())));
        let key = Zeroizing::new(entropy.bytes::<32>());
        Self {
            addresses: table(),
            accounts: table(),
            pairs: table(),
            key: HmacKey::new(key.as_slice()),
            hashing: Hashing::default(),
        }
    }

    fn name(&self, parts: &[&[u8]]) -> AddressKey {
        let mac = self.key.mac(parts);
        AddressKey::Name(u128::from_le_bytes(std::array::from_fn(|n| mac[n])))
    }

    fn account(&self, email: &str) -> AddressKey {
        self.name(&[b"account", email.as_bytes()])
    }

    fn pair(&self, address: IpAddr, email: &str) -> AddressKey {
        let from = match AddressKey::from(address) {
            AddressKey::V4(bits) => u64::from(bits).to_le_bytes(),
            AddressKey::V6(bits) => bits.to_le_bytes(),
            AddressKey::Name(_) => [0; 8],
        };
        self.name(&[b"pair", &from, email.as_bytes()])
    }

    /// Takes a try from the address with this account.
    ///
    /// # Errors
    /// How long to wait.
    pub(super) fn take(&self, address: Option<IpAddr>, email: &str, now: Monotonic) -> Result<(), Duration> {
        let Some(address) = address else { return Ok(()) };
        let now = now.nanos();
        let pair = self.pair(address, email);
        wait(self.pairs.peek(pair, now, OF_PAIR, 1))?;
        if let Err(retry_after) = wait(self.accounts.peek(self.account(email), now, OF_ACCOUNT, 1)) {
            // Whoever has not failed with it has nothing to do with it.
            wait(self.pairs.peek(pair, now, OF_PAIR, OF_PAIR.burst)).map_err(|_| retry_after)?;
        }
        wait(self.addresses.try_take(address, now, OF_ADDRESS, 1))
    }

    /// The try failed.
    pub(super) fn failed(&self, address: Option<IpAddr>, email: &str, now: Monotonic) {
        if let Some(address) = address {
            self.pairs.try_take(self.pair(address, email), now.nanos(), OF_PAIR, 1);
        }
        self.accounts.try_take(self.account(email), now.nanos(), OF_ACCOUNT, 1);
    }
}

fn wait(decision: Decision) -> Result<(), Duration> {
    match decision {
        Decision::Admit { .. } => Ok(()),
        Decision::Refuse { retry_after, .. } => Err(retry_after),
    }
}

impl fmt::Debug for SignIns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignIns(…)")
    }
}

#[cfg(test)]
mod tests {
    use seams::SeededEntropy;

    use super::*;

    #[test]
    fn who_guesses_a_password_from_everywhere_waits_and_its_owner_does_not() {
        let attempts = SignIns::new(&SeededEntropy::new(1));
        let now = Monotonic::from_nanos(1);
        let address = |n: u8| Some(IpAddr::from([192, 0, 2, n]));
        let fail = |n: u8, email: &str| {
            let tried = attempts.take(address(n), email, now);
            attempts.failed(address(n), email, now);
            tried
        };
        for _ in 0..6 {
            assert_eq!(fail(1, "ann@example.com"), Ok(()));
        }
        assert!(fail(1, "ann@example.com").is_err(), "six times from one address");
        assert_eq!(attempts.take(address(1), "bob@example.com", now), Ok(()), "somebody else there");
        for n in 2..30 {
            assert_eq!(fail(n, "ann@example.com"), Ok(()), "each is new");
        }
        assert!(fail(2, "ann@example.com").is_err(), "it has failed, and too many have");
        assert_eq!(attempts.take(address(200), "ann@example.com", now), Ok(()), "its owner, from elsewhere");
        for n in 0..30 {
            let tried = attempts.take(address(201), &format!("p{n}@example.com"), now);
            assert_eq!(tried, Ok(()));
        }
        assert!(attempts.take(address(201), "q@example.com", now).is_err(), "an address that tries many");
    }
}
