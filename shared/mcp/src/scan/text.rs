//! Strings and numbers: where they end, and what an escaped string spells.

use std::borrow::Cow;

use super::{ScanError, StringSpan, offset};

/// Bytes looked at one by one in words of eight before vectorised search pays.
const SHORT: usize = 64;

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// The position after the closing quote of the string whose content starts at `start`, and whether it has escapes.
#[inline]
pub(super) fn string_end(bytes: &[u8], start: usize) -> Result<(usize, bool), ScanError> {
    let mut pos = start;
    let mut escaped = false;
    loop {
        pos = special(bytes, pos);
        match bytes.get(pos) {
            Some(b'"') => return Ok((pos + 1, escaped)),
            Some(b'\\') => {
                escaped = true;
                pos = escape_end(bytes, pos)?;
            }
            // A control character, or the text ended inside the string.
            _ => return Err(ScanError::Syntax(offset(pos))),
        }
    }
}

/// The position after the object or array that starts at `start`, in a text known to be JSON.
pub(super) fn container_end(bytes: &[u8], start: usize) -> Result<usize, ScanError> {
    let mut pos = start;
    let mut open = 0_u32;
    loop {
        match bytes.get(pos) {
            Some(b'"') => {
                pos = string_end(bytes, pos + 1)?.0;
                continue;
            }
            Some(b'{' | b'[') => open += 1,
            Some(b'}' | b']') if open <= 1 => return Ok(pos + 1),
            Some(b'}' | b']') => open -= 1,
            Some(_) => {}
            None => return Err(ScanError::Syntax(offset(pos))),
        }
        pos += 1;
    }
}

/// The first quote, backslash or control character at or after `pos`, else the length.
#[inline]
fn special(bytes: &[u8], mut pos: usize) -> usize {
    let short_end = bytes.len().min(pos + SHORT);
    while pos + 8 <= short_end {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[pos..pos + 8]);
        let found = special_mask(u64::from_le_bytes(word));
        if found != 0 {
            return pos + (found.trailing_zeros() / 8) as usize;
        }
        pos += 8;
    }
    while pos < short_end {
        if is_special(bytes[pos]) {
            return pos;
        }
        pos += 1;
    }
    if pos == bytes.len() {
        return pos;
    }
    let rest = &bytes[pos..];
    let length = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
    // Written so that it vectorises: no early exit.
    let control = rest[..length].iter().fold(false, |seen, &byte| seen | (byte < 0x20));
    if control { pos + rest.iter().position(|&byte| byte < 0x20).unwrap_or(length) } else { pos + length }
}

#[inline]
fn is_special(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
}

/// A word with the high bit set in the lowest byte that is special; bytes above it may be marked wrongly.
#[inline]
fn special_mask(word: u64) -> u64 {
    let zero_bytes = |word: u64| word.wrapping_sub(LOW_BITS) & !word;
    let quote = zero_bytes(word ^ (LOW_BITS * u64::from(b'"')));
    let backslash = zero_bytes(word ^ (LOW_BITS * u64::from(b'\\')));
    let control = word.wrapping_sub(LOW_BITS * 0x20) & !word;
    (quote | backslash | control) & HIGH_BITS
}

/// The position after the escape that starts at `pos`; a surrogate pair counts as one escape.
fn escape_end(bytes: &[u8], pos: usize) -> Result<usize, ScanError> {
    let syntax = || ScanError::Syntax(offset(pos));
    match bytes.get(pos + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(pos + 2),
        Some(b'u') => match hex4(bytes, pos + 2).ok_or_else(syntax)? {
            0xD800..=0xDBFF => {
                let low = match bytes.get(pos + 6..pos + 8) {
                    Some(b"\\u") => hex4(bytes, pos + 8),
                    _ => None,
                };
                match low {
                    Some(0xDC00..=0xDFFF) => Ok(pos + 12),
                    _ => Err(syntax()),
                }
            }
            0xDC00..=0xDFFF => Err(syntax()),
            _ => Ok(pos + 6),
        },
        _ => Err(syntax()),
    }
}

fn hex4(bytes: &[u8], pos: usize) -> Option<u32> {
    bytes.get(pos..pos + 4)?.iter().try_fold(0, |value, &byte| {
        let digit = char::from(byte).to_digit(16)?;
        Some(value << 4 | digit)
    })
}

/// The position after the number that starts at `start` (RFC 8259 section 6).
#[inline]
pub(super) fn number_end(bytes: &[u8], start: usize) -> Result<usize, ScanError> {
    let mut pos = start;
    if bytes.get(pos) == Some(&b'-') {
        pos += 1;
    }
    match bytes.get(pos) {
        Some(b'0') => pos += 1,
        Some(b'1'..=b'9') => pos = digits_end(bytes, pos)?,
        _ => return Err(ScanError::Syntax(offset(pos))),
    }
    if bytes.get(pos) == Some(&b'.') {
        pos = digits_end(bytes, pos + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(pos) {
        pos += 1;
        if let Some(b'+' | b'-') = bytes.get(pos) {
            pos += 1;
        }
        pos = digits_end(bytes, pos)?;
    }
    Ok(pos)
}

fn digits_end(bytes: &[u8], start: usize) -> Result<usize, ScanError> {
    let mut pos = start;
    while bytes.get(pos).is_some_and(u8::is_ascii_digit) {
        pos += 1;
    }
    if pos == start { Err(ScanError::Syntax(offset(pos))) } else { Ok(pos) }
}

/// What a scanned string spells; borrowed when it has no escapes.
#[inline]
pub(crate) fn string_text(text: &str, string: StringSpan) -> Cow<'_, str> {
    let inner = inside(text, string);
    if string.escaped { Cow::Owned(unescape(inner)) } else { Cow::Borrowed(inner) }
}

/// The characters between the quotes, as written.
#[inline]
pub(super) fn inside(text: &str, string: StringSpan) -> &str {
    text.get(string.span.start as usize + 1..string.span.end as usize - 1).unwrap_or_default()
}

/// What the inside of a scanned string spells.
pub(crate) fn unescape(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let bytes = inner.as_bytes();
    let mut rest = 0;
    while let Some(found) = memchr::memchr(b'\\', &bytes[rest..]) {
        let escape = rest + found;
        out.push_str(&inner[rest..escape]);
        rest = escape + 2;
        match bytes.get(escape + 1) {
            Some(b'b') => out.push('\u{8}'),
            Some(b'f') => out.push('\u{c}'),
            Some(b'n') => out.push('\n'),
            Some(b'r') => out.push('\r'),
            Some(b't') => out.push('\t'),
            Some(b'u') => {
                let unit = hex4(bytes, escape + 2).unwrap_or(0xFFFD);
                rest = escape + 6;
                let code = if (0xD800..0xDC00).contains(&unit) {
                    let low = hex4(bytes, escape + 8).unwrap_or(0xDC00);
                    rest = escape + 12;
                    0x1_0000 + ((unit - 0xD800) << 10) + (low.wrapping_sub(0xDC00) & 0x3FF)
                } else {
                    unit
                };
                out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(&byte) => out.push(char::from(byte)),
            None => break,
        }
    }
    out.push_str(inner.get(rest..).unwrap_or_default());
    out
}
