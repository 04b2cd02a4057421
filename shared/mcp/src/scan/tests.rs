use proptest::prelude::*;
use serde_json::Value;

use super::{MAX_DEPTH, ScanError};
use crate::raw::{Kind, Raw};
use crate::testing::{self, Opinion};

fn scan(text: &str) -> Result<Raw<'_>, ScanError> {
    Raw::parse(text.as_bytes())
}

#[test]
fn accepts_json() {
    for text in [
        "0",
        "-0",
        "10",
        "1.5",
        "-1.25e-10",
        "1E+9",
        "0e0",
        "123456789012345678901234567890",
        "1e999",
        "true",
        "false",
        "null",
        "\"\"",
        "[]",
        "{}",
        " [ 1 , \"a\" ] ",
        "\r\n\t{\"a\":{\"a\":[{\"a\":1}]}}",
        r#""\"\\\/\b\f\n\r\t\u0000""#,
        r#""\ud83d\ude00\uD83D\uDE00""#,
        "\"\u{7f}\u{80}\u{10ffff}\"",
        r#"{"":0,"A":1,"a":2}"#,
    ] {
        assert!(scan(text).is_ok(), "{text}");
    }
}

#[test]
fn refuses_what_is_not_json() {
    for text in [
        "",
        " ",
        "{",
        "}",
        "[",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{,}",
        "{a:1}",
        "{'a':1}",
        "{\"a\" 1}",
        "{1:1}",
        "01",
        "-",
        "+1",
        ".5",
        "1.",
        "1.e1",
        "1e",
        "1e+",
        "--1",
        "0x1",
        "1_0",
        "NaN",
        "Infinity",
        "tru",
        "truE",
        "nul",
        "nulll",
        "falsee",
        "\"",
        "\"a",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\u{1}\"",
        "\"\n\"",
        "\"\t\"",
        "1 1",
        "{} {}",
        "[] ,",
        "null\u{0}",
        "\u{feff}1",
        "/**/1",
        "\u{a0}1",
        "1\u{b}",
    ] {
        assert!(matches!(scan(text), Err(ScanError::Syntax(_))), "{text}");
    }
    assert_eq!(Raw::parse(b"\"a\xff\""), Err(ScanError::Utf8(2)));
    assert_eq!(Raw::parse(b"\"\xed\xa0\x80\""), Err(ScanError::Utf8(1)));
    assert_eq!(Raw::parse(b"\"\xc0\xaf\""), Err(ScanError::Utf8(1)));
}

#[test]
fn refuses_lone_surrogates() {
    for text in [
        r#""\ud800""#,
        r#""\udc00""#,
        r#""\ud800\ud800""#,
        r#""\ud800x""#,
        r#""\ud800\u0041""#,
        r#""\ud800\n""#,
        r#"{"\udfff":1}"#,
        r#""\ude00\ud83d""#,
    ] {
        assert!(matches!(scan(text), Err(ScanError::Syntax(_))), "{text}");
    }
}

