//! Refusals of callers nobody knows, counted: a flood of them costs one record a second for each endpoint, network and
//! reason, not one each.

use std::net::IpAddr;

use errors::ErrorCode;
use hashbrown::HashMap;
use ids::{EndpointId, TenantId};
use ipnet::IpNet;
use parking_lot::Mutex;

/// Groups kept at once. What does not fit is counted without its network.
const MAX_GROUPS: usize = 4096;

/// What is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) tenant: TenantId,
    pub(super) endpoint: EndpointId,
    /// /24 of an IPv4 address, /64 of an IPv6 address; `None` for the overflow.
    pub(super) network: Option<IpNet>,
    pub(super) code: ErrorCode,
}

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    pub(super) count: u64,
    pub(super) rev: u64,
}

/// Counts since the last flush.
#[derive(Debug, Default)]
pub(super) struct Aggregates(Mutex<HashMap<Key, Tally, ahash::RandomState>>);

impl Aggregates {
    pub(super) fn count(
        &self,
        tenant: TenantId,
        rev: u64,
        endpoint: EndpointId,
        address: IpAddr,
        code: ErrorCode,
    ) {
        let mut groups = self.0.lock();
        let mut key = Key { tenant, endpoint, network: Some(network_of(address)), code };
        if groups.len() >= MAX_GROUPS && !groups.contains_key(&key) {
            key.network = None;
        }
        let tally = groups.entry(key).or_default();
        tally.count += 1;
        tally.rev = rev;
    }

    /// Takes all counts.
    pub(super) fn take(&self) -> Vec<(Key, Tally)> {
        let mut groups = self.0.lock();
        if groups.is_empty() { Vec::new() } else { groups.drain().collect() }
    }
}

fn network_of(address: IpAddr) -> IpNet {
    let address = address.to_canonical();
    let prefix = if address.is_ipv4() { 24 } else { 64 };
    // Both prefixes are within the address families' lengths.
    IpNet::new(address, prefix).map_or(IpNet::from(address), |network| network.trunc())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn key(n: u8) -> (TenantId, EndpointId) {
        (TenantId::from_parts(1, [n; 10]), EndpointId::from_parts(1, [n; 10]))
    }

    #[test]
    fn neighbours_and_mapped_addresses_are_counted_together() {
        let aggregates = Aggregates::default();
        let (tenant, endpoint) = key(1);
        for address in ["192.0.2.1", "192.0.2.200", "::ffff:192.0.2.7"] {
            aggregates.count(tenant, 3, endpoint, address.parse().unwrap(), ErrorCode::CredentialInvalid);
        }
        for address in ["2001:db8::1", "2001:db8::2:1"] {
            aggregates.count(tenant, 3, endpoint, address.parse().unwrap(), ErrorCode::CredentialInvalid);
        }
        let mut taken: Vec<_> = aggregates
            .take()
            .into_iter()
            .map(|(key, tally)| (key.network.unwrap().to_string(), tally.count))
            .collect();
        taken.sort();
        assert_eq!(taken, [("192.0.2.0/24".to_owned(), 3), ("2001:db8::/64".to_owned(), 2)]);
        assert!(aggregates.take().is_empty());
    }

    #[test]
    fn a_flood_from_everywhere_is_bounded_and_still_counted() {
        let aggregates = Aggregates::default();
        let (tenant, endpoint) = key(1);
        let total = 3 * MAX_GROUPS as u32;
        for i in 0..total {
            let address = IpAddr::V4(Ipv4Addr::from(i << 8));
            aggregates.count(tenant, 3, endpoint, address, ErrorCode::CredentialMissing);
        }
        let taken = aggregates.take();
        assert_eq!(taken.len(), MAX_GROUPS + 1);
        assert_eq!(taken.iter().map(|(_, tally)| tally.count).sum::<u64>(), u64::from(total));
    }
}
