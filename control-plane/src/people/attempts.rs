//! How often one may try to sign in. Each replica counts for itself.
//!
//! Passwords can be guessed, so tries are few. An address has its own; an account that is tried from everywhere is closed to addresses
//! that have tried it lately, and to no others, so that nobody keeps its owner out by guessing. A pair of both has the fewest.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use crypto::{Zeroizing, digest::HmacKey};
use ids::MemberId;
use limits::{AddressTable, Decision, Rate, address::AddressKey};
use seams::{Entropy, Monotonic};

use crate::hashing::Hashing;

/// Tries from one address, good or not: many people may share it, and each of them costs a hash.
const OF_ADDRESS: Rate = Rate { per_minute: 30, burst: 30 };
/// Tries with one account, from everywhere.
const OF_ACCOUNT: Rate = Rate { per_minute: 10, burst: 30 };
/// Tries with one account from one address.
const OF_PAIR: Rate = Rate { per_minute: 2, burst: 10 };
/// Looks of one address for sessions and invitations that there are none of.
const OF_STRANGER: Rate = Rate { per_minute: 120, burst: 240 };
/// Codes that one member gives: each is a record in the tenant's log.
const OF_MEMBER: Rate = Rate { per_minute: 60, burst: 60 };
/// Addresses, accounts and pairs that are remembered.
const REMEMBERED: usize = 16 * 1024;

/// The counts, and the turns for hashing what people type: others than those of clients, whom they do not hold up.
pub struct SignIns {
    addresses: AddressTable,
    accounts: AddressTable,
    pairs: AddressTable,
    members: AddressTable,
    strangers: AddressTable,
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
            members: table(),
            strangers: table(),
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

    /// Takes a try from the address with this account, before anything is hashed for it: those that come at once are as many as those
    /// that come one after another. Says whether it is to be recorded: of an account that is tried from everywhere not all are.
    ///
    /// # Errors
    /// How long to wait.
    pub(super) fn take(
        &self,
        address: Option<IpAddr>,
        email: &str,
        now: Monotonic,
    ) -> Result<bool, Duration> {
        // Whoever comes from nowhere is one of those.
        let address = address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        let now = now.nanos();
        let (pair, account) = (self.pair(address, email), self.account(email));
        wait(self.addresses.peek(address, now, OF_ADDRESS, 1))?;
        let open = wait(self.accounts.try_take(account, now, OF_ACCOUNT, 1));
        if open.is_err() {
            // Whoever has not tried it lately has nothing to do with it.
            wait(self.pairs.peek(pair, now, OF_PAIR, OF_PAIR.burst))?;
        }
        wait(self.pairs.try_take(pair, now, OF_PAIR, 1))?;
        wait(self.addresses.try_take(address, now, OF_ADDRESS, 1))?;
        Ok(open.is_ok())
    }

    /// Takes one look for what nobody has been given, such as a session that has ended.
    ///
    /// # Errors
    /// How long to wait.
    pub(super) fn unknown(&self, address: Option<IpAddr>, now: Monotonic) -> Result<(), Duration> {
        let address = address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        wait(self.strangers.try_take(address, now.nanos(), OF_STRANGER, 1))
    }

    /// Takes one code that a member gives to a client.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn code(&self, member: MemberId, now: Monotonic) -> Result<(), Duration> {
        let member = self.name(&[b"member", member.uuid().as_bytes()]);
        wait(self.members.try_take(member, now.nanos(), OF_MEMBER, 1))
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
        for _ in 0..10 {
            assert_eq!(attempts.take(address(1), "ann@example.com", now), Ok(true));
        }
        assert!(attempts.take(address(1), "ann@example.com", now).is_err(), "ten times from one address");
        assert_eq!(attempts.take(address(1), "bob@example.com", now), Ok(true), "somebody else there");
        for n in 2..60 {
            let tried = attempts.take(address(n), "ann@example.com", now);
            assert_eq!(tried.map(|recorded| recorded || n > 10), Ok(true), "each is new");
        }
        assert!(
            attempts.take(address(2), "ann@example.com", now).is_err(),
            "it has tried, and too many have"
        );
        let owner = attempts.take(address(200), "ann@example.com", now);
        assert_eq!(owner, Ok(false), "its owner, from elsewhere; not each of so many is recorded");
        for n in 0..30 {
            assert_eq!(attempts.take(address(201), &format!("p{n}@example.com"), now), Ok(true));
        }
        assert!(attempts.take(address(201), "q@example.com", now).is_err(), "an address that tries many");
        for _ in 0..10 {
            attempts.take(None, "cy@example.com", now).unwrap();
        }
        assert!(attempts.take(None, "cy@example.com", now).is_err(), "who comes from nowhere is counted too");
    }
}
