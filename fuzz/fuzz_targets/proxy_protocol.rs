#![no_main]
//! A header is read exactly: no byte of what follows is asked for, nothing over the bound, and whoever is named can be
//! somebody. What balancers say in headers of requests names somebody who is no balancer, or nobody.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use listen::{
    front::{Front, Tells},
    proxy_protocol::{MAX, Parsed, parse},
};

fuzz_target!(|input: &[u8]| {
    let mut end = 0;
    while let Some(read) = input.get(..end) {
        match parse(read) {
            Ok(Parsed::More(more)) => {
                assert!(more > 0 && end + more <= MAX);
                end += more;
            }
            Ok(Parsed::Whole(header)) => {
                let address = header.source.map(|source| source.ip());
                assert!(address.is_none_or(|ip: IpAddr| !ip.is_unspecified() && !ip.is_multicast()));
                break;
            }
            Err(_) => break,
        }
    }
    let Ok(value) = HeaderValue::from_bytes(input) else { return };
    for (tells, name) in [(Tells::Forwarded, "forwarded"), (Tells::XForwardedFor, "x-forwarded-for")] {
        let networks = vec!["10.0.0.0/8".parse().expect("a network")];
        let front = Front::new(networks, tells, false).expect("a declaration");
        let headers = HeaderMap::from_iter([(http::HeaderName::from_static(name), value.clone())]);
        if let Ok(client) = front.client(&headers) {
            assert!(!front.declares(client));
        }
    }
});
