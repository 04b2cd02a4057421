use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Filtered, ListError, ListKind, Verdict, discover, filter, make_private, renamed};
use crate::envelope::{Message, Outcome, parse};
use crate::method::Method;
use crate::raw::{Edits, Raw};
use crate::revision::Revision;
use crate::testing;

fn result(body: &[u8]) -> Raw<'_> {
    let Message::Response(response) = parse(body).unwrap() else { panic!("not a response") };
    let Outcome::Result(result) = response.outcome else { panic!("not a result") };
    result.raw()
}

#[test]
fn a_list_is_filtered_and_everything_else_stays() {
    let body = br#"{"jsonrpc":"2.0","id":1,"result": {"x-vendor":1e1000,"tools":[ {"name":"a","n":12345678901234567890123},
        {"name":"b"}, {"name":"evil"} , {"name":"d","x":[]}],"nextCursor":"p2","ttlMs":5,"resultType":"complete"}}"#;
    let pinned = br#"{"name":"b","description":"pinned"}"#;
    let mut edits = Edits::new();
    let done = filter(
        &mut edits,
        result(body),
        ListKind::Tools,
        Revision::V2026_07_28,
        |item| match &*item.key {
            "b" => Verdict::Replace(Cow::Borrowed(pinned)),
            "evil" => Verdict::Drop,
            _ => Verdict::Keep,
        },
        |cursor| Some(format!("sealed {cursor}")),
    );
    assert_eq!(done, Ok(Filtered { listed: 4, kept: 3, malformed: 0 }));
    let wanted = r#"{"jsonrpc":"2.0","id":1,"result": {"cacheScope":"private","x-vendor":1e1000,"tools":[{"name":"a","n":12345678901234567890123},{"name":"b","description":"pinned"},{"name":"d","x":[]}],"nextCursor":"sealed p2","ttlMs":5,"resultType":"complete"}}"#;
    assert_eq!(String::from_utf8(edits.apply(body)).unwrap(), wanted);
}

#[test]
fn repeated_and_nameless_elements_are_left_out() {
    let body = br#"{"jsonrpc":"2.0","id":1,"result":{"resources":[{"uri":"a"},{"u\u0072i":"\u0061"},{"name":"x"},7,{"uri":1},{"uri":"b"},{"uri":"c"},{"uri":"c"}]}}"#;
    let mut edits = Edits::new();
    let mut asked = Vec::new();
    let done = filter(
        &mut edits,
        result(body),
        ListKind::Resources,
        Revision::V2025_11_25,
        |item| {
            asked.push(item.key.clone().into_owned());
            if item.key == "c" { Verdict::Drop } else { Verdict::Keep }
        },
        |_| None,
    );
    assert_eq!(done, Ok(Filtered { listed: 8, kept: 2, malformed: 5 }));
    assert_eq!(asked, ["a", "b", "c"]);
    let wanted: &[u8] = br#"{"jsonrpc":"2.0","id":1,"result":{"resources":[{"uri":"a"},{"uri":"b"}]}}"#;
    assert_eq!(edits.apply(body), wanted);
}

#[test]
fn other_shapes_are_refused() {
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":{}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"prompts":[]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":[]}"#,
    ] {
        let mut edits = Edits::new();
        let done = filter(
            &mut edits,
            result(body.as_bytes()),
            ListKind::Tools,
            Revision::NEWEST,
            |_| Verdict::Keep,
            |_| None,
        );
        assert_eq!(done, Err(ListError::Shape), "{body}");
        assert!(edits.is_empty());
    }
}

