//! Splicing: replacing spans of a body and leaving every other byte as it came.

use std::{borrow::Cow, fmt, ops::Range};

/// Replacements to make in one body. Built from ranges of [`super::Raw::range`], applied once.
///
/// Ranges may be given in any order. Of two that overlap, the later call is ignored, so that an outer replacement
/// wins only when it comes first; insertions at the same place keep their order.
#[derive(Default)]
pub struct Edits<'e> {
    edits: Vec<(Range<usize>, Cow<'e, [u8]>)>,
    /// The furthest end of a range so far: what starts behind it cannot overlap.
    end: usize,
}

impl<'e> Edits<'e> {
    /// No replacement yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether applying would change nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Puts `with` in place of the bytes at `range`; an empty range inserts.
    pub fn replace(&mut self, range: Range<usize>, with: impl Into<Cow<'e, [u8]>>) -> &mut Self {
        let clashes = |other: &Range<usize>| range.start < other.end && other.start < range.end;
        if range.start >= self.end || !self.edits.iter().any(|(other, _)| clashes(other)) {
            self.end = self.end.max(range.end);
            self.edits.push((range, with.into()));
        }
        self
    }

    /// Puts a JSON string that spells `text` in place of the bytes at `range`.
    pub fn replace_string(&mut self, range: Range<usize>, text: &str) -> &mut Self {
        self.replace(range, json_string(text))
    }

    /// The body with the replacements made. A range beyond the body's end is cut to it.
    #[must_use]
    pub fn apply(mut self, body: &[u8]) -> Vec<u8> {
        self.edits.sort_by_key(|(range, _)| (range.start, range.end));
        let added: usize = self.edits.iter().map(|(_, with)| with.len()).sum();
        let mut out = Vec::with_capacity(body.len() + added);
        let mut copied = 0;
        for (range, with) in &self.edits {
            let start = range.start.min(body.len()).max(copied);
            out.extend_from_slice(&body[copied..start]);
            out.extend_from_slice(with);
            copied = range.end.min(body.len()).max(start);
        }
        out.extend_from_slice(&body[copied..]);
        out
    }
}

/// What is put in may be a caller's data, so only the places are shown.
impl fmt::Debug for Edits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.edits.iter().map(|(range, _)| range)).finish()
    }
}

/// The body with these replacements made; see [`Edits`].
#[must_use]
pub fn splice(body: &[u8], edits: &[(Range<usize>, &[u8])]) -> Vec<u8> {
    let mut all = Edits::new();
    for (range, with) in edits {
        all.replace(range.clone(), *with);
    }
    all.apply(body)
}

/// A JSON string that spells `text`, with quotes; escapes only what RFC 8785 section 3.2.2.2 escapes.
#[must_use]
pub fn json_string(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    write_json_string(&mut out, text);
    out
}

/// Appends [`json_string`].
pub fn write_json_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut written = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[written..at]);
        written = at + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x08 => out.extend_from_slice(b"\\b"),
            0x09 => out.extend_from_slice(b"\\t"),
            0x0A => out.extend_from_slice(b"\\n"),
            0x0C => out.extend_from_slice(b"\\f"),
            0x0D => out.extend_from_slice(b"\\r"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
    }
    out.extend_from_slice(&bytes[written..]);
    out.push(b'"');
}
