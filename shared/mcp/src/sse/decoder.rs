//! The incremental decoder.

use std::{borrow::Cow, fmt};

use super::{Event, SseError};

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Splits a byte stream into events as chunks arrive. Holds at most the limit and one chunk.
///
/// Feed a chunk, then call [`Decoder::next_event`] until it returns `None`.
pub struct Decoder {
    limit: usize,
    buffer: Vec<u8>,
    /// Where the current block starts.
    begin: usize,
    /// Where the current line starts.
    line: usize,
    /// How far line ends were looked for.
    pos: usize,
    /// The last byte looked at was a CR, so that an LF coming next belongs to it.
    after_cr: bool,
    /// Bytes of the current line were dropped already.
    line_cut: bool,
    /// The current block is over the limit and dropped up to its end.
    skipping: bool,
    started: bool,
}

impl Decoder {
    /// A decoder for events of at most `limit` bytes, counted without the blank line that ends them.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            buffer: Vec::new(),
            begin: 0,
            line: 0,
            pos: 0,
            after_cr: false,
            line_cut: false,
            skipping: false,
            started: false,
        }
    }

    /// Takes the next bytes of the stream.
    pub fn feed(&mut self, chunk: &[u8]) {
        if self.begin > 0 {
            self.buffer.drain(..self.begin);
            self.pos -= self.begin;
            self.line_cut |= self.line < self.begin;
            self.line = self.line.saturating_sub(self.begin);
            self.begin = 0;
        }
        self.buffer.extend_from_slice(chunk);
    }

    /// The next complete event; `None` when more bytes are needed. An event over the limit is reported once, where it
    /// crosses the limit, and the decoder goes on behind it.
    pub fn next_event(&mut self) -> Option<Result<Event<'_>, SseError>> {
        if !self.skip_mark() {
            return None;
        }
        loop {
            if self.after_cr && self.pos < self.buffer.len() {
                self.after_cr = false;
                if self.buffer[self.pos] == b'\n' {
                    self.pos += 1;
                    self.line = self.pos;
                    // The CR ended a block that is out already.
                    if self.begin + 1 == self.pos {
                        self.begin = self.pos;
                    }
                }
            }
            let Some(found) = memchr::memchr2(b'\r', b'\n', &self.buffer[self.pos..]) else {
                self.pos = self.buffer.len();
                return self.crosses_limit().then_some(Err(SseError::TooLarge));
            };
            let end = self.pos + found;
            let blank = end == self.line && !self.line_cut;
            self.end_line(end);
            if !blank {
                if self.crosses_limit() {
                    return Some(Err(SseError::TooLarge));
                }
                continue;
            }
            let block = self.begin..self.pos;
            self.begin = self.pos;
            let content = end - block.start;
            if std::mem::take(&mut self.skipping) || content == 0 {
                continue;
            }
            if content > self.limit {
                return Some(Err(SseError::TooLarge));
            }
            return Some(Ok(parse(&self.buffer[block])));
        }
    }

    /// Bytes of an event that has not ended; at the stream's end they are discarded, as the standard says.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.begin
    }

    /// Steps over a byte order mark; false while it cannot be told whether there is one.
    fn skip_mark(&mut self) -> bool {
        if self.started {
            return true;
        }
        if self.buffer.starts_with(BOM) {
            self.begin = BOM.len();
            self.line = self.begin;
            self.pos = self.begin;
        } else if BOM.starts_with(&self.buffer) {
            return false;
        }
        self.started = true;
        true
    }

    /// Moves behind the line end at `end`.
    fn end_line(&mut self, end: usize) {
        self.pos = end + 1;
        if self.buffer[end] == b'\r' {
            match self.buffer.get(self.pos) {
                Some(b'\n') => self.pos += 1,
                Some(_) => {}
                None => self.after_cr = true,
            }
        }
        self.line = self.pos;
        self.line_cut = false;
    }

    /// Drops what is there of a block over the limit; true when the block crosses it here.
    fn crosses_limit(&mut self) -> bool {
        if !self.skipping && self.pos - self.begin <= self.limit {
            return false;
        }
        self.begin = self.pos;
        !std::mem::replace(&mut self.skipping, true)
    }
}

/// The buffer holds a server's data and is not shown.
impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("limit", &self.limit)
            .field("pending", &self.pending())
            .finish_non_exhaustive()
    }
}

/// Reads the fields of one block.
fn parse(block: &[u8]) -> Event<'_> {
    let mut event = Event { raw: block, event: None, id: None, data: None, retry: None, comment: false };
    let mut rest = block;
    while let Some(end) = memchr::memchr2(b'\r', b'\n', rest) {
        let line = &rest[..end];
        rest = &rest[end + if rest[end..].starts_with(b"\r\n") { 2 } else { 1 }..];
        let (name, value) = match memchr::memchr(b':', line) {
            Some(colon) => {
                let value = &line[colon + 1..];
                (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &[][..]),
        };
        match name {
            b"data" => {
                event.data = Some(match event.data.take() {
                    None => Cow::Borrowed(value),
                    Some(before) => {
                        let mut joined = before.into_owned();
                        joined.push(b'\n');
                        joined.extend_from_slice(value);
                        Cow::Owned(joined)
                    }
                });
            }
            b"event" => event.event = Some(value),
            b"id" if !value.contains(&0) => event.id = Some(value),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                event.retry = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
            }
            b"" if !line.is_empty() => event.comment = true,
            _ => {}
        }
    }
    event
}
