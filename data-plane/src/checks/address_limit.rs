//! Row 5, address limit: protects the credential check from guessing, and the audit log from a flood of failures.
//!
//! Key: the caller's IPv4 address, or its IPv6 network of 64 bits. Cost: 1 for every failed authentication and every
//! anonymous answer; a request with a good credential costs nothing here, so that many agents may share one address. An
//! address whose bucket is empty is refused before its credential is looked at. Local to this proxy. How much an address has
//! is as the proxy was started, or as the fleet's configuration says.

use std::{net::IpAddr, time::Duration};

use limits::{AddressTable, Decision, Rate};
use seams::Monotonic;

use super::Exchange;
use crate::refuse::Refusal;

/// Addresses remembered at once; about 40 bytes each.
const CAPACITY: usize = 64 * 1024;

/// The buckets of this proxy.
#[derive(Debug)]
pub(crate) struct Addresses {
    table: AddressTable,
    rate: Rate,
}

impl Addresses {
    /// `seed` is random, so that nobody can choose addresses that push each other out.
    pub(crate) fn new(rate: Rate, seed: [u64; 4]) -> Self {
        Self { table: AddressTable::new(CAPACITY, seed), rate }
    }
}

/// Evidence: the address had something left.
#[derive(Debug)]
pub(crate) struct Counted<'a> {
    addresses: &'a Addresses,
    rate: Rate,
    address: IpAddr,
    now: Monotonic,
}

impl Counted<'_> {
    /// Takes one unit: the credential was refused, or the answer needed none.
    pub(crate) fn charge(&self) {
        // Whether one was left decides about the next request, not about this one.
        let _ = self.addresses.table.try_take(self.address, self.now.nanos(), self.rate, 1);
    }
}

/// Checks that the address has something left: of `rate`, where the fleet's configuration has one.
pub(crate) fn check<'a>(
    addresses: &'a Addresses,
    rate: Option<Rate>,
    exchange: &Exchange,
    now: Monotonic,
) -> Result<Counted<'a>, Refusal> {
    let (address, rate) = (exchange.address(), rate.unwrap_or(addresses.rate));
    match addresses.table.peek(address, now.nanos(), rate, 1) {
        Decision::Admit { .. } => Ok(Counted { addresses, rate, address, now }),
        Decision::Refuse { retry_after, .. } => {
            Err(Refusal::AddressLimited { retry_after: at_least(retry_after) })
        }
    }
}

/// A wait of nothing would be an invitation.
fn at_least(wait: Duration) -> Duration {
    wait.max(Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::testing;

    #[test]
    fn failures_use_the_bucket_up_and_time_fills_it() {
        let addresses = Addresses::new(Rate { per_minute: 60, burst: 2 }, [1, 2, 3, 4]);
        let exchange = testing::exchange(Request::post("/acme/tools/mcp"));
        let at = Monotonic::from_nanos;
        for _ in 0..2 {
            check(&addresses, None, &exchange, at(0)).unwrap().charge();
        }
        let Err(Refusal::AddressLimited { retry_after }) = check(&addresses, None, &exchange, at(0)) else {
            panic!("an empty bucket refuses")
        };
        assert_eq!(retry_after, Duration::from_secs(1));
        assert!(check(&addresses, None, &exchange, at(1_000_000_000)).is_ok());
    }

    #[test]
    fn what_is_not_charged_is_free() {
        let addresses = Addresses::new(Rate { per_minute: 60, burst: 1 }, [1, 2, 3, 4]);
        let exchange = testing::exchange(Request::post("/acme/tools/mcp"));
        for _ in 0..10 {
            assert!(check(&addresses, None, &exchange, Monotonic::from_nanos(0)).is_ok());
        }
    }
}
