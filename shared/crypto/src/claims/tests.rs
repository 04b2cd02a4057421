use serde_json::{Value, json};

use super::*;

fn client() -> ClientId {
    ClientId::from_parts(1_700_000_000_000, [1; 10])
}

/// What a client has of its own.
fn bare() -> Claims {
    Claims {
        iss: "https://auth.example.com/t/acme".to_owned(),
        sub: Subject::Client(client()),
        client_id: client(),
        aud: "https://gw.example.com/acme/tools/mcp".to_owned(),
        iat: 1_700_000_000,
        exp: 1_700_000_900,
        nbf: None,
        jti: TokenId::from_parts(1_700_000_000_000, [2; 10]),
        scope: Scopes::none(),
        cnf: None,
        auth_time: None,
        act: None,
    }
}

/// What a member has who acts through a client, with everything that a token can have.
fn full() -> Claims {
    let member = MemberId::from_parts(1_700_000_000_000, [3; 10]);
    Claims {
        sub: Subject::Member(member),
        scope: "tools:read files".parse().unwrap(),
        cnf: Some(Confirmation { jkt: Some(Thumbprint([4; 32])), certificate: Some(Thumbprint([255; 32])) }),
        auth_time: Some(1_699_999_000),
        act: Some(Actor {
            sub: Subject::Client(client()),
            act: Some(Box::new(Actor { sub: Subject::Member(member), act: None })),
        }),
        ..bare()
    }
}

/// Tokens live for an hour, so both planes of a fleet that is being upgraded read each other's: these texts do not change.
#[test]
fn claims_are_written_as_they_always_were() {
    let start = r#"{"iss":"https://auth.example.com/t/acme","sub":"#;
    let middle = r#","client_id":"cl_01hf7yat00e40r2081040g2081","aud":"https://gw.example.com/acme/tools/mcp","iat":1700000000,"exp":1700000900,"jti":"tok_01hf7yat00e81840g2081040g2""#;
    let bare_text = format!(r#"{start}"cl_01hf7yat00e40r2081040g2081"{middle}}}"#);
    let rest = concat!(
        r#","scope":"files tools:read","cnf":{"jkt":"BAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ","#,
        r#""x5t#S256":"__________________________________________8"},"auth_time":1699999000,"#,
        r#""act":{"sub":"cl_01hf7yat00e40r2081040g2081","act":{"sub":"mem_01hf7yat00ec1r60r30c1g60r3"}}}"#
    );
    let full_text = format!(r#"{start}"mem_01hf7yat00ec1r60r30c1g60r3"{middle}{rest}"#);
    for (claims, text) in [(bare(), bare_text), (full(), full_text)] {
        assert_eq!(serde_json::to_string(&claims).unwrap(), text);
        assert_eq!(serde_json::from_str::<Claims>(&text).unwrap(), claims);
    }
}

#[test]
fn a_claim_that_is_missing_or_not_as_it_should_be_is_no_claim() {
    let good = serde_json::to_value(full()).unwrap();
    for name in ["iss", "sub", "client_id", "aud", "iat", "exp", "jti"] {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        assert!(serde_json::from_value::<Claims>(claims).is_err(), "without {name}");
    }
    let own = full().client_id.to_string();
    let deep = (0..MAX_ACTORS).fold(json!({"sub": own}), |act, _| json!({"sub": own, "act": act}));
    for (name, value) in [
        ("sub", json!("tnt_01hf7yat00040g2081040g2081")),
        ("sub", json!("someone")),
        ("client_id", json!("mem_01hf7yat00ec1r60r30c1g60r3")),
        ("aud", json!(["https://gw.example.com/acme/tools/mcp"])),
        ("exp", json!(-1)),
        ("exp", json!(1.5)),
        ("scope", json!(["files"])),
        ("scope", json!("a\"b")),
        ("scope", json!("a\u{e9}")),
        ("scope", json!((0..65).map(|n| format!("s{n} ")).collect::<String>())),
        ("cnf", Value::Null),
        ("cnf", json!({})),
        ("cnf", json!({"kid": "k"})),
        ("cnf", json!({"jkt": Thumbprint([4; 32]), "jwk": {}})),
        ("cnf", json!({"jkt": "AAAA"})),
        ("cnf", json!({"jkt": format!("{}=", Thumbprint([4; 32]))})),
        ("cnf", json!("x")),
        ("act", json!({})),
        ("act", deep),
    ] {
        let mut claims = good.clone();
        claims[name] = value.clone();
        assert!(serde_json::from_value::<Claims>(claims).is_err(), "{name} {value}");
    }
    let twice = good.to_string().replacen('{', &format!("{{\"sub\":\"{own}\","), 1);
    assert!(serde_json::from_str::<Claims>(&twice).is_err());
}

#[test]
fn what_is_not_known_is_left_alone() {
    let mut claims = serde_json::to_value(bare()).unwrap();
    claims["email"] = json!("someone@example.com");
    assert_eq!(serde_json::from_value::<Claims>(claims).unwrap(), bare());
}

#[test]
fn a_client_has_no_token_of_another() {
    let other = ClientId::from_parts(1, [9; 10]);
    assert!(bare().is_of_its_client() && full().is_of_its_client());
    assert!(!Claims { client_id: other, ..bare() }.is_of_its_client());
    assert_eq!(bare().member(), None);
    assert_eq!(full().member(), Some(MemberId::from_parts(1_700_000_000_000, [3; 10])));
}
