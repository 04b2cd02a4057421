use proptest::prelude::*;

use super::*;

fn v2_header(version_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE.as_slice(), &[version_command, family], &length, rest].concat()
}

/// As a balancer writes it.
fn written(source: SocketAddr, destination: SocketAddr, tlvs: &[u8]) -> Vec<u8> {
    let ports = [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat();
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            v2_header(0x21, 0x11, &[&from.octets(), &to.octets(), &ports[..], tlvs].concat())
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            v2_header(0x21, 0x21, &[&from.octets()[..], &to.octets(), &ports, tlvs].concat())
        }
        _ => unreachable!("one family"),
    }
}

fn line(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes()
}

fn of(source: SocketAddr) -> Parsed {
    Parsed::Whole(Header { source: Some(source), tls: None })
}

#[test]
fn both_versions_say_whose_a_connection_is() {
    for (source, destination) in
        [("203.0.113.9:40000", "10.0.0.1:443"), ("[2001:db8::9]:40000", "[2001:db8::1]:443")]
    {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        assert_eq!(parse(&line(source, destination)), Ok(of(source)));
        assert_eq!(parse(&written(source, destination, &[])), Ok(of(source)));
        assert_eq!(parse(&written(source, destination, &[4, 0, 2, 9, 9])), Ok(of(source)), "a TLV");
    }
    let own = Parsed::Whole(Header { source: None, tls: None });
    assert_eq!(parse(&v2_header(0x20, 0, &[])), Ok(own), "a balancer's health check");
    let mapped = "[::ffff:203.0.113.9]:1".parse().unwrap();
    let header = written(mapped, "[2001:db8::1]:443".parse().unwrap(), &[]);
    assert_eq!(parse(&header), Ok(of("203.0.113.9:1".parse().unwrap())), "canonical");
}

#[test]
fn version_2_says_whether_tls_was_spoken() {
    let (source, destination) = ("203.0.113.9:1".parse().unwrap(), "10.0.0.1:443".parse().unwrap());
    for (flags, tls) in [(0, false), (1, true), (7, true), (2, false)] {
        let tlv = [0x20, 0, 5, flags, 0, 0, 0, 0];
        let parsed = parse(&written(source, destination, &tlv));
        assert_eq!(parsed, Ok(Parsed::Whole(Header { source: Some(source), tls: Some(tls) })));
    }
    for broken in
        [&[0x20, 0, 4, 1, 0, 0, 0][..], &[0x20, 0, 9, 1], &[4, 0], &[0x20, 0, 5, 0, 0, 0, 0, 0].repeat(2)]
    {
        assert_eq!(parse(&written(source, destination, broken)), Err(Malformed::Broken), "{broken:?}");
    }
}

