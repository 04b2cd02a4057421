use proptest::prelude::*;

use super::{CanonicalError, canonical, definition_digest};
use crate::raw::Raw;
use crate::testing;

fn text(json: &str) -> String {
    String::from_utf8(canonical(Raw::parse(json.as_bytes()).unwrap()).unwrap()).unwrap()
}

/// RFC 8785 section 3.2.2 and 3.2.3.
#[test]
fn the_examples_of_the_rfc() {
    let example = r#"{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
      "literals": [null, true, false]
    }"#;
    let wanted = "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\
        \"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
    // The first number does not survive as a double, which the RFC leaves to the sender; here it is refused.
    assert!(matches!(canonical(Raw::parse(example.as_bytes()).unwrap()), Err(CanonicalError::Number(_))));
    assert_eq!(text(&example.replace("333333333.33333329", "333333333.3333333")), wanted);

    let sorted = r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One",
        "\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"#;
    let order: Vec<_> = ["Carriage Return", "One", "Control", "Latin Small", "Euro Sign", "Emoji", "Hebrew"]
        .iter()
        .map(|name| text(sorted).find(name).unwrap())
        .collect();
    assert!(order.is_sorted(), "{order:?}");
}

/// RFC 8785 appendix B.
#[test]
fn numbers_print_as_in_ecmascript() {
    for (bits, wanted) in [
        (0x0000000000000000_u64, "0"),
        (0x8000000000000000, "0"),
        (0x0000000000000001, "5e-324"),
        (0x8000000000000001, "-5e-324"),
        (0x7fefffffffffffff, "1.7976931348623157e+308"),
        (0xffefffffffffffff, "-1.7976931348623157e+308"),
        (0x4340000000000000, "9007199254740992"),
        (0xc340000000000000, "-9007199254740992"),
        (0x4430000000000000, "295147905179352830000"),
        (0x44b52d02c7e14af5, "9.999999999999997e+22"),
        (0x44b52d02c7e14af6, "1e+23"),
        (0x44b52d02c7e14af7, "1.0000000000000001e+23"),
        (0x444b1ae4d6e2ef4e, "999999999999999700000"),
        (0x444b1ae4d6e2ef4f, "999999999999999900000"),
        (0x444b1ae4d6e2ef50, "1e+21"),
        (0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"),
        (0x3eb0c6f7a0b5ed8d, "0.000001"),
        (0x41b3de4355555553, "333333333.3333332"),
        (0x41b3de4355555554, "333333333.33333325"),
        (0x41b3de4355555555, "333333333.3333333"),
        (0x41b3de4355555556, "333333333.3333334"),
        (0x41b3de4355555557, "333333333.33333343"),
        (0xbecbf647612f3696, "-0.0000033333333333333333"),
        (0x43143ff3c1cb0959, "1424953923781206.2"),
    ] {
        let number = f64::from_bits(bits);
        assert_eq!(wanted.parse::<f64>().unwrap(), number);
        assert_eq!(text(wanted), wanted);
    }
    for (written, wanted) in [
        ("100", "100"),
        ("1.50", "1.5"),
        ("-0.0", "0"),
        ("0e999999999999999999999", "0"),
        ("10e-1", "1"),
        ("120E2", "12000"),
    ] {
        assert_eq!(text(written), wanted);
    }
}

#[test]
fn numbers_that_do_not_survive_are_refused() {
    for number in [
        "12345678901234567890",
        "9007199254740993",
        "9223372036854775807",
        "18446744073709551615",
        "1e400",
        "-1e999",
        "1e-400",
        // Equally near to the double whose canonical form is 1209443696450198.2.
        "1209443696450198.3",
        "0.1000000000000000055511151231257827",
        "1e99999999999999999999",
        "1e-99999999999999999999",
    ] {
        let json = format!("{{\"a\":[{number}]}}");
        let refused = canonical(Raw::parse(json.as_bytes()).unwrap());
        assert_eq!(refused, Err(CanonicalError::Number(6)), "{number}");
    }
    assert_eq!(definition_digest(Raw::parse(b"[]").unwrap()), Err(CanonicalError::NotAnObject));
}

#[test]
fn a_digest_changes_with_meaning_and_with_nothing_else() {
    let digest = |json: &str| definition_digest(Raw::parse(json.as_bytes()).unwrap()).unwrap();
    let base = digest(r#"{"name":"t","inputSchema":{"type":"object","properties":{"a":{"maximum":1.0}}}}"#);
    assert_eq!(
        base,
        digest(
            " {\"inputSchema\" : {\"properties\":{\"a\":{\"maximum\":1}},\"type\":\"object\"},\"na\\u006de\":\"\\u0074\"}"
        )
    );
    for changed in [
        r#"{"name":"t","inputSchema":{"type":"object","properties":{"a":{"maximum":2}}}}"#,
        r#"{"name":"t","inputSchema":{"type":"object","properties":{"a":{"maximum":"1"}}}}"#,
        r#"{"name":"t","x-vendor":null,"inputSchema":{"type":"object","properties":{"a":{"maximum":1.0}}}}"#,
        r#"{"name":"T","inputSchema":{"type":"object","properties":{"a":{"maximum":1.0}}}}"#,
    ] {
        assert_ne!(base, digest(changed));
    }
    // Fixed for ever: pins are stored under this digest.
    let hex: String = digest(r#"{"name":"echo"}"#).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "f7817751a90d6baf078dd0e2d98b278faa025d83ccee00eb9b60100ad65bdcb9");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn canonical_form_is_a_fixed_point(
        value in testing::value(),
        dice in prop::collection::vec(any::<u8>(), 1..100),
        other_dice in prop::collection::vec(any::<u8>(), 1..100),
    ) {
        let spelled = testing::spell(&value, &mut dice.into_iter().cycle());
        let Ok(once) = canonical(Raw::parse(spelled.as_bytes()).unwrap()) else { return Ok(()) };
        let raw = Raw::parse(&once).unwrap();
        prop_assert_eq!(&canonical(raw).unwrap(), &once);
        // Another spelling, with members in another order, has the same form.
        let again = testing::spell(&value, &mut other_dice.into_iter().cycle());
        prop_assert_eq!(canonical(Raw::parse(again.as_bytes()).unwrap()).unwrap(), once);
    }

    #[test]
    fn every_double_survives(number in any::<f64>().prop_filter("finite", |number| number.is_finite())) {
        let written = format!("{number:e}");
        let digits = written.split('e').next().unwrap().bytes().filter(u8::is_ascii_digit).count();
        // Where two shortest decimals are equally near, Rust writes the upper and ECMAScript the even one.
        let even = format!("{number:.*e}", digits - 1);
        let even = if even.parse() == Ok(number) { even } else { written.clone() };
        prop_assert_eq!(text(&even).parse::<f64>().unwrap(), number);
        let raw = Raw::parse(written.as_bytes()).unwrap();
        prop_assert_eq!(canonical(raw).is_ok(), written == even);
        if written == even {
            prop_assert_eq!(text(&number.to_string()), text(&even));
        }
    }
}
