//! How often those may come whom nobody knows. Each replica counts for itself.

use std::{net::IpAddr, time::Duration};

use ids::{AccountId, TenantId};
use limits::{AddressTable, Decision, Rate, address::AddressKey};
use seams::{Entropy, Monotonic};

/// Documents that have not described a client before: from one address, and of one tenant.
const DOCUMENTS: (Rate, Rate) = (Rate { per_minute: 20, burst: 20 }, Rate { per_minute: 60, burst: 120 });
/// Registrations without an initial access token: from one address, and of one tenant.
const REGISTRATIONS: (Rate, Rate) = (Rate { per_minute: 6, burst: 12 }, Rate { per_minute: 30, burst: 60 });
/// Codes of devices that somebody who has signed in types and that are none: of one account, and from one address.
const GUESSES: (Rate, Rate) = (Rate { per_minute: 6, burst: 10 }, Rate { per_minute: 30, burst: 60 });
/// Refusals of one tenant that are recorded.
const REFUSALS: Rate = Rate { per_minute: 30, burst: 60 };
/// Addresses, and tenants, that are remembered.
const REMEMBERED: usize = 16 * 1024;

/// The counts.
#[derive(Debug)]
pub struct Limits {
    documents: Both,
    registrations: Both,
    refusals: AddressTable,
    guesses: Guesses,
}

#[derive(Debug)]
struct Guesses {
    accounts: AddressTable,
    addresses: AddressTable,
}

#[derive(Debug)]
struct Both {
    addresses: AddressTable,
    tenants: AddressTable,
}

fn key(tenant: TenantId) -> AddressKey {
    AddressKey::Name(tenant.uuid().as_u128())
}

fn wait(decision: Decision) -> Result<(), Duration> {
    match decision {
        Decision::Admit { .. } => Ok(()),
        Decision::Refuse { retry_after, .. } => Err(retry_after),
    }
}

impl Both {
    /// Takes one of the address's; and one of the tenant's, if that is admitted.
    fn take(
        &self,
        (of_address, of_tenant): (Rate, Rate),
        tenant: TenantId,
        address: Option<IpAddr>,
        now: Monotonic,
    ) -> Result<(), Duration> {
        if let Some(address) = address {
            wait(self.addresses.try_take(address, now.nanos(), of_address, 1))?;
        }
        wait(self.tenants.try_take(key(tenant), now.nanos(), of_tenant, 1))
    }
}

impl Limits {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(entropy: &dyn Entropy) -> Self {
        let table = || {
            let seed = std::array::from_fn(|_| u64::from_le_bytes(entropy.bytes()));
            AddressTable::new(REMEMBERED, seed)
        };
        let both = || Both { addresses: table(), tenants: table() };
        Self {
            documents: both(),
            registrations: both(),
            refusals: table(),
            guesses: Guesses { accounts: table(), addresses: table() },
        }
    }

    /// Takes one document that has not described a client here before.
    ///
    /// # Errors
    /// How long to wait.
    pub fn unknown_document(
        &self,
        tenant: TenantId,
        address: Option<IpAddr>,
        now: Monotonic,
    ) -> Result<(), Duration> {
        self.documents.take(DOCUMENTS, tenant, address, now)
    }

    /// Takes one registration of somebody for whom nobody vouches.
    ///
    /// # Errors
    /// How long to wait.
    pub fn registration(
        &self,
        tenant: TenantId,
        address: Option<IpAddr>,
        now: Monotonic,
    ) -> Result<(), Duration> {
        self.registrations.take(REGISTRATIONS, tenant, address, now)
    }

    /// Whether this account may type a code of a device now, from there.
    ///
    /// # Errors
    /// How long to wait.
    pub fn may_guess(
        &self,
        account: AccountId,
        address: Option<IpAddr>,
        now: Monotonic,
    ) -> Result<(), Duration> {
        let (of_account, of_address) = GUESSES;
        let account = AddressKey::Name(account.uuid().as_u128());
        wait(self.guesses.accounts.peek(account, now.nanos(), of_account, 1))?;
        let Some(address) = address else { return Ok(()) };
        wait(self.guesses.addresses.peek(address, now.nanos(), of_address, 1))
    }

    /// It was none.
    pub fn guessed(&self, account: AccountId, address: Option<IpAddr>, now: Monotonic) {
        let (of_account, of_address) = GUESSES;
        let account = AddressKey::Name(account.uuid().as_u128());
        self.guesses.accounts.try_take(account, now.nanos(), of_account, 1);
        if let Some(address) = address {
            self.guesses.addresses.try_take(address, now.nanos(), of_address, 1);
        }
    }

    /// Takes one refusal that is recorded.
    ///
    /// # Errors
    /// How long until the next may be.
    pub fn refusal(&self, tenant: TenantId, now: Monotonic) -> Result<(), Duration> {
        wait(self.refusals.try_take(key(tenant), now.nanos(), REFUSALS, 1))
    }
}

#[cfg(test)]
mod tests {
    use seams::SeededEntropy;

    use super::*;

    #[test]
    fn one_address_does_not_use_up_what_a_tenant_has_for_strangers() {
        let limits = Limits::new(&SeededEntropy::new(1));
        let (one, two) = (TenantId::from_parts(1, [1; 10]), TenantId::from_parts(1, [2; 10]));
        let address = |n: u8| Some(IpAddr::from([192, 0, 2, n]));
        let now = Monotonic::from_nanos(1);
        let from =
            |tenant, n: u8| (0..200).filter(|_| limits.registration(tenant, address(n), now).is_ok()).count();
        assert_eq!(from(one, 1), 12);
        assert_eq!(from(one, 2), 12, "another address");
        assert_eq!((3..40).map(|n| from(one, n)).sum::<usize>(), 36, "what is left of the tenant's");
        assert_eq!(from(two, 50), 12, "another tenant");
        assert_eq!((0..200).filter(|_| limits.refusal(one, now).is_ok()).count(), 60);
    }
}
