use std::collections::HashSet;

use super::*;

#[test]
fn text_round_trips_and_sorts_by_time() {
    let early = TenantId::from_parts(1_000, [7; 10]);
    let late = TenantId::from_parts(2_000, [0; 10]);
    assert_eq!(early.to_string().parse(), Ok(early));
    assert!(early.to_string() < late.to_string());
    assert!(early < late);
    assert_eq!(early.to_string().len(), "tnt_".len() + 26);
}

#[test]
fn another_kind_another_case_and_overflow_do_not_parse() {
    let id = ClientId::from_parts(1_000, [7; 10]);
    let text = id.to_string();
    assert!(text.parse::<TenantId>().is_err());
    assert!(text.to_uppercase().parse::<ClientId>().is_err());
    assert!(format!("{text}0").parse::<ClientId>().is_err());
    assert!("cl_8zzzzzzzzzzzzzzzzzzzzzzzzz".parse::<ClientId>().is_err());
    assert!("cl_".parse::<ClientId>().is_err());
    assert!("".parse::<ClientId>().is_err());
}

#[test]
fn json_is_the_text() {
    let id = KeyId::from_parts(5, [1; 10]);
    let json = serde_json::to_string(&id).unwrap_or_default();
    assert_eq!(json, format!("\"{id}\""));
    assert_eq!(serde_json::from_str::<KeyId>(&json).ok(), Some(id));
}

#[test]
fn prefixes_are_distinct() {
    let distinct: HashSet<_> = PREFIXES.iter().map(|(prefix, _)| prefix).collect();
    assert_eq!(distinct.len(), PREFIXES.len());
}

#[test]
fn slugs_are_closed() {
    for good in ["acme", "a-b", "0-1", "abc"] {
        assert!(good.parse::<Slug>().is_ok(), "{good}");
    }
    for bad in ["ab", "Acme", "a_b", "-ab", "ab-", "a b", "ä-b-c", &"a".repeat(41), "admin", "mcp"] {
        assert!(bad.parse::<Slug>().is_err(), "{bad}");
    }
}

#[test]
fn a_scope_is_what_rfc_6749_says() {
    for good in ["a", "tools:read", "files/*", "!#[]~", &"a".repeat(64)] {
        assert_eq!(good.parse::<Scope>().map(|scope| scope.to_string()), Ok(good.to_owned()));
    }
    for bad in ["", "a b", "a\"b", "a\\b", "a\tb", "a\u{7f}", "caf\u{e9}", &"a".repeat(65)] {
        assert_eq!(bad.parse::<Scope>(), Err(ScopeError::Shape), "{bad}");
    }
}

#[test]
fn scopes_are_a_bounded_set_in_order() {
    let scopes: Scopes = " b  a b ".parse().unwrap();
    assert_eq!((scopes.to_string().as_str(), scopes.len()), ("a b", 2));
    assert!(scopes.has("a") && !scopes.has("c") && !scopes.has(""));
    assert_eq!("".parse(), Ok(Scopes::none()));
    let many = |count: usize| (0..count).map(|number| format!("s{number}")).collect::<Vec<_>>().join(" ");
    assert_eq!(many(64).parse::<Scopes>().map(|scopes| scopes.len()), Ok(64));
    assert_eq!(many(65).parse::<Scopes>(), Err(ScopeError::Count));
    assert_eq!("a ".repeat(1_000).parse::<Scopes>(), Err(ScopeError::Count));
    assert_eq!("a b\u{e9}".parse::<Scopes>(), Err(ScopeError::Shape));
    assert_eq!(serde_json::from_str::<Scopes>("\"b a\"").ok(), Some("a b".parse().unwrap()));
}
