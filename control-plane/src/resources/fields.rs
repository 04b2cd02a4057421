//! Kinds of field that several resources have.

use std::fmt;

use seams::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, de};
use time::OffsetDateTime;

use crate::http::problem::ApiError;

/// Milliseconds that connecting to an upstream may take.
pub const MAX_CONNECT_TIMEOUT_MS: u32 = 60_000;
/// Milliseconds of every other time-out of a call.
pub const MAX_CALL_TIMEOUT_MS: u32 = 3_600_000;

/// Longest overlap of a rotation, seconds: 30 days.
const MAX_OVERLAP: u32 = 2_592_000;

/// Checks when a credential is to end: not yet.
///
/// # Errors
/// [`ApiError::Invalid`] at `/not_after`.
pub fn check_not_after(not_after: Option<OffsetDateTime>, now: Timestamp) -> Result<(), ApiError> {
    if not_after.is_some_and(|end| Timestamp::from_offset(end) <= now) {
        return Err(ApiError::invalid("/not_after", "is past"));
    }
    Ok(())
}

/// Checks for how long two credentials are to be good.
///
/// # Errors
/// [`ApiError::Invalid`] at `/overlap_seconds`.
pub fn check_overlap(seconds: u32) -> Result<(), ApiError> {
    if seconds > MAX_OVERLAP {
        return Err(ApiError::invalid("/overlap_seconds", format!("must be at most {MAX_OVERLAP}")));
    }
    Ok(())
}

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

/// Why somebody did what stops others: 1 to 500 characters, no control characters, no white space at either end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Reason(String);

impl Reason {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let fits = (1..=500).contains(&text.chars().count())
            && text.trim() == text
            && !text.chars().any(char::is_control);
        if fits {
            Ok(Self(text))
        } else {
            Err(de::Error::custom(
                "must be 1 to 500 characters, without control characters and without white space at either end",
            ))
        }
    }
}

/// Characters that make two names look alike, or a name read otherwise than it is.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A time in RFC 3339. Read, it is at once what storing would make of it: UTC, in whole microseconds. One that is beyond
/// year 9999 there is refused, as storing it would panic.
pub mod moment {
    use serde::{Deserializer, de::Error};
    use time::{OffsetDateTime, UtcOffset, serde::rfc3339};

    pub use rfc3339::serialize;

    /// # Errors
    /// If it is no time that can be stored.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OffsetDateTime, D::Error> {
        rfc3339::deserialize(deserializer).and_then(storable)
    }

    fn storable<E: Error>(at: OffsetDateTime) -> Result<OffsetDateTime, E> {
        at.checked_to_offset(UtcOffset::UTC)
            .and_then(|at| at.replace_nanosecond(at.microsecond() * 1_000).ok())
            .ok_or_else(|| E::custom("must be in year 9999 of UTC or before"))
    }

    /// Where it may be absent.
    pub mod option {
        use serde::Deserializer;
        use time::{OffsetDateTime, serde::rfc3339};

        pub use rfc3339::option::serialize;

        /// # Errors
        /// If it is no time that can be stored.
        pub fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<OffsetDateTime>, D::Error> {
            rfc3339::option::deserialize(deserializer)?.map(super::storable).transpose()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_it_is_stored() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Two {
            #[serde(with = "moment")]
            one: time::OffsetDateTime,
            #[serde(default, with = "moment::option")]
            other: Option<time::OffsetDateTime>,
        }
        let read = |one: &str, other: Option<&str>| {
            serde_json::from_value::<Two>(serde_json::json!({"one": one, "other": other}))
        };
        let plain = read("2030-01-01T00:00:00.123456Z", None).unwrap();
        assert_eq!(read("2030-01-01T01:00:00.1234567+01:00", None).unwrap().one.offset(), plain.one.offset());
        assert_eq!(read("2030-01-01T01:00:00.1234567+01:00", None).unwrap(), plain);
        let late = "9999-12-31T23:59:59-00:01";
        assert!(read("9999-12-31T23:59:59Z", None).is_ok());
        assert!(read(late, None).is_err() && read("2030-01-01T00:00:00Z", Some(late)).is_err());
    }

    #[test]
    fn names_are_visible_text() {
        let parse = |text: &str| serde_json::from_value::<Name>(text.into()).is_ok();
        assert!(parse("Acme Ltd.") && parse("ä") && parse(&"x".repeat(100)));
        for wrong in ["", " a", "a ", "a\nb", "a\u{202e}b", &"x".repeat(101)] {
            assert!(!parse(wrong), "{wrong:?}");
        }
    }
}
