use std::{fmt, net::IpAddr};

use ipnet::IpNet;

use crate::{Class, NonPublic, classify};

/// A destination an operator allowed: one network, one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rule {
    network: IpNet,
    port: u16,
}

/// Why a rule cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Not `address/prefix`.
    #[error("not a network in CIDR form, such as 10.1.2.0/24")]
    Network,
    /// Bits are set to the right of the prefix: the author may have meant another network.
    #[error("address has bits set outside its prefix")]
    HostBits,
    /// 0, or above 65 535.
    #[error("port must be 1 to 65535")]
    Port,
    /// Metadata services give out the machine's own credentials.
    #[error("covers a cloud metadata address, which cannot be allowed")]
    Metadata,
}

impl Rule {
    /// Parses `network` (canonical CIDR; a single address is `/32` or `/128`).
    ///
    /// # Errors
    /// See [`RuleError`].
    pub fn new(network: &str, port: u32) -> Result<Self, RuleError> {
        let network = network_of(network)?;
        let port = u16::try_from(port).ok().filter(|port| *port != 0).ok_or(RuleError::Port)?;
        Ok(Self { network, port })
    }

    /// The network.
    #[must_use]
    pub const fn network(&self) -> IpNet {
        self.network
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

/// A network as an operator may name one.
pub(crate) fn network_of(text: &str) -> Result<IpNet, RuleError> {
    let network: IpNet = text.parse().map_err(|_| RuleError::Network)?;
    if network.trunc() != network {
        return Err(RuleError::HostBits);
    }
    if matches!(classify(network.addr()), Class::NonPublic(NonPublic::Metadata)) {
        return Err(RuleError::Metadata);
    }
    Ok(network)
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} port {}", self.network, self.port)
    }
}

/// Why a destination is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{} addresses are not allowed", .kind.as_str())]
pub struct Refused {
    /// What the address is.
    pub kind: NonPublic,
}

/// A tenant's rules.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Rules(Box<[Rule]>);

impl Rules {
    /// From the rules an operator wrote.
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        Self(rules.into_iter().collect())
    }

    /// Whether a rule covers this address and port. An IPv4-mapped IPv6 address is looked up as its IPv4 address.
    #[must_use]
    pub fn permits(&self, ip: IpAddr, port: u16) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|rule| rule.port == port && rule.network.contains(&ip))
    }

    /// The verdict for one destination: public, or allowed by a rule; metadata services never.
    ///
    /// # Errors
    /// [`Refused`] names the kind of address, never the address.
    pub fn check(&self, ip: IpAddr, port: u16) -> Result<(), Refused> {
        match classify(ip) {
            Class::Public => Ok(()),
            Class::NonPublic(kind) if kind != NonPublic::Metadata && self.permits(ip, port) => Ok(()),
            Class::NonPublic(kind) => Err(Refused { kind }),
        }
    }
}
