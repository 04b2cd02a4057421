//! Patterns of resource URIs, and which URIs a wildcard may be trusted with.

use crate::grant::MAX_URI_BYTES;

/// A pattern of URIs: `*` stands for any sequence of characters, `\*` for a star, `\\` for a backslash; everything else
/// stands for itself and is compared byte for byte.
///
/// A pattern with a wildcard permits only URIs that are [plain](is_plain), so that `file:///a/*` does not permit
/// `file:///a/../b`; and it forbids every URI that is not, so that another spelling does not escape a forbid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UriPattern {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Char(char),
    Any,
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Empty, or longer than [`MAX_URI_BYTES`].
    #[error("must have 1 to 2048 bytes")]
    Length,
    /// A backslash before something else than `*` or `\`.
    #[error("a backslash must be followed by `*` or a backslash")]
    Escape,
}

impl UriPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The text is empty, too long, or has a backslash that escapes nothing.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() || text.len() > MAX_URI_BYTES {
            return Err(PatternError::Length);
        }
        let mut parts = Vec::with_capacity(text.len());
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            parts.push(match c {
                '*' if parts.last() == Some(&Part::Any) => continue,
                '*' => Part::Any,
                '\\' => match chars.next() {
                    Some(escaped @ ('*' | '\\')) => Part::Char(escaped),
                    _ => return Err(PatternError::Escape),
                },
                other => Part::Char(other),
            });
        }
        Ok(Self { parts })
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The one URI it stands for, where it has no wildcard.
    pub(crate) fn literal(&self) -> Option<String> {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Char(c) => Some(*c),
                Part::Any => None,
            })
            .collect()
    }
}

/// Whether a URI has only one spelling, as far as a wildcard is concerned: a lower-case scheme; no `.` or `..` segment; no
/// backslash, control character or white space; no percent escape of a letter, digit, `-`, `.`, `_`, `~`, `/`, `\`, a control
/// character or a percent sign that begins another escape (RFC 3986 section 6.2.2 calls the rest equivalent).
#[must_use]
pub fn is_plain(uri: &str) -> bool {
    let Some((scheme, rest)) = uri.split_once(':') else { return false };
    let scheme_is_lower = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b));
    scheme_is_lower
        && rest.chars().all(|c| c != '\\' && !c.is_control() && !c.is_whitespace())
        && !rest.split(['/', '?', '#', '&', '=', ';', ':']).any(|segment| segment == "." || segment == "..")
        && escapes_are_plain(rest.as_bytes())
}

fn escapes_are_plain(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|b| *b == b'%') {
        let [high, low, after @ ..] = &rest[at + 1..] else { return false };
        let (Some(high), Some(low)) = (hex_digit(*high), hex_digit(*low)) else { return false };
        let byte = high << 4 | low;
        let begins_another =
            byte == b'%' && matches!(after, [a, b, ..] if hex_digit(*a).is_some() && hex_digit(*b).is_some());
        if byte.is_ascii_alphanumeric()
            || b"-._~/\\".contains(&byte)
            || byte.is_ascii_control()
            || begins_another
        {
            return false;
        }
        rest = after;
    }
    true
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_read_escapes_and_refuse_dangling_ones() {
        assert_eq!(UriPattern::parse(r"a\*b\\").map(|p| p.literal()), Ok(Some(r"a*b\".to_owned())));
        assert_eq!(UriPattern::parse("a**b"), UriPattern::parse("a*b"));
        assert_eq!(UriPattern::parse("a*").map(|p| p.literal()), Ok(None));
        assert_eq!(UriPattern::parse(r"a\n"), Err(PatternError::Escape));
        assert_eq!(UriPattern::parse("a\\"), Err(PatternError::Escape));
        assert_eq!(UriPattern::parse(""), Err(PatternError::Length));
        assert_eq!(UriPattern::parse(&"a".repeat(2049)), Err(PatternError::Length));
    }

    #[test]
    fn only_one_spelling_is_plain() {
        for plain in [
            "file:///a/b.txt",
            "demo://Note/1",
            "test://template/{id}/data",
            "mail:x",
            "file:///a%20b",
            "a://b/c%3Fd",
            "file:///...",
            "file:///a..b",
            "urn:isbn:1",
            "https://[::1]/a",
            "note://100%25",
            "x://ü",
        ] {
            assert!(is_plain(plain), "{plain}");
        }
        for other in [
            "file:///a/../b",
            "file:///a/..",
            "file:///a/%2e%2e/b",
            "file:///a/.%2E/b",
            "file:///a/./b",
            "FILE:///a",
            "file:///a\\..\\b",
            "file:///a/..%2fb",
            "file:///a%2fb",
            "file:///a%5cb",
            "file:///%61",
            "file:///a%00",
            "file:///a%252e%252e/b",
            "file:///a%",
            "file:///a%g0",
            "file:///a\n",
            "file:///a b",
            "noscheme",
            "",
            "x://a?path=../b",
            "x://a?path=..",
            "x:..",
            "1x://a",
            "file:///a%25%32%65",
        ] {
            assert!(!is_plain(other), "{other}");
        }
    }
}