#[test]
fn modern_results_become_private() {
    for (before, after) in [
        (r#"{"cacheScope":"public","a":1}"#, r#"{"cacheScope":"private","a":1}"#),
        (r#"{"a":1,"cache\u0053cope" : null}"#, r#"{"a":1,"cache\u0053cope" : "private"}"#),
        (r#"{"a":1,"cacheScope":"private"}"#, r#"{"a":1,"cacheScope":"private"}"#),
        (r#"{ "a":1}"#, r#"{"cacheScope":"private", "a":1}"#),
        ("{ }", r#"{"cacheScope":"private" }"#),
        ("[]", "[]"),
    ] {
        for (revision, wanted) in [(Revision::V2026_07_28, after), (Revision::V2025_11_25, before)] {
            let mut edits = Edits::new();
            make_private(&mut edits, Raw::parse(before.as_bytes()).unwrap(), revision);
            assert_eq!(String::from_utf8(edits.apply(before.as_bytes())).unwrap(), wanted);
        }
    }
}

#[test]
fn discovery_names_only_revisions_that_are_spoken() {
    let text = br#"{"supportedVersions":["2024-11-05","2025-03-26","2025-06-18","2025-11-25","2026-07-28","2027-01-01",1],"cacheScope":"public"}"#;
    let mut edits = Edits::new();
    discover(&mut edits, Raw::parse(text).unwrap()).unwrap();
    let wanted: &[u8] =
        br#"{"supportedVersions":["2025-06-18","2025-11-25","2026-07-28"],"cacheScope":"private"}"#;
    assert_eq!(edits.apply(text), wanted);
    assert_eq!(discover(&mut Edits::new(), Raw::parse(b"{}").unwrap()), Err(ListError::Shape));
}

#[test]
fn renaming_touches_only_the_name() {
    let body = br#"[{"title":"T" ,"n\u0061me" : "x\n","n":1.0}]"#;
    let definition = Raw::parse(body).unwrap().elements().next().unwrap();
    assert_eq!(renamed(definition, "git_\"x").unwrap(), br#"{"title":"T" ,"n\u0061me" : "git_\"x","n":1.0}"#);
    assert_eq!(renamed(Raw::parse(b"{\"name\":1}").unwrap(), "a"), None);
    assert_eq!(renamed(Raw::parse(b"[]").unwrap(), "a"), None);
}

#[test]
fn every_list_method_has_a_kind() {
    for &method in Method::ALL {
        let name = method.as_str();
        let is_list = name.ends_with("/list") && !name.starts_with("tasks") && !name.starts_with("roots");
        assert_eq!(ListKind::of(method).is_some(), is_list, "{name}");
    }
}

proptest! {
    /// Filtering equals filtering a parsed tree, whatever else the result holds.
    #[test]
    fn filtering_equals_filtering_the_tree(
        extra in testing::object(),
        elements in prop::collection::vec((0..12_u8, testing::object()), 0..12),
        dropped in prop::collection::hash_set(0..12_u8, 0..12),
        dice in prop::collection::vec(any::<u8>(), 1..80),
        modern in any::<bool>(),
    ) {
        let prompts: Vec<Value> = elements
            .into_iter()
            .map(|(name, mut members)| {
                members.insert("name".to_owned(), json!(format!("p{name}")));
                Value::Object(members)
            })
            .collect();
        let mut result = extra;
        result.remove("nextCursor");
        result.remove("cacheScope");
        result.insert("prompts".to_owned(), json!(prompts));
        let mut wanted = result.clone();
        let mut seen = std::collections::HashSet::new();
        let kept = prompts.into_iter().filter(|prompt| {
            let name = prompt["name"].as_str().unwrap().to_owned();
            let number: u8 = name[1..].parse().unwrap();
            seen.insert(name) && !dropped.contains(&number)
        });
        wanted.insert("prompts".to_owned(), kept.collect());
        if modern {
            wanted.insert("cacheScope".to_owned(), json!("private"));
        }
        let body = testing::spell(&json!({"jsonrpc": "2.0", "id": 1, "result": result}), &mut dice.into_iter().cycle());
        let revision = if modern { Revision::V2026_07_28 } else { Revision::V2025_06_18 };
        let mut edits = Edits::new();
        let place = self::result(body.as_bytes());
        filter(&mut edits, place, ListKind::Prompts, revision, |item| {
            let number: u8 = item.key[1..].parse().unwrap();
            if dropped.contains(&number) { Verdict::Drop } else { Verdict::Keep }
        }, |_| None).unwrap();
        let filtered = edits.apply(body.as_bytes());
        let found: Value = serde_json::from_slice(&filtered).unwrap();
        let unfiltered: Value = serde_json::from_str(&Value::Object(wanted).to_string()).unwrap();
        prop_assert_eq!(&found["result"], &unfiltered);
        prop_assert!(parse(&filtered).is_ok());
    }
}
