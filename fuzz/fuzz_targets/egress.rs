#![no_main]
//! An IPv4 address is classified alike however IPv6 carries it; nothing passes but public addresses and what a rule names,
//! and metadata services never. Sixteen bytes of address, four of IPv4, two of port, then a rule's network as text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use egress::{Class, NonPublic, Rule, Rules, classify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((v6, rest)) = input.split_first_chunk::<16>() else { return };
    let Some((v4, rest)) = rest.split_first_chunk::<4>() else { return };
    let Some((port, rest)) = rest.split_first_chunk::<2>() else { return };
    let (v4, port) = (Ipv4Addr::from(*v4), u16::from_be_bytes(*port));

    let mapped = IpAddr::V6(v4.to_ipv6_mapped());
    let [a, b, c, d] = v4.octets();
    let nat64 = Ipv6Addr::from([0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]);
    let class = classify(v4.into());
    assert_eq!(classify(mapped), class);
    assert_eq!(classify(nat64.into()), class);
    for tunnel in [
        Ipv6Addr::from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]),
        Ipv6Addr::from([0x20, 0x02, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
    ] {
        assert_ne!(classify(tunnel.into()), Class::Public);
    }
    if class == Class::Public {
        let octets = v4.octets();
        assert!(!v4.is_private() && !v4.is_loopback() && !v4.is_link_local() && !v4.is_multicast());
        assert!(!matches!(octets, [0 | 127 | 240..=255, ..] | [100, 64..=127, ..]));
    }

    let v6 = Ipv6Addr::from(*v6);
    if classify(v6.into()) == Class::Public {
        let embeds = v6.to_ipv4_mapped().is_some() || v6.segments()[..2] == [0x64, 0xff9b];
        assert!(embeds || v6.segments()[0] & 0xe000 == 0x2000);
    }

    let rule = std::str::from_utf8(rest).ok().and_then(|text| Rule::new(text, u32::from(port)).ok());
    if let Some(rule) = &rule {
        assert_eq!(Rule::new(&rule.network().to_string(), u32::from(rule.port())).as_ref(), Ok(rule));
    }
    let rules = Rules::new(rule);
    assert_eq!(rules.check(mapped, port), rules.check(v4.into(), port));
    for ip in [IpAddr::V4(v4), IpAddr::V6(v6)] {
        match classify(ip) {
            Class::Public => assert_eq!(rules.check(ip, port), Ok(())),
            Class::NonPublic(NonPublic::Metadata) => assert!(rules.check(ip, port).is_err()),
            Class::NonPublic(_) => assert_eq!(rules.check(ip, port).is_ok(), rules.permits(ip, port)),
        }
    }
});
