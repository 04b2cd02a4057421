//! What the targets share: a second, independent opinion on JSON.

use std::{collections::HashSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// What a second reader says of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opinion {
    /// It is what the gateway accepts.
    Accept,
    /// It is not.
    Refuse,
    /// A number is outside what that reader can hold, so it stopped there.
    Unsure,
}

/// `serde_json` with the gateway's stricter rules: no duplicate keys at any depth, at most 64 containers.
pub fn opinion(bytes: &[u8]) -> Opinion {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    match Strict(0).deserialize(&mut reader).and_then(|()| reader.end()) {
        Ok(()) => Opinion::Accept,
        Err(error) if error.to_string().contains("out of range") => Opinion::Unsure,
        Err(_) => Opinion::Refuse,
    }
}

/// How many containers are open.
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
        while let Some(name) = members.next_key::<String>()? {
            members.next_value_seed(Strict(inner))?;
            if !seen.insert(name) {
                return Err(A::Error::custom("duplicate key"));
            }
        }
        Ok(())
    }
}

impl Strict {
    fn deeper<E: Error>(&self) -> Result<u8, E> {
        if self.0 == mcp::raw::MAX_DEPTH { Err(E::custom("too deep")) } else { Ok(self.0 + 1) }
    }
}
