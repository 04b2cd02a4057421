use super::*;

fn parse(url: &str) -> Result<Address, AddressError> {
    Address::parse(url.into(), None)
}

#[test]
fn addresses_that_can_be_used() {
    for url in [
        "redis://127.0.0.1",
        "redis://:hidden@localhost:7405/2",
        "rediss://user:hidden@redis.example.com:6380/",
        "redis://[::1]:6379/",
        "redis+sentinel://:hidden@s1,s2:26380,[::1]/main/3?sentinel_user=u&sentinel_password=hidden%2F1",
        "rediss+sentinel://user:hid%40den@s1/main",
        "redis+cluster://user:hidden@n1:7000,n2:7000,n3/",
        "rediss+cluster://n1",
    ] {
        let address = parse(url).unwrap();
        let shown = format!("{address:?}");
        assert!(!shown.contains("hid") && !shown.contains("user"), "{shown}");
    }
    assert_eq!(parse("redis://h/").unwrap().place(), "h:6379");
    assert_eq!(parse("redis+cluster://h,i:7/").unwrap().place(), "h:6379,i:7");
    assert_eq!(parse("redis+sentinel://h,i:7/main").unwrap().place(), "h:26379,i:7");
}

#[test]
fn sentinels_and_data_servers_are_told_their_own_passwords() {
    let url = "rediss+sentinel://data:d%2Fp@s1,s2:7/main/3?sentinel_user=watch&sentinel_password=s%2Fp";
    let Kind::Sentinel(sentinels) = parse(url).unwrap().kind else { panic!("sentinels") };
    assert_eq!(sentinels.master, "main");
    assert_eq!(sentinels.data("::1", 6400).expose_secret(), "rediss://data:d%2Fp@[::1]:6400/3");
    let urls: Vec<_> = sentinels.urls.iter().map(|url| url.expose_secret()).collect();
    assert_eq!(urls, ["rediss://watch:s%2Fp@s1:26379/", "rediss://watch:s%2Fp@s2:7/"]);
    let Kind::Sentinel(sentinels) = parse("redis+sentinel://data:p@s1/main").unwrap().kind else {
        panic!("sentinels")
    };
    assert_eq!(sentinels.urls[0].expose_secret(), "redis://s1:26379/", "the data's password is not theirs");
}

#[test]
fn addresses_that_cannot_say_why_and_not_the_password() {
    for (url, expected) in [
        ("hidden", AddressError::NotAUrl),
        ("http://:hidden@h/", AddressError::Scheme),
        ("redis+other://:hidden@h/", AddressError::Scheme),
        ("redis:///0", AddressError::NoHost),
        ("redis+cluster://:hidden@h,/", AddressError::NoHost),
        ("redis+sentinel://:hidden@,h/main", AddressError::NoHost),
        ("redis+sentinel://:hidden@h", AddressError::NoMaster),
        ("rediss://:hidden@h/#insecure", AddressError::Fragment),
        ("rediss+cluster://:hidden@h/#insecure", AddressError::Fragment),
        ("redis://h/hidden", AddressError::Unusable),
        ("redis+cluster://h/1", AddressError::Unusable),
        ("redis+sentinel://h/main/hidden", AddressError::Unusable),
        ("redis+sentinel://h/main?password=hidden", AddressError::Unusable),
    ] {
        let refused = parse(url).unwrap_err();
        assert_eq!(refused, expected, "{url}");
        assert!(!refused.to_string().contains("hidden"));
    }
    for url in ["redis://h/", "redis+cluster://h/", "redis+sentinel://h/main"] {
        let plain = Address::parse(url.into(), Some(Vec::new()));
        assert_eq!(plain.unwrap_err(), AddressError::AuthoritiesWithoutTls);
    }
}
