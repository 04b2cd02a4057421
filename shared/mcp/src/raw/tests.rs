use proptest::prelude::*;

use super::{Edits, Raw, json_string, splice};
use crate::testing;

#[test]
fn escapes_in_keys_are_understood() {
    let raw = Raw::parse(br#" {"na\u006de": {"x\/y": [1, "two"]}} "#).unwrap();
    assert_eq!(raw.range(), 1..36);
    let inner = raw.path(&["name", "x/y"]).unwrap();
    assert_eq!(inner.as_str(), r#"[1, "two"]"#);
    assert!(inner.elements().nth(1).unwrap().is_str("two"));
    assert_eq!(raw.get("other"), None);
    assert_eq!(raw.path(&["name", "x/y", "z"]), None);
}

#[test]
fn debug_output_has_no_content() {
    let raw = Raw::parse(br#"{"secret":"hunter2"}"#).unwrap();
    assert_eq!(format!("{raw:?}"), "Raw(Object at 0..20)");
    let mut edits = Edits::new();
    edits.replace_string(raw.range(), "hunter2");
    let iterators = format!("{:?} {:?} {edits:?}", raw.members(), raw.elements());
    assert!(!iterators.contains("hunter2"), "{iterators}");
}

#[test]
fn edits_are_spliced_in_place() {
    let body = br#"{"id": 7 ,"params":{"cursor":"abc", "n":1e1000}}"#;
    let raw = Raw::parse(body).unwrap();
    let mut edits = Edits::new();
    edits.replace_string(raw.path(&["params", "cursor"]).unwrap().range(), "x\"y");
    edits.replace(raw.get("id").unwrap().range(), b"\"sealed\"".as_slice());
    assert_eq!(edits.apply(body), br#"{"id": "sealed" ,"params":{"cursor":"x\"y", "n":1e1000}}"#);
    assert!(Edits::new().is_empty());
    assert_eq!(Edits::new().apply(body), body);
}

#[test]
fn insertions_keep_their_order_and_overlaps_lose() {
    assert_eq!(splice(b"abcdef", &[(2..2, b"1"), (2..2, b"2"), (2..4, b"X")]), b"ab12Xef");
    assert_eq!(splice(b"abcdef", &[(1..4, b"X"), (2..3, b"Y"), (3..6, b"Z"), (4..5, b"!")]), b"aX!f");
    assert_eq!(splice(b"abc", &[(2..9, b"X"), (7..9, b"Y")]), b"abX");
    assert_eq!(splice(b"", &[(0..0, b"X")]), b"X");
}

proptest! {
    #[test]
    fn written_strings_read_back(text in testing::text()) {
        let written = json_string(&text);
        let raw = Raw::parse(&written).unwrap();
        prop_assert_eq!(raw.string().unwrap(), text.as_str());
        prop_assert_eq!(serde_json::from_slice::<String>(&written).unwrap(), text);
    }

    /// Disjoint replacements, given in any order, equal replacing from the back.
    #[test]
    fn splicing_equals_replacing_from_the_back(
        body in prop::collection::vec(any::<u8>(), 0..60),
        cuts in prop::collection::btree_set(0..60_usize, 0..10),
        with in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 5),
        reversed in any::<bool>(),
    ) {
        let cuts: Vec<usize> = cuts.into_iter().filter(|&cut| cut <= body.len()).collect();
        let mut edits: Vec<_> =
            cuts.chunks_exact(2).zip(&with).map(|(cut, with)| (cut[0]..cut[1], with.as_slice())).collect();
        let mut wanted = body.clone();
        for (range, with) in edits.iter().rev() {
            wanted.splice(range.clone(), with.iter().copied());
        }
        if reversed {
            edits.reverse();
        }
        prop_assert_eq!(splice(&body, &edits), wanted);
    }
}
