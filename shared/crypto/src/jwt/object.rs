//! Claims of others, of which it is not known beforehand what they are: no name twice, at any depth, so that nobody reads another one of
//! two than we do.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use super::{Token, TokenError};

impl Token<'_> {
    /// All that it claims: to be read when [`super::PublicKey::signed`] has said yes, or to find out whose key to ask.
    ///
    /// # Errors
    /// [`TokenError`]: also where a name stands twice in an object.
    pub fn object(&self) -> Result<Map<String, Value>, TokenError> {
        let claims = URL_SAFE_NO_PAD.decode(self.claims).map_err(|_| TokenError::Malformed)?;
        match serde_json::from_slice(&claims) {
            Ok(Once(Value::Object(claims))) => Ok(claims),
            Ok(_) | Err(_) => Err(TokenError::Claims),
        }
    }
}

/// A value in which no object has a name twice.
struct Once(Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visit).map(Once)
    }
}

struct Visit;

impl<'de> Visitor<'de> for Visit {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON in which no name stands twice")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Once(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some((name, Once(value))) = members.next_entry::<String, Once>()? {
            if all.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands twice"));
            }
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(claims: &str) -> Option<Value> {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let token = format!("{}.{}.c2ln", encode(r#"{"alg":"ES256","kid":"k"}"#), encode(claims));
        Token::parse(&token).unwrap().object().ok().map(Value::Object)
    }

    #[test]
    fn claims_in_which_a_name_stands_twice_are_none() {
        let good = json!({"sub": "a", "n": [1, -1, 1.5, null, true, {"a": "b"}]});
        assert_eq!(read(&good.to_string()), Some(good));
        for bad in [
            r#"{"sub":"a","sub":"b"}"#,
            r#"{"sub":"a","s\u0075b":"b"}"#,
            r#"{"cnf":{"jkt":"a","jkt":"b"}}"#,
            r#"{"n":[{"a":1,"a":1}]}"#,
            r#"{"sub":"a"} {}"#,
            "[]",
            "null",
            "{",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
        // Deeper than anybody reads.
        assert_eq!(read(&format!("{{\"a\":{}{}}}", "[".repeat(1_000), "]".repeat(1_000))), None);
    }
}
