#![no_main]
//! The canonical form of a value is JSON, means the same, and is its own canonical form; so equal digests mean equal
//! definitions. Reading a definition's mirrored parameters never panics.

use libfuzzer_sys::fuzz_target;
use mcp::{
    headers::ParamHeaders,
    raw::{Kind, Raw, canonical, definition_digest},
};

fuzz_target!(|text: &[u8]| {
    let Ok(value) = Raw::parse(text) else { return };
    let _ = ParamHeaders::compile(value);
    let digest = definition_digest(value);
    let Ok(first) = canonical(value) else {
        assert!(digest.is_err());
        return;
    };
    let again = Raw::parse(&first).expect("canonical JSON is JSON");
    assert_eq!(canonical(again).as_deref(), Ok(first.as_slice()));
    assert!(same(value, again), "another meaning");
    assert_eq!(digest.is_ok(), value.is_object());
    assert_eq!(digest, definition_digest(again));
});

fn same(a: Raw<'_>, b: Raw<'_>) -> bool {
    match (a.kind(), b.kind()) {
        (Kind::Object, Kind::Object) => {
            a.members().count() == b.members().count()
                && a.members().all(|(name, value)| b.get(&name).is_some_and(|other| same(value, other)))
        }
        (Kind::Array, Kind::Array) => {
            a.elements().count() == b.elements().count()
                && a.elements().zip(b.elements()).all(|(a, b)| same(a, b))
        }
        (Kind::Number, Kind::Number) => number(a) == number(b),
        (Kind::String, Kind::String) => a.string() == b.string(),
        _ => a == b,
    }
}

fn number(value: Raw<'_>) -> f64 {
    value.as_str().parse().expect("a JSON number is a double")
}