#[test]
fn what_is_no_header_is_noticed_and_never_guessed() {
    for (text, expected) in [
        ("GET / HTTP/1.1\r\n", Malformed::None),
        ("\x16\x03\x01\x02\x00\x01\x00\x01", Malformed::None),
        ("proxy TCP4 203.0.113.9 10.0.0.1 1 2\r\n", Malformed::None),
        ("PROXY UNKNOWN\r\n", Malformed::NoAddress),
        ("PROXY UNKNOWN 203.0.113.9 10.0.0.1 1 2\r\n", Malformed::NoAddress),
        ("PROXY TCP4 0.0.0.0 10.0.0.1 1 2\r\n", Malformed::NoAddress),
        ("PROXY TCP4 255.255.255.255 10.0.0.1 1 2\r\n", Malformed::NoAddress),
        ("PROXY TCP6 ff02::1 2001:db8::1 1 2\r\n", Malformed::NoAddress),
        ("PROXY TCP4 203.0.113.9 10.0.0.1 1\r\n", Malformed::Broken),
        ("PROXY TCP4 203.0.113.9 10.0.0.1 1 2 3\r\n", Malformed::Broken),
        ("PROXY TCP4  203.0.113.9 10.0.0.1 1 2\r\n", Malformed::Broken),
        ("PROXY TCP4 2001:db8::9 2001:db8::1 1 2\r\n", Malformed::Broken),
        ("PROXY TCP6 203.0.113.9 10.0.0.1 1 2\r\n", Malformed::Broken),
        ("PROXY TCP4 203.0.113.9 10.0.0.1 65536 2\r\n", Malformed::Broken),
        ("PROXY TCP4 203.0.113.9 10.0.0.1 01 2\r\n", Malformed::Broken),
        ("PROXY TCP4 203.0.113.9 10.0.0.1 +1 2\r\n", Malformed::Broken),
        ("PROXY TCP4 203.0.113.9 10.0.0.1 1 2\r2\r\n", Malformed::Broken),
        ("PROXY UDP4 203.0.113.9 10.0.0.1 1 2\r\n", Malformed::Broken),
    ] {
        assert_eq!(parse(text.as_bytes()), Err(expected), "{text:?}");
    }
    assert_eq!(parse(format!("PROXY {}", "x".repeat(101)).as_bytes()), Err(Malformed::TooLong));
    for (bytes, expected) in [
        (v2_header(0x11, 0x11, &[1; 12]), Malformed::Broken),
        (v2_header(0x22, 0x11, &[1; 12]), Malformed::Broken),
        (v2_header(0x21, 0x11, &[1; 11]), Malformed::Broken),
        (v2_header(0x21, 0x21, &[1; 35]), Malformed::Broken),
        (v2_header(0x21, 0x00, &[]), Malformed::NoAddress),
        (v2_header(0x21, 0x31, &[1; 216]), Malformed::NoAddress),
        (v2_header(0x21, 0x12, &[1; 12]), Malformed::NoAddress),
        (v2_header(0x21, 0x11, &[1; 1009]), Malformed::TooLong),
    ] {
        assert_eq!(parse(&bytes), Err(expected), "{:?}", &bytes[12..20.min(bytes.len())]);
    }
}

#[tokio::test]
async fn nothing_of_what_follows_is_read() {
    let source = "203.0.113.9:40000".parse().unwrap();
    let destination = "10.0.0.1:443".parse().unwrap();
    for header in [line(source, destination), written(source, destination, &[4, 0, 1, 7])] {
        let bytes = [&header[..], b"\x16\x03\x01 hello"].concat();
        let mut stream = &bytes[..];
        assert_eq!(read(&mut stream).await.unwrap().source, Some(source));
        assert_eq!(stream, b"\x16\x03\x01 hello");
        let cut = read(&mut &header[..header.len() - 1]).await.unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
    }
}

fn address() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    let v4 = (1_u32..0x0fff_ffff, any::<u32>(), any::<u16>(), any::<u16>()).prop_map(|(a, b, p, q)| {
        (SocketAddr::from((Ipv4Addr::from(a), p)), SocketAddr::from((Ipv4Addr::from(b), q)))
    });
    let v6 = (any::<u64>(), any::<u128>(), any::<u16>(), any::<u16>()).prop_map(|(a, b, p, q)| {
        let from = Ipv6Addr::from((0x2001_0db8_u128 << 96) | u128::from(a));
        (SocketAddr::from((from, p)), SocketAddr::from((Ipv6Addr::from(b), q)))
    });
    prop_oneof![v4, v6]
}

proptest! {
    /// Byte by byte: never more is asked for than there is to come, and the end is what was written.
    #[test]
    fn a_header_is_read_exactly((source, destination) in address(), version_2: bool) {
        let header = if version_2 { written(source, destination, &[]) } else { line(source, destination) };
        for cut in 0..header.len() {
            match parse(&header[..cut]) {
                Ok(Parsed::More(more)) => prop_assert!((1..=header.len() - cut).contains(&more), "{cut}"),
                other => prop_assert!(false, "{cut}: {other:?}"),
            }
        }
        prop_assert_eq!(parse(&header), Ok(of(source)));
    }

    #[test]
    fn any_bytes_are_bounded(bytes in proptest::collection::vec(any::<u8>(), 0..1200), start in 0..3) {
        let start: &[u8] = [&b""[..], b"PROXY TCP4 ", SIGNATURE][start as usize];
        let bytes = [start, &bytes].concat();
        if let Ok(Parsed::More(more)) = parse(&bytes) {
            prop_assert!(bytes.len() + more <= MAX);
        }
    }
}
