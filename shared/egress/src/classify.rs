use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is for, as far as the gateway cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Globally reachable unicast.
    Public,
    /// Anything else.
    NonPublic(NonPublic),
}

/// Why an address is not public.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NonPublic {
    /// 0.0.0.0/8 and `::`: on many systems these mean this host.
    Unspecified,
    /// 127.0.0.0/8 and `::1`.
    Loopback,
    /// RFC 1918, `fc00::/7`, and the deprecated site-local `fec0::/10`.
    Private,
    /// RFC 6598, 100.64.0.0/10: carrier-grade NAT, and some clouds' internal services.
    SharedCgnat,
    /// 169.254.0.0/16 and `fe80::/10`.
    LinkLocal,
    /// Known addresses of cloud instance metadata services.
    Metadata,
    /// Multicast and broadcast.
    Multicast,
    /// RFC 2544 and RFC 5180 benchmarking networks.
    Benchmarking,
    /// RFC 5737, RFC 3849 and RFC 9637 documentation networks.
    Documentation,
    /// An IPv6 form that leads to an IPv4 address by another route: Teredo, 6to4, IPv4-compatible, NAT64 for local use.
    Transition,
    /// Reserved by IANA, or outside the allocated global unicast space.
    Reserved,
}

impl NonPublic {
    /// For messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::SharedCgnat => "shared (carrier-grade NAT)",
            Self::LinkLocal => "link-local",
            Self::Metadata => "cloud metadata",
            Self::Multicast => "multicast or broadcast",
            Self::Benchmarking => "benchmarking",
            Self::Documentation => "documentation",
            Self::Transition => "IPv4 transition",
            Self::Reserved => "reserved",
        }
    }
}

/// Classifies an address. IPv4 addresses inside IPv4-mapped IPv6 (`::ffff:0:0/96`) and the well-known NAT64 prefix
/// (`64:ff9b::/96`, RFC 6052) are classified as the IPv4 address that is really reached.
#[must_use]
pub fn classify(ip: IpAddr) -> Class {
    let non_public = match ip {
        IpAddr::V4(v4) => classify_v4(v4),
        IpAddr::V6(v6) => classify_v6(v6),
    };
    non_public.map_or(Class::Public, Class::NonPublic)
}

/// Metadata services outside link-local space: Alibaba Cloud, Oracle Cloud's second, Azure's wire server.
const METADATA_V4: &[Ipv4Addr] = &[
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(168, 63, 129, 16),
];

/// AWS instance metadata, ECS/EKS credentials, and Google Cloud's, over IPv6.
const METADATA_V6: &[Ipv6Addr] = &[
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

fn classify_v4(ip: Ipv4Addr) -> Option<NonPublic> {
    if METADATA_V4.contains(&ip) {
        return Some(NonPublic::Metadata);
    }
    match ip.octets() {
        [0, ..] => Some(NonPublic::Unspecified),
        [127, ..] => Some(NonPublic::Loopback),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some(NonPublic::Private),
        [100, 64..=127, ..] => Some(NonPublic::SharedCgnat),
        [169, 254, ..] => Some(NonPublic::LinkLocal),
        [198, 18..=19, ..] => Some(NonPublic::Benchmarking),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some(NonPublic::Documentation),
        // IETF protocol assignments (RFC 6890), the retired 6to4 relay anycast (RFC 7526), AS112 (RFC 7534, 7535).
        [192, 0, 0, _] | [192, 88, 99, _] | [192, 31, 196, _] | [192, 52, 193, _] | [192, 175, 48, _] => {
            Some(NonPublic::Reserved)
        }
        [224..=239, ..] | [255, 255, 255, 255] => Some(NonPublic::Multicast),
        [240..=255, ..] => Some(NonPublic::Reserved),
        _ => None,
    }
}

fn classify_v6(ip: Ipv6Addr) -> Option<NonPublic> {
    if METADATA_V6.contains(&ip) {
        return Some(NonPublic::Metadata);
    }
    if let Some(v4) = ip.to_ipv4_mapped() {
        return classify_v4(v4);
    }
    let s = ip.segments();
    let low = Ipv4Addr::from(((u32::from(s[6])) << 16) | u32::from(s[7]));
    match s {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some(NonPublic::Unspecified),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some(NonPublic::Loopback),
        // RFC 6052: translated to the IPv4 address in the last 32 bits.
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => classify_v4(low),
        // RFC 8215: NAT64 prefixes of local choice; where they lead is not knowable.
        [0x64, 0xff9b, 1, ..] => Some(NonPublic::Transition),
        // IPv4-compatible (RFC 4291), IPv4-translated (RFC 2765), Teredo (RFC 4380), 6to4 (RFC 3056).
        [0, 0, 0, 0, 0, 0, _, _] | [0, 0, 0, 0, 0xffff, 0, _, _] | [0x2001, 0, ..] | [0x2002, ..] => {
            Some(NonPublic::Transition)
        }
        [0x2001, 2, 0, ..] => Some(NonPublic::Benchmarking),
        [0x2001, 0xdb8, ..] => Some(NonPublic::Documentation),
        [0x3fff, second, ..] if second < 0x1000 => Some(NonPublic::Documentation),
        // IETF protocol assignments, ORCHID and the rest of 2001::/23.
        [0x2001, second, ..] if second < 0x200 => Some(NonPublic::Reserved),
        [first, ..] if first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfec0 => Some(NonPublic::Private),
        [first, ..] if first & 0xffc0 == 0xfe80 => Some(NonPublic::LinkLocal),
        [first, ..] if first & 0xff00 == 0xff00 => Some(NonPublic::Multicast),
        // Global unicast is allocated from 2000::/3 alone.
        [first, ..] if first & 0xe000 != 0x2000 => Some(NonPublic::Reserved),
        // ISATAP interface identifiers (RFC 5214) tunnel to an embedded IPv4 address.
        [_, _, _, _, 0 | 0x200, 0x5efe, _, _] => Some(NonPublic::Transition),
        _ => None,
    }
}
