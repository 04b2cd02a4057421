//! How often something is fetched that strangers name. Each replica counts for itself.
//!
//! By tenant; and by host and by address, so that nobody is asked by us for much, by whichever names and whichever tenants he is named.

use std::net::IpAddr;

use crypto::digest::sha256;
use limits::{AddressTable, Decision, Rate, address::AddressKey};
use seams::{Entropy, Monotonic};

use super::{Asked, FetchError, kind::NamedBy};

/// For one tenant.
const OF_TENANT: Rate = Rate { per_minute: 120, burst: 240 };
/// From one host, for all tenants: a client's document is asked for once a minute and tenant at most.
const OF_HOST: Rate = Rate { per_minute: 240, burst: 240 };
/// From one address, behind which there may be many hosts.
const OF_ADDRESS: Rate = Rate { per_minute: 1_200, burst: 600 };
/// Of each, so many are remembered.
const REMEMBERED: usize = 4 * 1024;

#[derive(Debug)]
pub(super) struct Rates {
    tenants: AddressTable,
    hosts: AddressTable,
    addresses: AddressTable,
}

impl Rates {
    pub(super) fn new(entropy: &dyn Entropy) -> Self {
        let table = || {
            let seed = std::array::from_fn(|_| u64::from_le_bytes(entropy.bytes()));
            AddressTable::new(REMEMBERED, seed)
        };
        Self { tenants: table(), hosts: table(), addresses: table() }
    }

    /// Takes one fetch.
    pub(super) fn take(&self, asked: &Asked, now: Monotonic) -> Result<(), FetchError> {
        if asked.kind.named_by() == NamedBy::Admin {
            return Ok(());
        }
        let tenant = AddressKey::Name(asked.tenant.uuid().as_u128());
        admitted(self.tenants.try_take(tenant, now.nanos(), OF_TENANT, 1))?;
        let host = sha256(asked.host().as_bytes());
        let host = host.first_chunk().map_or(0, |half| u128::from_be_bytes(*half));
        admitted(self.hosts.try_take(AddressKey::Name(host), now.nanos(), OF_HOST, 1))
    }

    /// Takes one connection to an address.
    pub(super) fn dial(&self, asked: &Asked, address: IpAddr, now: Monotonic) -> Result<(), FetchError> {
        if asked.kind.named_by() == NamedBy::Admin {
            return Ok(());
        }
        admitted(self.addresses.try_take(address, now.nanos(), OF_ADDRESS, 1))
    }
}

fn admitted(decision: Decision) -> Result<(), FetchError> {
    match decision {
        Decision::Admit { .. } => Ok(()),
        Decision::Refuse { .. } => Err(FetchError::Crowded),
    }
}

#[cfg(test)]
mod tests {
    use ids::TenantId;
    use seams::SeededEntropy;

    use super::*;
    use crate::fetch::Kind;

    #[test]
    fn what_strangers_name_is_counted_by_tenant_host_and_address() {
        let rates = Rates::new(&SeededEntropy::new(1));
        let asked = |tenant: u8, host: usize, kind| {
            let url = format!("https://h{host}.example/{tenant}").parse().unwrap();
            Asked { tenant: TenantId::from_parts(1, [tenant; 10]), kind, url, rules: None }
        };
        let now = Monotonic::from_nanos(1);
        let taken = |asks: &mut dyn Iterator<Item = Asked>| {
            asks.take_while(|one| rates.take(one, now).is_ok()).count()
        };
        assert_eq!(taken(&mut (0..999).map(|host| asked(1, host, Kind::ClientMetadata))), 240);
        assert!(rates.take(&asked(1, 1, Kind::ClientKeys), now).is_err());
        assert!(rates.take(&asked(1, 1, Kind::IssuerKeys), now).is_ok(), "an administrator's is not counted");
        let of_host = (0..999).map(|n| asked((2 + n % 9) as u8, 5_000, Kind::ClientMetadata));
        assert_eq!(taken(&mut of_host.into_iter()), 240);
        let minute = Monotonic::from_nanos(60_000_000_000);
        assert!(rates.take(&asked(1, 1, Kind::ClientMetadata), minute).is_ok());
        let dialled = |asked: &Asked, host: u8| {
            (0..999).take_while(|_| rates.dial(asked, [192, 0, 2, host].into(), now).is_ok()).count()
        };
        assert_eq!(dialled(&asked(1, 1, Kind::ClientMetadata), 1), 600);
        assert_eq!(dialled(&asked(2, 2, Kind::ClientMetadata), 1), 0);
        assert_eq!(dialled(&asked(1, 1, Kind::ClientMetadata), 2), 600);
        assert_eq!(dialled(&asked(1, 1, Kind::IssuerKeys), 1), 999);
    }
}
