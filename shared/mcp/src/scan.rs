//! The strict JSON scanner (RFC 8259, and RFC 7493 where it is narrower): one pass, borrowed, bounded.
//!
//! It accepts exactly one value: valid UTF-8, valid escapes without lone surrogates, numbers by the grammar, no
//! duplicate key in any object (compared after unescaping), at most [`MAX_DEPTH`] nested containers, nothing after
//! the value. It never builds a tree; callers pull members and keep spans.

mod keys;
mod text;

use std::fmt;

pub(crate) use keys::{KeyPolicy, Keys, Unchecked};
pub(crate) use text::{string_text, unescape};

/// Containers that may be nested in each other, the outermost included.
pub const MAX_DEPTH: u8 = 64;

/// Why bytes are not a JSON text this product accepts. Offsets are in bytes from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// The bytes are not UTF-8.
    #[error("not UTF-8 at byte {0}")]
    Utf8(u32),
    /// The grammar of RFC 8259 is broken, a surrogate stands alone, or something follows the value.
    #[error("not JSON at byte {0}")]
    Syntax(u32),
    /// An object has two members of the same name, also when they are spelled with different escapes.
    #[error("duplicate key at byte {0}")]
    DuplicateKey(u32),
    /// More than [`MAX_DEPTH`] containers are nested.
    #[error("nested too deeply at byte {0}")]
    Depth(u32),
    /// More than `u32::MAX` bytes, which no cap of the gateway allows.
    #[error("longer than 4 GiB")]
    TooLong,
}

/// Where a value lies in the scanned text, in bytes. Start = end means absent: no JSON value is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    pub(crate) const fn is_absent(self) -> bool {
        self.start == self.end
    }
}

/// A string value or key: its span with the quotes, and whether any escape occurs in it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StringSpan {
    pub(crate) span: Span,
    pub(crate) escaped: bool,
}

/// An object being read; made by [`Scanner::begin_object`], advanced by [`Scanner::next_key`].
#[derive(Debug)]
pub(crate) struct ObjectFrame {
    base: usize,
    first: bool,
}

/// An array being read.
#[derive(Debug)]
pub(crate) struct ArrayFrame {
    first: bool,
}

/// The scanner: a position in a text, and the keys seen in the objects that are open. With [`Unchecked`] it walks a part
/// of a text that was scanned before, without looking for duplicate keys again.
pub(crate) struct Scanner<'a, K = Keys> {
    text: &'a str,
    pos: usize,
    depth: u8,
    keys: K,
}

/// The text may be a caller's data and is not shown.
impl<K> fmt::Debug for Scanner<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scanner(at {}, depth {})", self.pos, self.depth)
    }
}

impl<'a> Scanner<'a, Keys> {
    /// A scanner for bytes from outside.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, ScanError> {
        if u32::try_from(bytes.len()).is_err() {
            return Err(ScanError::TooLong);
        }
        let text =
            std::str::from_utf8(bytes).map_err(|error| ScanError::Utf8(offset(error.valid_up_to())))?;
        Ok(Self { text, pos: 0, depth: 0, keys: Keys::default() })
    }
}

impl<'a> Scanner<'a, Unchecked> {
    /// A scanner for a text that an earlier strict scan accepted.
    pub(crate) fn trusted(text: &'a str) -> Self {
        Self { text, pos: 0, depth: 0, keys: Unchecked }
    }
}

impl<'a, K: KeyPolicy> Scanner<'a, K> {
    /// The whole text.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// How far the scan is, in bytes.
    pub(crate) fn position(&self) -> u32 {
        offset(self.pos)
    }

