use super::*;

#[test]
fn only_uris_that_lead_to_the_application_are_registered() {
    for good in [
        "https://app.example/callback",
        "https://app.example",
        "https://app.example:8443/cb?tenant=a",
        "http://localhost:3000/callback",
        "http://127.0.0.1/callback",
        "http://127.0.0.1:7777/callback",
        "http://127.0.0.1:80/callback",
        "http://127.0.0.1:80",
        "http://[::1]/cb",
        "http://[::1]:80/cb",
        "https://app.example/cb?codes=1&Code=2&a[]=3",
        "com.example.app:/callback",
        "com.example.app://callback",
    ] {
        assert_eq!(RedirectUri::parse(good).map(|uri| uri.0), Ok(good.to_owned()), "{good}");
    }
    use RedirectUriError::{Part, Scheme, Spelling};
    for (wrong, why) in [
        ("", Spelling),
        ("/callback", Spelling),
        ("http://app.example/callback", Scheme),
        ("http://192.0.2.1/callback", Scheme),
        ("http://127.0.0.2/callback", Scheme),
        ("http://localhost.example/cb", Scheme),
        ("http://127.0.0.1.example/cb", Scheme),
        ("javascript:alert(1)", Scheme),
        ("data:text/html,x", Scheme),
        ("myapp://callback", Scheme),
        ("a.:/callback", Scheme),
        ("a..b:/callback", Scheme),
        ("com.example.app:callback", Scheme),
        ("com.example.app:", Scheme),
        ("com.example.app:/\"><script>", Spelling),
        ("com.example.app:/a'b", Spelling),
        ("https://app.example/a'b", Spelling),
        ("com.example.app:/a`b", Spelling),
        ("com.example.app:/a<b", Spelling),
        ("com.example.app:/a>b", Spelling),
        ("http://127.0.0.1:0/cb", Part),
        ("https://app.example:0/cb", Part),
        ("https://app.example/cb?code=x", Part),
        ("https://app.example/cb?a=b&state=x", Part),
        ("https://app.example/cb?iss", Part),
        ("https://app.example/cb?error=x", Part),
        ("https://app.example/cb?%63ode=x", Part),
        ("com.example.app:/cb?code=x", Part),
        ("http://localhost:80/cb", Spelling),
        ("https://127.0.0.1:80@evil.example/cb", Part),
        ("https://app.example/cb#part", Part),
        ("https://app.example/cb#", Part),
        ("https://user@app.example/cb", Part),
        ("https://app.example@evil.example/cb", Part),
        ("http://127.0.0.1:80@evil.example/cb", Part),
        ("https://:x@app.example/cb", Part),
        ("https://APP.example/cb", Spelling),
        ("HTTPS://app.example/cb", Spelling),
        ("https://app.example:443/cb", Spelling),
        ("https://app.example/a/../cb", Spelling),
        ("https://app.example/%2e%2e/cb", Spelling),
        ("https://app.example\\@evil.example/cb", Spelling),
        ("https://app.example/c b", Spelling),
        ("https://app.example/c\nb", Spelling),
        ("https:app.example/cb", Spelling),
        ("http://127.1/cb", Spelling),
        ("http://127.0.0.1:07777/cb", Spelling),
        ("https://ex\u{e4}mple.example/cb", Spelling),
    ] {
        assert_eq!(RedirectUri::parse(wrong), Err(why), "{wrong}");
    }
    assert!(RedirectUri::parse(&format!("https://a.example/{}", "x".repeat(MAX_LENGTH))).is_err());
}

#[test]
fn what_is_asked_for_is_what_is_registered_letter_by_letter() {
    let own = RedirectUri::parse("https://app.example/callback").unwrap();
    assert!(own.admits("https://app.example/callback"));
    for other in [
        "https://app.example/callback/",
        "https://app.example/callback/more",
        "https://app.example/Callback",
        "https://App.example/callback",
        "https://app.example/callback?x=1",
        "https://app.example/callback#x",
        "https://app.example/%63allback",
        "https://app.example:443/callback",
        "https://user@app.example/callback",
        "https://app.example.evil.example/callback",
        "http://app.example/callback",
        "https://app.example/x/../callback",
        "https://app.example/callback ",
        "",
    ] {
        assert!(!own.admits(other), "{other}");
    }
}

#[test]
fn a_loopback_address_has_any_port_and_one_path() {
    let own = RedirectUri::parse("http://127.0.0.1/callback").unwrap();
    let with_port = RedirectUri::parse("http://127.0.0.1:7777/callback").unwrap();
    for good in [
        "http://127.0.0.1/callback",
        "http://127.0.0.1:1/callback",
        "http://127.0.0.1:80/callback",
        "http://127.0.0.1:65535/callback",
    ] {
        assert!(own.admits(good) && with_port.admits(good), "{good}");
    }
    for other in [
        "http://127.0.0.1:8080/callback/",
        "http://127.0.0.1:8080/other",
        "http://127.0.0.1:8080/callback?x=1",
        "http://127.0.0.1:65536/callback",
        "http://127.0.0.1:0/callback",
        "http://127.0.0.1:080/callback",
        "http://127.0.0.1:80.evil.example/callback",
        "http://127.0.0.1:/callback",
        "http://127.0.0.1:0x50/callback",
        "http://127.0.0.1:80@evil.example/callback",
        "http://127.0.0.1:8080.evil.example/callback",
        "http://localhost:8080/callback",
        "http://[::1]:8080/callback",
        "https://127.0.0.1:8080/callback",
    ] {
        assert!(!own.admits(other), "{other}");
    }
    // A name is whoever's it resolves to: its port stays.
    let name = RedirectUri::parse("http://localhost:3000/callback").unwrap();
    assert!(name.admits("http://localhost:3000/callback"));
    assert!(!name.admits("http://localhost:3001/callback"));
    let v6 = RedirectUri::parse("http://[::1]/cb").unwrap();
    assert!(v6.admits("http://[::1]:9/cb") && !v6.admits("http://127.0.0.1:9/cb"));
    // Only plain HTTP has it: behind TLS there is a server with a name.
    let https = RedirectUri::parse("https://127.0.0.1:1/cb").unwrap();
    assert!(!https.admits("https://127.0.0.1:2/cb"));
}
