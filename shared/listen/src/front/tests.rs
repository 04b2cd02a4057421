use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn front(tells: Tells, ends_tls: bool) -> Front {
    let networks = vec!["10.0.0.0/8".parse().unwrap(), "2001:db8:1::/48".parse().unwrap()];
    Front::new(networks, tells, ends_tls).unwrap()
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn forwarded_for(value: &str) -> Result<IpAddr, Untold> {
    front(Tells::XForwardedFor, false).client(&headers(&[("x-forwarded-for", value)]))
}

#[test]
fn the_last_address_that_is_no_balancers_counts() {
    for (trail, client) in [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("203.0.113.9, 10.1.1.1", "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9, 10.1.1.1,10.2.2.2", "203.0.113.9"),
        ("6.6.6.6, nonsense, 203.0.113.9", "203.0.113.9"),
        ("2001:db8::9, 2001:db8:1::1", "2001:db8::9"),
        ("[2001:db8::9]:4711", "2001:db8::9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
    ] {
        assert_eq!(forwarded_for(trail), Ok(client.parse().unwrap()), "{trail}");
    }
    for unclear in [
        "",
        "10.1.1.1",
        "unknown",
        "203.0.113.9,",
        "203.0.113.9, nonsense, 10.1.1.1",
        "203.0.113.9:x",
        "203.0.113.999",
    ] {
        assert_eq!(forwarded_for(unclear), Err(Untold::Address), "{unclear}");
    }
    assert_eq!(forwarded_for(&"203.0.113.9,".repeat(40)), Err(Untold::Address));
    let front = front(Tells::XForwardedFor, false);
    let two = headers(&[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "203.0.113.9, 10.1.1.1")]);
    assert_eq!(front.client(&two), Ok("203.0.113.9".parse().unwrap()), "lines are one list");
    assert_eq!(front.client(&HeaderMap::new()), Err(Untold::Address));
    let other = headers(&[("forwarded", "for=203.0.113.9")]);
    assert_eq!(front.client(&other), Err(Untold::Address), "what is not declared is not believed");
}

#[test]
fn forwarded_is_read_by_its_own_rules() {
    let front = front(Tells::Forwarded, false);
    for (value, client) in [
        ("for=203.0.113.9", "203.0.113.9"),
        ("For=\"[2001:db8::9]:4711\";proto=http;by=10.0.0.1", "2001:db8::9"),
        ("for=6.6.6.6;host=a, for=203.0.113.9;proto=https, for=10.1.1.1", "203.0.113.9"),
        ("for=\"6.6.6.6, for=203.0.113.9", "203.0.113.9"),
    ] {
        assert_eq!(front.client(&headers(&[("forwarded", value)])), Ok(client.parse().unwrap()), "{value}");
    }
    for unclear in [
        "proto=https",
        "for=unknown",
        "for=_hidden",
        "for=203.0.113.9;for=6.6.6.6",
        "for=\"203.0.113.9",
        "for=203.0.113.9\"",
        "for=\"203.0.113\\.9\"",
        "for",
        "for=203.0.113.9;",
    ] {
        assert_eq!(front.client(&headers(&[("forwarded", unclear)])), Err(Untold::Address), "{unclear}");
    }
}

#[test]
fn where_tls_ends_in_front_it_has_to_be_said_that_it_was_spoken() {
    let by = front(Tells::XForwardedFor, true);
    let said = |protos: &[&str]| {
        let mut lines = vec![("x-forwarded-for", "203.0.113.9")];
        lines.extend(protos.iter().map(|proto| ("x-forwarded-proto", *proto)));
        by.client(&headers(&lines))
    };
    assert!(said(&["https"]).is_ok());
    assert_eq!(said(&["http"]), Err(Untold::Plain));
    for unclear in [&[][..], &["https", "https"], &["https", "http"], &["https, http"], &["ws"]] {
        assert_eq!(said(unclear), Err(Untold::Address), "{unclear:?}");
    }
    let by = front(Tells::Forwarded, true);
    let said = |value| by.client(&headers(&[("forwarded", value)]));
    assert!(said("for=203.0.113.9;proto=https").is_ok());
    assert_eq!(said("for=203.0.113.9;proto=http"), Err(Untold::Plain));
    assert_eq!(said("for=203.0.113.9"), Err(Untold::Address));
    assert_eq!(said("for=6.6.6.6;proto=https, for=203.0.113.9"), Err(Untold::Address), "another hop's");
}

#[test]
fn only_networks_that_are_somebodys_can_be_declared() {
    let new = |networks: &[&str]| {
        let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
        Front::new(networks, Tells::ProxyProtocol, true)
    };
    assert_eq!(new(&[]), Err(FrontError::Nobody));
    assert_eq!(new(&["10.0.0.0/8", "0.0.0.0/0"]), Err(FrontError::Everybody));
    assert_eq!(new(&["::/0"]), Err(FrontError::Everybody));
    let own = new(&["10.0.0.0/8"]).unwrap();
    assert!(own.declares("::ffff:10.1.1.1".parse().unwrap()));
    assert!(!own.admits("203.0.113.9".parse().unwrap()), "nobody gets past it");
    assert!(front(Tells::ProxyProtocol, false).admits("203.0.113.9".parse().unwrap()));
}

proptest! {
    /// Whatever a caller writes before, what its balancer appends decides.
    #[test]
    fn nothing_a_caller_writes_moves_its_address(written in "[ -~]{0,200}", forwarded: bool) {
        let tells = if forwarded { Tells::Forwarded } else { Tells::XForwardedFor };
        let (name, own) = if forwarded {
            ("forwarded", "for=203.0.113.9")
        } else {
            ("x-forwarded-for", "203.0.113.9")
        };
        let told = headers(&[(name, &format!("{written}, {own}"))]);
        match front(tells, false).client(&told) {
            Ok(client) => prop_assert_eq!(client, "203.0.113.9".parse::<IpAddr>().unwrap()),
            Err(untold) => prop_assert!(written.contains(','), "{}: {:?}", written, untold),
        }
    }
}
