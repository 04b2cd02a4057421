//! Where a body ends, and which of its bytes are content (RFC 9112 sections 6 and 7). Without I/O; strict where leniency
//! would let two readers of the same bytes disagree.

use bytes::{Buf as _, Bytes, BytesMut};

/// Bytes a chunk's line may have: size and extensions.
const MAX_CHUNK_LINE: usize = 256;
/// Bytes all trailers may have.
const MAX_TRAILERS: usize = 8 * 1024;

/// What is left of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes. Never zero.
    Length(u64),
    /// Chunks.
    Chunked(Chunk),
    /// Whatever comes until the server closes.
    Close,
    /// Nothing.
    Done,
}

/// Where in its chunks a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunk {
    /// Before a chunk's line.
    Line,
    /// So many bytes of a chunk are to come. Never zero.
    Data(u64),
    /// Before the line end behind a chunk's bytes.
    End,
    /// Behind the last chunk; so many bytes of trailers were read.
    Trailers(usize),
}

/// What the bytes at hand come to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Content.
    Data(Bytes),
    /// More bytes are needed.
    More,
    /// The body has ended.
    End,
}

/// The bytes are no such body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("body is not framed properly")]
pub struct Malformed;

impl Framing {
    /// A body of this length.
    pub const fn length(length: u64) -> Self {
        if length == 0 { Self::Done } else { Self::Length(length) }
    }

    /// A body in chunks.
    pub const CHUNKED: Self = Self::Chunked(Chunk::Line);

    /// Takes what can be taken of `input`: content is split off, what frames it is dropped.
    ///
    /// # Errors
    /// When the bytes are no such body; the connection is of no use any more.
    pub fn take(&mut self, input: &mut BytesMut) -> Result<Step, Malformed> {
        match self {
            Self::Done => Ok(Step::End),
            _ if input.is_empty() => Ok(Step::More),
            Self::Close => Ok(Step::Data(input.split().freeze())),
            Self::Length(left) => {
                let data = split(input, left);
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok(Step::Data(data))
            }
            Self::Chunked(chunk) => match take_chunked(chunk, input)? {
                Step::End => {
                    *self = Self::Done;
                    Ok(Step::End)
                }
                step => Ok(step),
            },
        }
    }
}

fn split(input: &mut BytesMut, left: &mut u64) -> Bytes {
    let take = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
    *left -= take as u64;
    input.split_to(take).freeze()
}

fn take_chunked(chunk: &mut Chunk, input: &mut BytesMut) -> Result<Step, Malformed> {
    loop {
        match chunk {
            Chunk::Data(left) => {
                if input.is_empty() {
                    return Ok(Step::More);
                }
                let data = split(input, left);
                if *left == 0 {
                    *chunk = Chunk::End;
                }
                return Ok(Step::Data(data));
            }
            Chunk::End => match input.get(..2) {
                Some(b"\r\n") => {
                    input.advance(2);
                    *chunk = Chunk::Line;
                }
                Some(_) => return Err(Malformed),
                None if input.first().is_some_and(|byte| *byte != b'\r') => return Err(Malformed),
                None => return Ok(Step::More),
            },
            Chunk::Line => {
                let Some(line) = line(input, MAX_CHUNK_LINE)? else { return Ok(Step::More) };
                let size = input.get(..line).map_or(Err(Malformed), size)?;
                input.advance(line + 2);
                *chunk = if size == 0 { Chunk::Trailers(0) } else { Chunk::Data(size) };
            }
            Chunk::Trailers(read) => {
                let Some(line) = line(input, MAX_TRAILERS - *read)? else { return Ok(Step::More) };
                input.advance(line + 2);
                if line == 0 {
                    return Ok(Step::End);
                }
                *read += line;
            }
        }
    }
}

/// Length of the line at the start, without its end: CR LF and nothing less. `None` if it is not whole.
fn line(input: &[u8], most: usize) -> Result<Option<usize>, Malformed> {
    let Some(end) = input.iter().take(most + 2).position(|byte| *byte == b'\n') else {
        return if input.len() >= most + 2 { Err(Malformed) } else { Ok(None) };
    };
    let line = end.checked_sub(1).ok_or(Malformed)?;
    // A carriage return elsewhere ends a line for some readers.
    let returns = input.iter().take(end).position(|byte| *byte == b'\r');
    if returns == Some(line) { Ok(Some(line)) } else { Err(Malformed) }
}