#[test]
fn refuses_duplicate_keys_at_every_depth_in_every_spelling() {
    let pairs = [
        (r#""name""#, r#""name""#),
        (r#""name""#, r#""na\u006de""#),
        (r#""na\u006De""#, r#""n\u0061me""#),
        (r#""a/b""#, r#""a\/b""#),
        (r#""""#, r#""""#),
        (r#""\t""#, r#""\u0009""#),
        (r#""é""#, r#""\u00e9""#),
        (r#""😀""#, r#""\ud83d\ude00""#),
        (r#""\uD83D\uDE00""#, r#""\ud83d\ude00""#),
        (r#""\u0000""#, r#""\u0000""#),
        (r#""longer-than-eight-bytes""#, r#""longer-than-eight-\u0062ytes""#),
    ];
    let filler = |count: usize| (0..count).map(|at| format!("\"k{at}\":{at},")).collect::<String>();
    for (first, second) in pairs {
        for between in [0, 1, 13, 14, 15, 16, 17, 40, 500] {
            let object = format!("{{{first}:1,{}{second}:2}}", filler(between));
            for text in [
                object.clone(),
                format!("[{object}]"),
                format!("{{\"x\":{{\"y\":[1,{{\"z\":{object}}}]}}}}"),
                format!("{{\"before\":1,\"x\":{object},\"after\":2}}"),
            ] {
                assert!(matches!(scan(&text), Err(ScanError::DuplicateKey(_))), "{text}");
            }
        }
    }
}

#[test]
fn equal_keys_of_different_objects_are_no_duplicates() {
    let many =
        (0..40).map(|at| format!("\"k{at}\":{{\"k{at}\":1,\"k0\\u0021\":2}}")).collect::<Vec<_>>().join(",");
    for text in [
        r#"{"a":{"a":{"a":1}},"b":{"a":1,"b":{"a":2}}}"#.to_owned(),
        r#"[{"a":1},{"a":1},{"\u0061":1}]"#.to_owned(),
        r#"{"a":1,"A":1,"a ":1,"":1," ":1,"\u0000":1,"\u0000\u0000":1}"#.to_owned(),
        format!("{{{many}}}"),
    ] {
        assert!(scan(&text).is_ok(), "{text}");
    }
}

#[test]
fn nesting_is_bounded() {
    let nested =
        |depth: usize, open: &str, close: &str| format!("{}1{}", open.repeat(depth), close.repeat(depth));
    let limit = usize::from(MAX_DEPTH);
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")] {
        let containers = open.matches(['[', '{']).count();
        assert!(scan(&nested(limit / containers, open, close)).is_ok());
        assert!(matches!(scan(&nested(limit / containers + 1, open, close)), Err(ScanError::Depth(_))));
        assert!(matches!(scan(&nested(200_000, open, close)), Err(ScanError::Depth(_))));
    }
    // Depth is of what is open, not of what was opened.
    assert!(scan(&format!("[{}1]", "[[]],".repeat(1000))).is_ok());
}

#[test]
fn control_characters_are_found_wherever_they_stand() {
    for length in 0..200 {
        for at in (0..length).step_by(7) {
            for byte in [0_u8, 9, 10, 31] {
                let mut text = vec![b'a'; length + 2];
                text[0] = b'"';
                text[length + 1] = b'"';
                assert!(Raw::parse(&text).is_ok());
                text[at + 1] = byte;
                assert_eq!(Raw::parse(&text), Err(ScanError::Syntax(u32::try_from(at + 1).unwrap())));
            }
        }
    }
}

/// Every part of the tree is where the scanner says.
fn same(raw: Raw<'_>, value: &Value, whole: &str) {
    assert_eq!(&whole[raw.range()], raw.as_str());
    match value {
        Value::Object(members) => {
            assert_eq!(raw.kind(), Kind::Object);
            let found: Vec<_> = raw.members().collect();
            assert_eq!(found.len(), members.len());
            for (name, raw) in found {
                same(raw, &members[&*name], whole);
            }
            for (name, value) in members {
                same(raw.get(name).unwrap(), value, whole);
            }
        }
        Value::Array(elements) => {
            assert_eq!(raw.elements().count(), elements.len());
            raw.elements().zip(elements).for_each(|(raw, value)| same(raw, value, whole));
        }
        Value::String(text) => assert_eq!(raw.string().unwrap(), text.as_str()),
        Value::Bool(flag) => assert_eq!(raw.bool(), Some(*flag)),
        Value::Number(number) => {
            assert_eq!(raw.as_str(), number.to_string());
            assert_eq!(raw.i64(), number.as_i64());
        }
        Value::Null => assert!(raw.is_null()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn spans_are_where_the_values_are(value in testing::value(), dice in prop::collection::vec(any::<u8>(), 1..200)) {
        let text = testing::spell(&value, &mut dice.into_iter().cycle());
        same(scan(&text).unwrap(), &value, &text);
    }

    #[test]
    fn agrees_with_a_second_reader(bytes in testing::nearly_json()) {
        let scanned = Raw::parse(&bytes);
        match testing::opinion(&bytes) {
            Opinion::Accept => prop_assert!(scanned.is_ok(), "{scanned:?}"),
            Opinion::Refuse => prop_assert!(scanned.is_err()),
            Opinion::Unsure => {}
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let accepted = testing::opinion(&bytes) == Opinion::Accept;
        prop_assert_eq!(Raw::parse(&bytes).is_ok(), accepted);
    }

    #[test]
    fn duplicates_are_found_as_a_set_finds_them(
        keys in prop::collection::vec("[ab]{0,2}|[a-z]{8,10}", 0..60),
        dice in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let mut dice = dice.into_iter().cycle();
        let members: Vec<String> =
            keys.iter().map(|key| format!("{}:1", testing::spell(&Value::from(key.as_str()), &mut dice))).collect();
        let text = format!("{{{}}}", members.join(","));
        let unique = keys.iter().collect::<std::collections::HashSet<_>>().len() == keys.len();
        prop_assert_eq!(scan(&text).is_ok(), unique);
    }
}
