use proptest::prelude::*;

use super::{Decoder, Event, Frame, SseError, encode, encode_comment};

/// What an event says, apart from its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Said {
    event: Option<Vec<u8>>,
    id: Option<Vec<u8>>,
    data: Option<Vec<u8>>,
    retry: Option<u64>,
    comment: bool,
}

impl From<Event<'_>> for Said {
    fn from(event: Event<'_>) -> Self {
        Self {
            event: event.event.map(<[u8]>::to_vec),
            id: event.id.map(<[u8]>::to_vec),
            data: event.data.map(|data| data.into_owned()),
            retry: event.retry,
            comment: event.comment,
        }
    }
}

type Decoded = Vec<Result<Said, SseError>>;

/// Decodes a stream that arrives cut at these places.
fn decode(stream: &[u8], cuts: &[usize], limit: usize) -> Decoded {
    let mut decoder = Decoder::new(limit);
    let mut said = Vec::new();
    let mut from = 0;
    for &cut in cuts.iter().chain([&stream.len()]) {
        decoder.feed(&stream[from..cut]);
        from = cut;
        while let Some(event) = decoder.next_event() {
            said.push(event.map(Said::from));
        }
        assert!(decoder.next_event().is_none());
    }
    said
}

/// The standard's algorithm over a whole stream, written as plainly as possible.
fn naive(stream: &[u8], limit: usize) -> Decoded {
    let mark = b"\xEF\xBB\xBF";
    if mark.len() > stream.len() && mark.starts_with(stream) {
        return Vec::new();
    }
    let stream = stream.strip_prefix(mark).unwrap_or(stream);
    // Lines with their terminators; what follows the last one is not a line.
    let mut lines = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < stream.len() {
        let end = match stream[at] {
            b'\r' if stream.get(at + 1) == Some(&b'\n') => at + 2,
            b'\r' | b'\n' => at + 1,
            _ => {
                at += 1;
                continue;
            }
        };
        lines.push((&stream[start..at], end - start));
        start = end;
        at = end;
    }
    let mut said = Vec::new();
    let (mut block, mut size) = (Vec::new(), 0);
    for (line, length) in lines {
        if line.is_empty() {
            if size > limit {
                said.push(Err(SseError::TooLarge));
            } else if size > 0 {
                said.push(Ok(fields(&block)));
            }
            block.clear();
            size = 0;
        } else {
            block.push(line);
            size += length;
        }
    }
    // An unfinished event that is too large is reported as soon as it is.
    if size + (stream.len() - start) > limit {
        said.push(Err(SseError::TooLarge));
    }
    said
}

fn fields(block: &[&[u8]]) -> Said {
    let mut said = Said::default();
    for line in block {
        let text = line.to_vec();
        let mut parts = text.splitn(2, |&byte| byte == b':');
        let name = parts.next().unwrap();
        let value =
            parts.next().map(|value| value.strip_prefix(b" ").unwrap_or(value)).unwrap_or_default().to_vec();
        match name {
            b"" => said.comment = true,
            b"data" => match &mut said.data {
                Some(data) => data.extend([b"\n", value.as_slice()].concat()),
                None => said.data = Some(value),
            },
            b"event" => said.event = Some(value),
            b"id" if !value.contains(&0) => said.id = Some(value),
            b"retry" if value.iter().all(u8::is_ascii_digit) && !value.is_empty() => {
                said.retry = String::from_utf8(value).unwrap().parse().ok();
            }
            _ => {}
        }
    }
    said
}

fn data(text: &str) -> Said {
    Said { data: Some(text.into()), ..Said::default() }
}

#[test]
fn the_examples_of_the_standard() {
    for (stream, wanted) in [
        ("data: YHOO\ndata: +2\ndata: 10\n\n", vec![data("YHOO\n+2\n10")]),
        (
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n",
            vec![
                Said { comment: true, ..Said::default() },
                Said { id: Some(b"1".to_vec()), ..data("first event") },
                Said { id: Some(Vec::new()), ..data("second event") },
            ],
        ),
        ("data\n\ndata\ndata\n\ndata:", vec![data(""), data("\n")]),
        ("data:test\n\ndata: test\n\n", vec![data("test"), data("test")]),
        ("\n\n\r\n\rdata:a\r\rdata:b\r\n\r\n", vec![data("a"), data("b")]),
        ("\u{feff}data:a\n\n\u{feff}data:b\n\n", vec![data("a"), Said::default()]),
        (
            "id: 5\nretry: 250\ndata:\n\nretry: 1x\nid: \0\nevent: e\nother: x\n\n",
            vec![
                Said { id: Some(b"5".to_vec()), retry: Some(250), ..data("") },
                Said { event: Some(b"e".to_vec()), ..Said::default() },
            ],
        ),
        ("retry: 99999999999999999999999\n\n", vec![Said::default()]),
    ] {
        let wanted: Decoded = wanted.into_iter().map(Ok).collect();
        assert_eq!(naive(stream.as_bytes(), 1000), wanted, "{stream:?}");
        assert_eq!(decode(stream.as_bytes(), &[], 1000), wanted, "{stream:?}");
    }
}

