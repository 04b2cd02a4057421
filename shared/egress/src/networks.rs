use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

use crate::{
    Class, NonPublic, classify,
    rules::{RuleError, network_of},
};

/// A network that an operator named, whatever the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(IpNet);

impl FromStr for Network {
    type Err = RuleError;

    /// Parses canonical CIDR; a single address is `/32` or `/128`.
    fn from_str(text: &str) -> Result<Self, RuleError> {
        network_of(text).map(Self)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Networks that an operator named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Box<[Network]>);

impl Networks {
    /// These.
    #[must_use]
    pub fn new(networks: impl IntoIterator<Item = Network>) -> Self {
        Self(networks.into_iter().collect())
    }

    /// Whether one of them has this address; metadata services are in none. An IPv4-mapped IPv6 address is looked up as its IPv4
    /// address.
    #[must_use]
    pub fn permit(&self, ip: IpAddr) -> bool {
        let metadata = matches!(classify(ip), Class::NonPublic(NonPublic::Metadata));
        let ip = ip.to_canonical();
        !metadata && self.0.iter().any(|network| network.0.contains(&ip))
    }
}
