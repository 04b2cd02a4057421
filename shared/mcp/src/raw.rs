//! JSON as it was received: validated once, then walked, compared and spliced without ever being re-serialised.

mod canonical;
mod edits;
mod number;

use std::{borrow::Cow, fmt, ops::Range};

pub use canonical::{CanonicalError, canonical, definition_digest};
pub use edits::{Edits, json_string, splice, write_json_string};
pub(crate) use number::same as same_number;

use crate::scan::{ArrayFrame, ObjectFrame, Scanner, Span, StringSpan, Unchecked, offset};
pub use crate::scan::{MAX_DEPTH, ScanError};

/// What a JSON value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    String,
    /// A number, integer or not.
    Number,
    /// `true` or `false`
    Bool,
    /// `null`
    Null,
}

/// One JSON value of a text that passed the strict scan, and where it lies in that text.
///
/// Its bytes are exactly those received, without surrounding white space. Two are equal when their bytes are.
#[derive(Clone, Copy)]
pub struct Raw<'a> {
    text: &'a str,
    start: u32,
}

impl<'a> Raw<'a> {
    /// Scans a whole text strictly (see [`ScanError`]); spans are relative to `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ScanError> {
        let mut scanner = Scanner::new(bytes)?;
        let span = scanner.value()?;
        scanner.end()?;
        Ok(Self::at(scanner.text(), span))
    }

    /// A value inside a text that was scanned strictly.
    #[inline]
    pub(crate) fn at(text: &'a str, span: Span) -> Self {
        Self { text: text.get(span.start as usize..span.end as usize).unwrap_or("null"), start: span.start }
    }

    /// As received.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.text
    }

    /// As received.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// Byte range in the text that was scanned: what [`Edits::replace`] takes.
    #[must_use]
    pub fn range(self) -> Range<usize> {
        let start = self.start as usize;
        start..start + self.text.len()
    }

    /// What it is.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self.text.as_bytes().first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') | None => Kind::Null,
            Some(_) => Kind::Number,
        }
    }

    /// Whether it is an object.
    #[must_use]
    pub fn is_object(self) -> bool {
        self.kind() == Kind::Object
    }

    /// Whether it is `null`.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.kind() == Kind::Null
    }

    /// What a string spells; `None` for other kinds. Borrowed unless it has escapes.
    #[must_use]
    pub fn string(self) -> Option<Cow<'a, str>> {
        if self.kind() != Kind::String {
            return None;
        }
        let inner = self.text.get(1..self.text.len() - 1)?;
        Some(if memchr::memchr(b'\\', inner.as_bytes()).is_some() {
            Cow::Owned(crate::scan::unescape(inner))
        } else {
            Cow::Borrowed(inner)
        })
    }

    /// Whether it is a string that spells exactly this.
    #[must_use]
    pub fn is_str(self, wanted: &str) -> bool {
        self.string().is_some_and(|text| text == wanted)
    }

    /// `true` or `false`; `None` for other kinds.
    #[must_use]
    pub fn bool(self) -> Option<bool> {
        match self.text {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// An integer written without fraction and exponent that fits; `None` otherwise.
    #[must_use]
    pub fn i64(self) -> Option<i64> {
        if self.kind() == Kind::Number { self.text.parse().ok() } else { None }
    }

    /// The member of an object with this name (escapes in the key are understood).
    #[must_use]
    pub fn get(self, name: &str) -> Option<Raw<'a>> {
        self.members().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The member reached by these names, each inside the one before.
    #[must_use]
    pub fn path(self, names: &[&str]) -> Option<Raw<'a>> {
        names.iter().try_fold(self, |value, name| value.get(name))
    }

    /// Name and value of each member of an object, in order; nothing for other kinds.
    #[must_use]
    pub fn members(self) -> Members<'a> {
        let mut scanner = Scanner::trusted(self.text);
        let frame = if self.is_object() { scanner.begin_object().ok() } else { None };
        Members { scanner, frame, start: self.start }
    }

    /// The elements of an array, in order; nothing for other kinds.
    #[must_use]
    pub fn elements(self) -> Elements<'a> {
        let mut scanner = Scanner::trusted(self.text);
        let frame = if self.kind() == Kind::Array { scanner.begin_array().ok() } else { None };
        Elements { scanner, frame, start: self.start }
    }

    /// The same value as a text of its own: spans start at 0.
    #[must_use]
    pub fn detached(self) -> Raw<'a> {
        Raw { text: self.text, start: 0 }
    }
}

/// Content may be a caller's data, so only kind and place are shown.
impl fmt::Debug for Raw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Raw({:?} at {:?})", self.kind(), self.range())
    }
}

impl PartialEq for Raw<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}
impl Eq for Raw<'_> {}

/// Iterator of [`Raw::members`].
#[derive(Debug)]
pub struct Members<'a> {
    scanner: Scanner<'a, Unchecked>,
    frame: Option<ObjectFrame>,
    start: u32,
}

impl<'a> Members<'a> {
    fn advance(&mut self) -> Option<(StringSpan, Span)> {
        let frame = self.frame.as_mut()?;
        let key = self.scanner.next_key(frame).ok().flatten()?;
        Some((key, self.scanner.value().ok()?))
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, Raw<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let Some((key, span)) = self.advance() else {
            self.frame = None;
            return None;
        };
        let text = self.scanner.text();
        Some((self.scanner.key_text(key), within(text, span, self.start)))
    }
}

/// Iterator of [`Raw::elements`].
#[derive(Debug)]
pub struct Elements<'a> {
    scanner: Scanner<'a, Unchecked>,
    frame: Option<ArrayFrame>,
    start: u32,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Raw<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let frame = self.frame.as_mut()?;
        let span = match self.scanner.next_element(frame) {
            Ok(true) => self.scanner.value().ok(),
            _ => None,
        };
        let Some(span) = span else {
            self.frame = None;
            return None;
        };
        Some(within(self.scanner.text(), span, self.start))
    }
}

/// A value of a part, placed in the whole.
fn within(part: &str, span: Span, base: u32) -> Raw<'_> {
    let mut raw = Raw::at(part, span);
    raw.start = offset(base as usize + span.start as usize);
    raw
}

#[cfg(test)]
mod tests;
