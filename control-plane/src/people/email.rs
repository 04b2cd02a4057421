//! E-mail addresses, by which accounts are told apart.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

/// An address in the one spelling that stands for it here: ASCII and lower case. Two that differ are two people, so there is no spelling
/// that only looks like another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Email(String);

impl Email {
    /// Reads an address as somebody has typed it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let (local, domain) = text.split_once('@')?;
        let atom = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&c);
        let dotted = |part: &str| part.split('.').all(|piece| !piece.is_empty() && piece.bytes().all(atom));
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let fits = text.len() <= 254
            && local.len() <= 64
            && dotted(local)
            && domain.contains('.')
            && domain.split('.').all(label);
        fits.then_some(Self(text))
    }

    /// From the database, where only addresses are.
    #[must_use]
    pub const fn stored(text: String) -> Self {
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Email {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("must be an e-mail address in ASCII"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_spelling() {
        assert_eq!(Email::parse("Ann.B+x@Example.COM").unwrap().as_str(), "ann.b+x@example.com");
        for wrong in [
            "",
            "ann",
            "@example.com",
            "ann@",
            "ann@example",
            "a@b@example.com",
            " ann@example.com",
            "ann@example.com ",
            "a..n@example.com",
            ".ann@example.com",
            "ann@-example.com",
            "ann@example..com",
            "\u{e4}nn@example.com",
            "ann@ex\u{e4}mple.com",
            "\u{212a}@example.com",
            "\"a b\"@example.com",
            "ann\0@example.com",
            &format!("{}@example.com", "a".repeat(65)),
            &format!("ann@{}example.com", "a.".repeat(130)),
        ] {
            assert_eq!(Email::parse(wrong), None, "{wrong:?}");
        }
    }
}