    /// The first byte of the next token, without moving past it.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.pos) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.pos += 1;
        }
        None
    }

    /// Nothing but white space may follow.
    pub(crate) fn end(&mut self) -> Result<(), ScanError> {
        if self.peek().is_some() { Err(self.syntax()) } else { Ok(()) }
    }

    /// Enters an object.
    #[inline]
    pub(crate) fn begin_object(&mut self) -> Result<ObjectFrame, ScanError> {
        self.expect(b'{')?;
        self.enter()?;
        Ok(ObjectFrame { base: self.keys.len(), first: true })
    }

    /// The next key of the object, the scanner standing before its value; `None` at the object's end.
    #[inline]
    pub(crate) fn next_key(&mut self, frame: &mut ObjectFrame) -> Result<Option<StringSpan>, ScanError> {
        match self.peek() {
            Some(b'}') => {
                self.pos += 1;
                self.depth -= 1;
                if self.keys.close(self.text, frame.base) {
                    return Err(ScanError::DuplicateKey(offset(self.pos)));
                }
                return Ok(None);
            }
            Some(b',') if !frame.first => self.pos += 1,
            Some(_) if frame.first => {}
            _ => return Err(self.syntax()),
        }
        frame.first = false;
        let key = self.string()?;
        self.expect(b':')?;
        if self.keys.push(self.text, frame.base, key) {
            return Err(ScanError::DuplicateKey(key.span.start));
        }
        Ok(Some(key))
    }

    /// Enters an array.
    #[inline]
    pub(crate) fn begin_array(&mut self) -> Result<ArrayFrame, ScanError> {
        self.expect(b'[')?;
        self.enter()?;
        Ok(ArrayFrame { first: true })
    }

    /// Whether another element follows, the scanner standing before it.
    #[inline]
    pub(crate) fn next_element(&mut self, frame: &mut ArrayFrame) -> Result<bool, ScanError> {
        match self.peek() {
            Some(b']') => {
                self.pos += 1;
                self.depth -= 1;
                Ok(false)
            }
            Some(b',') if !frame.first => {
                self.pos += 1;
                Ok(true)
            }
            Some(_) if frame.first => {
                frame.first = false;
                Ok(true)
            }
            _ => Err(self.syntax()),
        }
    }

    /// Reads a string.
    #[inline]
    pub(crate) fn string(&mut self) -> Result<StringSpan, ScanError> {
        self.expect(b'"')?;
        let start = self.pos - 1;
        let (end, escaped) = text::string_end(self.text.as_bytes(), self.pos)?;
        self.pos = end;
        Ok(StringSpan { span: Span { start: offset(start), end: offset(end) }, escaped })
    }

    /// Reads any value and says where it was.
    pub(crate) fn value(&mut self) -> Result<Span, ScanError> {
        let first = self.peek();
        let start = self.pos;
        match first {
            Some(b'"') => return Ok(self.string()?.span),
            Some(b'{' | b'[') if K::TRUSTED => self.pos = text::container_end(self.text.as_bytes(), start)?,
            Some(b'{') => {
                let mut frame = self.begin_object()?;
                while self.next_key(&mut frame)?.is_some() {
                    self.value()?;
                }
            }
            Some(b'[') => {
                let mut frame = self.begin_array()?;
                while self.next_element(&mut frame)? {
                    self.value()?;
                }
            }
            Some(b'-' | b'0'..=b'9') => self.pos = text::number_end(self.text.as_bytes(), start)?,
            Some(b't') => self.literal("true")?,
            Some(b'f') => self.literal("false")?,
            Some(b'n') => self.literal("null")?,
            _ => return Err(self.syntax()),
        }
        Ok(Span { start: offset(start), end: offset(self.pos) })
    }

    /// Whether a key just read spells this name.
    #[inline]
    pub(crate) fn key_text(&self, key: StringSpan) -> std::borrow::Cow<'a, str> {
        text::string_text(self.text, key)
    }

    fn literal(&mut self, word: &str) -> Result<(), ScanError> {
        if self.text.as_bytes()[self.pos..].starts_with(word.as_bytes()) {
            self.pos += word.len();
            Ok(())
        } else {
            Err(self.syntax())
        }
    }

    #[inline]
    fn expect(&mut self, wanted: u8) -> Result<(), ScanError> {
        if self.peek() == Some(wanted) {
            self.pos += 1;
            Ok(())
        } else {
            Err(self.syntax())
        }
    }

    fn enter(&mut self) -> Result<(), ScanError> {
        if self.depth == MAX_DEPTH {
            return Err(ScanError::Depth(offset(self.pos)));
        }
        self.depth += 1;
        Ok(())
    }

    fn syntax(&self) -> ScanError {
        ScanError::Syntax(offset(self.pos))
    }
}

/// Whether a whole text is one number by the grammar.
pub(crate) fn is_number(text: &str) -> bool {
    text::number_end(text.as_bytes(), 0) == Ok(text.len())
}

/// An offset as stored in spans; `Scanner::new` refused texts where it would not fit.
#[inline]
pub(crate) fn offset(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
