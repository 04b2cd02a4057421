#![no_main]
//! A stream gives the same events however it is cut into chunks, holds no more than its limit between chunks, and gives
//! back what was encoded. The first byte chooses the limit, the second how the stream is cut.

use libfuzzer_sys::fuzz_target;
use mcp::sse::{Decoder, Event, Frame, SseError, encode};

/// Everything an event says, and its bytes without the blank line: a CR at a chunk's end ends an event before its LF is
/// there.
#[derive(Debug, PartialEq)]
struct Said {
    raw: Vec<u8>,
    event: Option<Vec<u8>>,
    id: Option<Vec<u8>>,
    data: Option<Vec<u8>>,
    retry: Option<u64>,
    comment: bool,
}

impl From<Event<'_>> for Said {
    fn from(event: Event<'_>) -> Self {
        let end = event.raw.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |at| at + 1);
        Self {
            raw: event.raw[..end].to_vec(),
            event: event.event.map(<[u8]>::to_vec),
            id: event.id.map(<[u8]>::to_vec),
            data: event.data.map(|data| data.into_owned()),
            retry: event.retry,
            comment: event.comment,
        }
    }
}

fn decode<'a>(chunks: impl Iterator<Item = &'a [u8]>, limit: usize) -> Vec<Result<Said, SseError>> {
    let mut decoder = Decoder::new(limit);
    let mut said = Vec::new();
    for chunk in chunks {
        decoder.feed(chunk);
        while let Some(event) = decoder.next_event() {
            if let Ok(event) = &event {
                // The bytes as received and the blank line, of two bytes at most.
                assert!(event.raw.len() <= limit + 2);
            }
            said.push(event.map(Said::from));
        }
        // Two bytes may be the beginning of a byte order mark.
        assert!(decoder.pending() <= limit.max(2));
    }
    said
}

fuzz_target!(|input: &[u8]| {
    let [limit, cut, stream @ ..] = input else { return };
    let limit = usize::from(*limit) * 4;
    let whole = decode([stream].into_iter(), limit);
    assert_eq!(whole, decode(stream.chunks(1), limit));
    assert_eq!(whole, decode(stream.chunks(usize::from(*cut) + 2), limit));

    let mut encoded = Vec::new();
    encode(&mut encoded, Frame { data: stream, ..Frame::default() });
    let said = decode(encoded.chunks(usize::from(*cut) + 1), encoded.len());
    let [Ok(said)] = said.as_slice() else { panic!("{} events of one", said.len()) };
    assert_eq!(said.data.as_deref(), Some(lines(stream).as_slice()));
});

/// Every line end as LF.
fn lines(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    for (at, &byte) in data.iter().enumerate() {
        match byte {
            b'\r' => out.push(b'\n'),
            b'\n' if at > 0 && data[at - 1] == b'\r' => {}
            byte => out.push(byte),
        }
    }
    out
}