#[test]
fn raw_bytes_are_those_received() {
    let mut decoder = Decoder::new(100);
    decoder.feed(b"\xEF\xBB\xBF\n\nid: 1\r\ndata: a\r\n\r\n: x\n\ndata: b\n\nda");
    for wanted in [&b"id: 1\r\ndata: a\r\n\r\n"[..], b": x\n\n", b"data: b\n\n"] {
        assert_eq!(decoder.next_event().unwrap().unwrap().raw, wanted);
    }
    assert!(decoder.next_event().is_none());
    assert_eq!(decoder.pending(), 2);
}

#[test]
fn debug_output_has_no_content() {
    let mut decoder = Decoder::new(100);
    decoder.feed(b"data: hunter2\n\ndata: 104,117");
    let shown = format!("{decoder:?} {:?}", Frame { data: b"hunter2", ..Frame::default() });
    let shown = format!("{shown} {:?}", decoder.next_event());
    // Neither as text nor as a list of numbers.
    assert!(!shown.contains("hunter2") && !shown.contains("104"), "{shown}");
}

#[test]
fn an_event_ends_with_the_carriage_return() {
    let mut decoder = Decoder::new(100);
    decoder.feed(b"data: a\r\n\r");
    assert_eq!(decoder.next_event().unwrap().unwrap().raw, b"data: a\r\n\r");
    decoder.feed(b"\ndata: b\n\n");
    assert_eq!(decoder.next_event().unwrap().unwrap().raw, b"data: b\n\n");
}

#[test]
fn an_event_over_the_limit_is_reported_once_and_skipped() {
    let stream =
        [b"data: ok\n\ndata: ".as_slice(), &[b'x'; 5000], b"\ndata: more\n\ndata: after\n\n"].concat();
    for chunk in [1, 7, 100, 5000, 10_000] {
        let cuts: Vec<usize> = (chunk..stream.len()).step_by(chunk).collect();
        let wanted = vec![Ok(data("ok")), Err(SseError::TooLarge), Ok(data("after"))];
        assert_eq!(decode(&stream, &cuts, 100), wanted, "{chunk}");
    }
    // Memory stays bounded while a line never ends.
    let mut decoder = Decoder::new(100);
    for _ in 0..1000 {
        decoder.feed(&[b'x'; 1000]);
        while decoder.next_event().is_some() {}
        assert_eq!(decoder.pending(), 0);
    }
}

#[test]
fn what_is_encoded_decodes() {
    let mut out = Vec::new();
    encode_comment(&mut out, "keep\nalive");
    encode(&mut out, Frame { id: Some("7\n8"), data: b"", ..Frame::default() });
    encode(&mut out, Frame { event: Some("message"), retry: Some(5), data: b"a\nb\r\nc\rd", id: None });
    assert_eq!(
        String::from_utf8(out.clone()).unwrap(),
        ": keepalive\n\nid: 78\ndata: \n\nevent: message\nretry: 5\ndata: a\ndata: b\ndata: c\ndata: d\n\n"
    );
    let decoded = decode(&out, &[], 100);
    assert_eq!(decoded[1], Ok(Said { id: Some(b"78".to_vec()), ..data("") }));
    assert_eq!(
        decoded[2],
        Ok(Said { event: Some(b"message".to_vec()), retry: Some(5), ..data("a\nb\nc\nd") })
    );
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => prop::sample::select(vec!["\n", "\r", "\r\n", "\n\n", "\r\r", "\r\n\r\n"]).prop_map(|text| text.as_bytes().to_vec()),
        3 => prop::sample::select(vec!["data", "id", "event", "retry", "data: ", "data:x", ":", " ", "12", "\0"])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::sample::select(vec![&b"\xEF"[..], b"\xBB", b"\xBF", b"\xEF\xBB\xBF"]).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn every_chunking_gives_what_the_whole_gives(
        stream in stream(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        limit in 0..40_usize,
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        let wanted = naive(&stream, limit);
        prop_assert_eq!(decode(&stream, &cuts, limit), wanted.clone());
        prop_assert_eq!(decode(&stream, &[], limit), wanted.clone());
        let bytewise: Vec<usize> = (1..stream.len()).collect();
        prop_assert_eq!(decode(&stream, &bytewise, limit), wanted);
    }

    #[test]
    fn encoded_data_survives(text in prop::collection::vec(any::<u8>(), 0..60), id in "[ -~]{0,8}") {
        let text: Vec<u8> = text.into_iter().filter(|byte| *byte != b'\r').collect();
        let mut out = Vec::new();
        encode(&mut out, Frame { id: Some(&id), data: &text, ..Frame::default() });
        let decoded = decode(&out, &[], 1000);
        prop_assert_eq!(decoded, vec![Ok(Said { id: Some(id.into_bytes()), data: Some(text), ..Said::default() })]);
    }
}
