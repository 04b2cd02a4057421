use std::net::IpAddr;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn public_addresses_pass() {
    for text in [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.1",
        "172.15.0.1",
        "172.32.0.1",
        "192.169.0.1",
        "198.17.0.1",
        "198.20.0.1",
        "223.255.255.254",
        "2606:4700::1111",
        "2a00:1450:4001::1",
        "64:ff9b::808:808",
        "::ffff:8.8.8.8",
    ] {
        assert_eq!(classify(ip(text)), Class::Public, "{text}");
    }
}

#[test]
fn every_other_kind_is_named() {
    use NonPublic as N;
    for (text, kind) in [
        ("0.0.0.0", N::Unspecified),
        ("0.1.2.3", N::Unspecified),
        ("::", N::Unspecified),
        ("127.0.0.1", N::Loopback),
        ("127.255.255.254", N::Loopback),
        ("::1", N::Loopback),
        ("::ffff:127.0.0.1", N::Loopback),
        ("64:ff9b::7f00:1", N::Loopback),
        ("10.0.0.1", N::Private),
        ("172.16.0.1", N::Private),
        ("172.31.255.255", N::Private),
        ("192.168.1.1", N::Private),
        ("::ffff:10.0.0.1", N::Private),
        ("64:ff9b::a00:1", N::Private),
        ("fc00::1", N::Private),
        ("fdff::1", N::Private),
        ("fec0::1", N::Private),
        ("100.64.0.1", N::SharedCgnat),
        ("100.127.255.255", N::SharedCgnat),
        ("169.254.1.1", N::LinkLocal),
        ("fe80::1", N::LinkLocal),
        ("febf::1", N::LinkLocal),
        ("169.254.169.254", N::Metadata),
        ("::ffff:169.254.169.254", N::Metadata),
        ("64:ff9b::a9fe:a9fe", N::Metadata),
        ("169.254.170.2", N::Metadata),
        ("100.100.100.200", N::Metadata),
        ("168.63.129.16", N::Metadata),
        ("fd00:ec2::254", N::Metadata),
        ("fd20:ce::254", N::Metadata),
        ("224.0.0.1", N::Multicast),
        ("239.255.255.255", N::Multicast),
        ("255.255.255.255", N::Multicast),
        ("ff02::1", N::Multicast),
        ("198.18.0.1", N::Benchmarking),
        ("198.19.255.255", N::Benchmarking),
        ("2001:2::1", N::Benchmarking),
        ("192.0.2.1", N::Documentation),
        ("198.51.100.1", N::Documentation),
        ("203.0.113.1", N::Documentation),
        ("2001:db8::1", N::Documentation),
        ("3fff::1", N::Documentation),
        ("2001::1", N::Transition),
        ("2002:7f00:1::1", N::Transition),
        ("2002:808:808::1", N::Transition),
        ("::7f00:1", N::Transition),
        ("::ffff:0:7f00:1", N::Transition),
        ("64:ff9b:1::1", N::Transition),
        ("2606:4700::5efe:7f00:1", N::Transition),
        ("192.0.0.1", N::Reserved),
        ("192.88.99.1", N::Reserved),
        ("240.0.0.1", N::Reserved),
        ("2001:10::1", N::Reserved),
        ("100::1", N::Reserved),
        ("4000::1", N::Reserved),
    ] {
        assert_eq!(classify(ip(text)), Class::NonPublic(kind), "{text}");
    }
}

#[test]
fn a_rule_allows_exactly_what_it_names() {
    let rules =
        Rules::new([Rule::new("127.0.0.1/32", 9000).unwrap(), Rule::new("10.1.0.0/16", 443).unwrap()]);
    assert!(rules.check(ip("127.0.0.1"), 9000).is_ok());
    assert!(rules.check(ip("::ffff:127.0.0.1"), 9000).is_ok());
    assert!(rules.check(ip("127.0.0.1"), 9001).is_err());
    assert!(rules.check(ip("127.0.0.2"), 9000).is_err());
    assert!(rules.check(ip("10.1.255.1"), 443).is_ok());
    assert!(rules.check(ip("10.2.0.1"), 443).is_err());
    assert!(rules.check(ip("8.8.8.8"), 1).is_ok());
    assert_eq!(Rules::default().check(ip("::1"), 80), Err(Refused { kind: NonPublic::Loopback }));
}

#[test]
fn metadata_is_never_allowed() {
    assert_eq!(Rule::new("169.254.169.254/32", 80), Err(RuleError::Metadata));
    let wide = Rules::new([Rule::new("169.254.0.0/16", 80).unwrap(), Rule::new("fd00::/8", 80).unwrap()]);
    assert!(wide.check(ip("169.254.1.1"), 80).is_ok());
    assert!(wide.check(ip("169.254.169.254"), 80).is_err());
    assert!(wide.check(ip("fd00:ec2::254"), 80).is_err());
}

#[test]
fn rules_are_canonical() {
    assert_eq!(Rule::new("10.0.0.1/8", 1), Err(RuleError::HostBits));
    assert_eq!(Rule::new("10.0.0.0/8", 0), Err(RuleError::Port));
    assert_eq!(Rule::new("10.0.0.0/8", 65_536), Err(RuleError::Port));
    assert_eq!(Rule::new("localhost", 1), Err(RuleError::Network));
    assert_eq!(Rule::new("10.0.0.1/32", 80).unwrap().to_string(), "10.0.0.1/32 port 80");
}

#[test]
fn a_network_is_meant_with_every_port_and_without_metadata() {
    let networks = Networks::new(["127.0.0.0/8", "169.254.0.0/16"].map(|text| text.parse().unwrap()));
    assert!(networks.permit(ip("127.0.0.2")) && networks.permit(ip("::ffff:127.0.0.2")));
    assert!(networks.permit(ip("169.254.1.1")) && !networks.permit(ip("169.254.169.254")));
    assert!(!networks.permit(ip("10.0.0.1")) && !networks.permit(ip("8.8.8.8")));
    assert!(!Networks::default().permit(ip("127.0.0.1")));
    assert_eq!("127.0.0.1/8".parse::<Network>(), Err(RuleError::HostBits));
    assert_eq!("169.254.169.254/32".parse::<Network>(), Err(RuleError::Metadata));
    assert_eq!("127.0.0.1".parse::<Network>(), Err(RuleError::Network));
}
