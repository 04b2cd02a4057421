//! What the property tests share: JSON values, ways to spell them, and a second opinion on what is acceptable.

use std::collections::HashSet;
use std::fmt;

use proptest::prelude::*;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::raw::MAX_DEPTH;

/// Any JSON value, a few levels deep, with keys that repeat across objects.
pub(crate) fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        3 => any::<i32>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        3 => any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::from),
        3 => text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(key(), inner, 0..20)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// An object.
pub(crate) fn object() -> impl Strategy<Value = serde_json::Map<String, Value>> {
    prop::collection::btree_map(key(), value(), 0..8).prop_map(|members| members.into_iter().collect())
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-e]{1,2}",
        1 => Just("name".to_owned()),
        1 => Just("_meta".to_owned()),
        1 => text(),
    ]
}

pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,12}",
        any::<String>(),
        "[\\x00-\\x1f\"\\\\/\u{7f}\u{80}\u{2028}\u{ffff}\u{10000}\u{1f600}]{0,6}",
        // Long enough for the vectorised search.
        "[a-z\\\\\"\u{e9}]{60,140}",
    ]
}

/// A spelling of a value: white space, escapes and the order of members chosen by `dice`.
pub(crate) fn spell(value: &Value, dice: &mut impl Iterator<Item = u8>) -> String {
    let mut out = String::new();
    write(&mut out, value, dice);
    out
}

fn write(out: &mut String, value: &Value, dice: &mut impl Iterator<Item = u8>) {
    space(out, dice);
    match value {
        Value::Object(members) => {
            out.push('{');
            let mut members: Vec<_> = members.iter().collect();
            let length = members.len().max(1);
            members.rotate_left(usize::from(dice.next().unwrap_or(0)) % length);
            for (at, (name, member)) in members.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                space(out, dice);
                string(out, name, dice);
                space(out, dice);
                out.push(':');
                write(out, member, dice);
            }
            space(out, dice);
            out.push('}');
        }
        Value::Array(elements) => {
            out.push('[');
            for (at, element) in elements.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(out, element, dice);
            }
            space(out, dice);
            out.push(']');
        }
        Value::String(text) => string(out, text, dice),
        other => out.push_str(&other.to_string()),
    }
    space(out, dice);
}

fn space(out: &mut String, dice: &mut impl Iterator<Item = u8>) {
    match dice.next().unwrap_or(0) {
        0..=200 => {}
        201..=220 => out.push(' '),
        221..=240 => out.push('\n'),
        _ => out.push_str("\r\t "),
    }
}

fn string(out: &mut String, text: &str, dice: &mut impl Iterator<Item = u8>) {
    out.push('"');
    for character in text.chars() {
        let escape = character < ' ' || matches!(character, '"' | '\\') || dice.next().unwrap_or(0) > 230;
        if !escape {
            out.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            out.push_str(&format!("\\u{unit:04x}"));
        }
    }
    out.push('"');
}

/// Bytes that are close to JSON: a spelled value with a few bytes changed, put in or taken out.
pub(crate) fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), 0..3_u8, any::<u8>(), 0..JSON_BYTES.len());
    let spelled = (value(), prop::collection::vec(any::<u8>(), 0..64))
        .prop_map(|(value, dice)| spell(&value, &mut dice.into_iter().cycle()).into_bytes());
    (spelled, prop::collection::vec(change, 0..4)).prop_map(|(mut bytes, changes)| {
        for (at, what, any, pick) in changes {
            let byte = if any < 64 { any } else { JSON_BYTES[pick] };
            let at = at.index(bytes.len() + 1);
            match what {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => bytes[at] = byte,
                _ if at < bytes.len() => drop(bytes.remove(at)),
                _ => {}
            }
        }
        bytes
    })
}

const JSON_BYTES: &[u8] = b"{}[]\",:\\utrfalsen0123456789.eE+- \n\t\x00\x1f\x80\xc3\xa9\xed\xa0\xff";

/// What a second, independent reader says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opinion {
    Accept,
    Refuse,
    /// It is JSON, but a number is outside what that reader can represent.
    Unsure,
}

/// `serde_json` with the stricter rules added: no duplicate keys, at most [`MAX_DEPTH`] containers.
pub(crate) fn opinion(bytes: &[u8]) -> Opinion {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    match Strict(0).deserialize(&mut reader).and_then(|()| reader.end()) {
        Ok(()) => Opinion::Accept,
        Err(error) if error.to_string().contains("out of range") => Opinion::Unsure,
        Err(_) => Opinion::Refuse,
    }
}

struct Strict(u8);

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while elements.next_element_seed(Strict(inner))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut seen = HashSet::new();
        while let Some(name) = members.next_key::<Name>()? {
            members.next_value_seed(Strict(inner))?;
            if !seen.insert(name.0) {
                return Err(de::Error::custom("duplicate key"));
            }
        }
        Ok(())
    }
}

impl Strict {
    fn deeper<E: de::Error>(&self) -> Result<u8, E> {
        if self.0 == MAX_DEPTH { Err(E::custom("too deep")) } else { Ok(self.0 + 1) }
    }
}

struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}
