#![no_main]
//! A response over HTTP/1.1 means the same in whatever pieces it comes: the same head, the same body, the same rest. A head
//! that is whole stays what it is when more comes behind it. The first byte says how the bytes are cut.

use bytes::{Buf as _, BytesMut};
use http1::{Framing, Head, Step, parse};
use libfuzzer_sys::fuzz_target;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// A response read to its end, or as far as the bytes go: head, fields, body, and how many bytes were left behind it.
fn read(wire: &[u8], piece: usize) -> Option<(Head, Fields, Vec<u8>, Option<usize>)> {
    let (mut input, mut rest) = (BytesMut::new(), wire);
    let more = |input: &mut BytesMut, rest: &mut &[u8]| {
        let (now, later) = rest.split_at(piece.min(rest.len()));
        input.extend_from_slice(now);
        *rest = later;
        !now.is_empty()
    };
    let (head, fields) = loop {
        let mut fields = Fields::new();
        let note = |name: &[u8], value: &[u8]| fields.push((name.to_vec(), value.to_vec()));
        match parse(&input, note) {
            Ok(Some(head)) => break (head, fields),
            Ok(None) if more(&mut input, &mut rest) => {}
            Ok(None) | Err(_) => return None,
        }
    };
    assert!(head.length <= input.len());
    input.advance(head.length);
    let (mut framing, mut body) = (head.framing, Vec::new());
    loop {
        match framing.take(&mut input) {
            Ok(Step::Data(data)) => {
                assert!(!data.is_empty());
                body.extend_from_slice(&data);
            }
            Ok(Step::End) => {
                assert_eq!(framing, Framing::Done);
                let left = input.len() + rest.len();
                return Some((head, fields, body, Some(left)));
            }
            Ok(Step::More) if more(&mut input, &mut rest) => {}
            Ok(Step::More) => return Some((head, fields, body, None)),
            Err(_) => return None,
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((cut, wire)) = input.split_first() else { return };
    let whole = read(wire, wire.len().max(1));
    assert_eq!(whole, read(wire, usize::from(*cut).max(1)));
    let Some((head, _, body, left)) = whole else { return };
    let came = wire.len() - head.length;
    assert!(body.len() <= came);
    if let (Framing::Length(length), Some(left)) = (head.framing, left) {
        assert_eq!((length, left), (body.len() as u64, came - body.len()));
    }
});
