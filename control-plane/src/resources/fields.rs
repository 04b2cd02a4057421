//! Kinds of field that several resources have.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

/// A name for people: 1 to 100 characters, no control characters, no white space at either end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Name(String);

impl Name {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// From the database, where only valid names are.
    #[must_use]
    pub const fn stored(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let fits = (1..=100).contains(&text.chars().count())
            && text.trim() == text
            && !text.chars().any(|c| c.is_control() || is_invisible(c));
        if fits {
            Ok(Self(text))
        } else {
            Err(de::Error::custom(
                "must be 1 to 100 characters, without control or invisible characters, and without white space at either end",
            ))
        }
    }
}

/// Characters that make two names look alike, or a name read otherwise than it is.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A time in RFC 3339.
pub mod moment {
    pub use time::serde::rfc3339::{deserialize, option, serialize};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_visible_text() {
        let parse = |text: &str| serde_json::from_value::<Name>(text.into()).is_ok();
        assert!(parse("Acme Ltd.") && parse("ä") && parse(&"x".repeat(100)));
        for wrong in ["", " a", "a ", "a\nb", "a\u{202e}b", &"x".repeat(101)] {
            assert!(!parse(wrong), "{wrong:?}");
        }
    }
}