/// A chunk's size: hexadecimal, then blanks, an extension, or nothing.
fn size(line: &[u8]) -> Result<u64, Malformed> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at_checked(digits).ok_or(Malformed)?;
    let extension = rest.trim_ascii_start();
    if digits.is_empty() || digits.len() > 15 || !matches!(extension.first(), None | Some(b';')) {
        return Err(Malformed);
    }
    let text = std::str::from_utf8(digits).map_err(|_| Malformed)?;
    u64::from_str_radix(text, 16).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a body whose bytes come in pieces of these lengths.
    fn read(
        mut framing: Framing,
        wire: &[u8],
        pieces: &[usize],
    ) -> Result<(Vec<u8>, bool, usize), Malformed> {
        let (mut input, mut rest, mut body) = (BytesMut::new(), wire, Vec::new());
        let mut pieces = pieces.iter().copied().cycle();
        loop {
            match framing.take(&mut input)? {
                Step::Data(data) => body.extend_from_slice(&data),
                Step::End => return Ok((body, true, input.len() + rest.len())),
                Step::More if rest.is_empty() => return Ok((body, false, input.len())),
                Step::More => {
                    let (now, later) = rest.split_at(pieces.next().unwrap_or(1).clamp(1, rest.len()));
                    input.extend_from_slice(now);
                    rest = later;
                }
            }
        }
    }

    fn whole(wire: &[u8]) -> Result<(Vec<u8>, bool, usize), Malformed> {
        read(Framing::CHUNKED, wire, &[wire.len().max(1)])
    }

    #[test]
    fn a_body_ends_where_its_framing_says() {
        assert_eq!(read(Framing::length(3), b"abcdef", &[6]), Ok((b"abc".to_vec(), true, 3)));
        assert_eq!(read(Framing::length(0), b"abc", &[3]), Ok((Vec::new(), true, 3)));
        assert_eq!(read(Framing::Close, b"abc", &[1]), Ok((b"abc".to_vec(), false, 0)));
        assert_eq!(whole(b"3\r\nabc\r\n0\r\n\r\nnext"), Ok((b"abc".to_vec(), true, 4)));
        assert_eq!(whole(b"3 ;x=\"y\"\r\nabc\r\n00\r\nx: y\r\nz: 1\r\n\r\n"), Ok((b"abc".to_vec(), true, 0)));
        assert_eq!(whole(b"3\r\nab").unwrap(), (b"ab".to_vec(), false, 0));
    }

    /// What llhttp, nginx and others have been found to read in two ways.
    #[test]
    fn chunks_that_could_be_read_in_two_ways_are_not_read() {
        let long = [b"1;".as_slice(), &[b'x'; MAX_CHUNK_LINE], b"\r\na\r\n0\r\n\r\n"].concat();
        let trailers = [b"0\r\n".as_slice(), &b"name: value\r\n".repeat(1000), b"\r\n"].concat();
        for wire in [
            b"3\nabc\r\n0\r\n\r\n".as_slice(),
            b"3\r\nabcd\r\n0\r\n\r\n",
            b"3\r\nabc\n0\r\n\r\n",
            b"0x3\r\nabc\r\n0\r\n\r\n",
            b"+3\r\nabc\r\n0\r\n\r\n",
            b" 3\r\nabc\r\n0\r\n\r\n",
            b"-1\r\nabc\r\n0\r\n\r\n",
            b"3 3\r\nabc\r\n0\r\n\r\n",
            b"3;a\rb\r\nabc\r\n0\r\n\r\n",
            b"\r\n3\r\nabc\r\n0\r\n\r\n",
            b"ffffffffffffffff3\r\nabc\r\n0\r\n\r\n",
            b"0\r\nx: y\n\r\n",
            b"0\r\n\n",
            &long,
            &trailers,
        ] {
            assert_eq!(whole(wire), Err(Malformed), "{:?}", String::from_utf8_lossy(wire));
        }
    }

    proptest! {
        /// However the bytes are cut up on their way, the body is the same and what follows is left.
        #[test]
        fn pieces_do_not_matter(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..8),
            pieces in proptest::collection::vec(1_usize..40, 1..8),
            after in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x};e\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\nt: v\r\n\r\n");
            wire.extend_from_slice(&after);
            let got = read(Framing::CHUNKED, &wire, &pieces);
            prop_assert_eq!(got, Ok((chunks.concat(), true, after.len())));
        }

        /// No bytes make it panic, and nothing is invented.
        #[test]
        fn any_bytes_have_an_outcome(
            wire in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'1'), any::<u8>()], 0..300),
            pieces in proptest::collection::vec(1_usize..40, 1..8),
        ) {
            for framing in [Framing::CHUNKED, Framing::length(17), Framing::Close] {
                if let Ok((body, _, _)) = read(framing, &wire, &pieces) {
                    prop_assert!(body.len() <= wire.len());
                }
                prop_assert_eq!(read(framing, &wire, &pieces).is_ok(), read(framing, &wire, &[1]).is_ok());
            }
        }
    }
}
