use std::{convert::Infallible, time::Duration};

use ::mcp::{Method, Revision};
use bytes::Bytes;
use futures_util::stream;
use http_body::Frame as BodyFrame;
use http_body_util::StreamBody;
use parking_lot::Mutex;
use proptest::prelude::*;
use seams::SystemClock;
use wire::v1::{AuditRecord, Phase};

use super::*;
use crate::{
    audit::testing::{Log, facts},
    mcp::testing::{AllBut, speaker},
    testing::World,
};

type Chunks = Vec<Bytes>;

/// What was sent beside the stream, and whether the connection was given back.
#[derive(Debug, Default)]
struct Seen {
    aside: Vec<String>,
    given_back: bool,
}

struct Case {
    revision: Revision,
    waiting: Option<Request>,
    patience: Patience,
    /// What comes after the chunks: the end, or nothing.
    ends: bool,
    /// What comes over and over, faster than anybody reads it.
    flood: Option<&'static str>,
    cut: Option<ErrorCode>,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            revision: Revision::V2025_11_25,
            waiting: Some(Request { id: b"1".as_slice().into(), method: Method::ToolsCall }),
            patience: Patience::default(),
            ends: true,
            flood: None,
            cut: None,
        }
    }
}

impl Case {
    async fn run(self, chunks: Chunks) -> (Vec<u8>, AuditRecord, Seen) {
        let (world, log) = (World::new(), Log::new());
        let (speaker, _noticed) = speaker(&world, self.revision, AllBut::default());
        let intent = log.pen().intent(facts(&world, b""), false).await.unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (aside, back) = (seen.clone(), seen.clone());
        let cut = self.cut;
        let ending = Ending {
            intent,
            _hold: Box::new(()),
            cut: Box::pin(async move {
                match cut {
                    Some(code) => code,
                    None => std::future::pending().await,
                }
            }),
            ended: Box::new(|_, _| {}),
            give_back: Box::new(move || back.lock().given_back = true),
            aside: Rc::new(move |message| aside.lock().aside.push(String::from_utf8(message).unwrap())),
        };
        let frames = chunks.into_iter().map(|chunk| Ok::<_, Infallible>(BodyFrame::data(chunk)));
        let (ends, flood) = (self.ends, self.flood);
        let frames = futures_util::StreamExt::chain(
            stream::iter(frames),
            stream::poll_fn(move |_| match flood {
                Some(text) => Poll::Ready(Some(Ok(BodyFrame::data(Bytes::from_static(text.as_bytes()))))),
                None if ends => Poll::Ready(None),
                None => Poll::Pending,
            }),
        );
        let clock = Arc::new(SystemClock);
        let mut relay =
            Relay::new(StreamBody::new(frames), speaker, self.waiting, self.patience, clock, ending);
        let mut out = Vec::new();
        let reading = async {
            while let Some(chunk) = std::future::poll_fn(|cx| relay.poll_chunk(cx)).await {
                out.extend_from_slice(&chunk);
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(300), reading).await;
        drop(relay);
        let record = log.last();
        assert_eq!(record.phase(), Phase::Outcome);
        assert_eq!(record.bytes_out, out.len() as u64);
        assert_eq!(record.response_digest, crypto::digest::sha256(&out));
        let seen = std::mem::take(&mut *seen.lock());
        (out, record, seen)
    }
}

fn chunks(text: &str) -> Chunks {
    vec![Bytes::copy_from_slice(text.as_bytes())]
}

const PROGRESS: &str = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progress\":1}}\n\n";
const ANSWER: &str = "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[]}}\n\n";

#[tokio::test]
async fn messages_pass_byte_for_byte_and_the_connection_is_given_back() {
    let stream = [PROGRESS, ANSWER].concat();
    let (out, record, seen) = Case::default().run(chunks(&stream)).await;
    assert_eq!(String::from_utf8(out).unwrap(), stream);
    assert_eq!((&*record.code, record.cut, record.status), ("", false, 200));
    assert!(seen.given_back && seen.aside.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn however_the_stream_is_cut_into_chunks_the_same_comes_out(cuts in prop::collection::vec(0_usize..2000, 0..12)) {
        let unknown = "event: other\ndata: {}\n\n: hello\n\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"x/y\"}\n\n";
        let crlf = PROGRESS.replace('\n', "\r\n");
        let stream = [PROGRESS, unknown, &crlf, "retry: 500\n\n", ANSWER].concat();
        let expected = [PROGRESS, PROGRESS, "retry: 500\n\n", ANSWER].concat();
        let mut places: Vec<_> = cuts.into_iter().map(|cut| cut % (stream.len() + 1)).collect();
        places.extend([0, stream.len()]);
        places.sort_unstable();
        let parts = places.windows(2).map(|pair| Bytes::copy_from_slice(&stream.as_bytes()[pair[0]..pair[1]]));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (out, record, _) = runtime.block_on(Case::default().run(parts.collect()));
        prop_assert_eq!(String::from_utf8(out).unwrap(), expected);
        prop_assert_eq!(record.code, "");
    }
}

#[tokio::test]
async fn event_ids_leave_sealed_and_remember_the_request() {
    let stream = ["id: e1\ndata:\n\n", "id: e2\nretry: 10\n", ANSWER].concat();
    let (out, ..) = Case::default().run(chunks(&stream)).await;
    let text = String::from_utf8(out).unwrap();
    assert!(!text.contains("id: e1") && text.contains("retry: 10\n") && text.contains("\"content\":[]"));
    let world = World::new();
    let handles = crate::mcp::testing::handles(&world);
    let ids: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids.len(), 2);
    for (sealed, event) in ids.iter().zip(["e1", "e2"]) {
        let mut opened = crate::mcp::Opened::default();
        handles.open_event_id(sealed, &mut opened).unwrap();
        let resume = opened.resume.unwrap();
        assert_eq!(resume.event, event);
        assert_eq!(resume.request, Some((Method::ToolsCall, b"1".as_slice().into())));
    }
}

#[tokio::test]
async fn a_stream_that_ends_early_says_so_unless_it_can_be_resumed() {
    let (out, record, _) = Case::default().run(chunks(PROGRESS)).await;
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with(PROGRESS) && text.contains(r#""id":1,"error":{"code":1505"#), "{text}");
    assert_eq!(record.code, "upstream_protocol");
    let (out, record, _) = Case::default().run(chunks("id: e1\ndata:\n\n")).await;
    assert!(!String::from_utf8(out).unwrap().contains("error"));
    assert_eq!((&*record.code, record.cut), ("", false));
}

#[tokio::test]
async fn a_message_over_the_cap_is_an_error_for_its_request_not_silence() {
    for long in [60_000, 70_000, 200_000] {
        let big = format!(
            "data: {{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{{\"x\":\"{}\"}}}}\n\n",
            "y".repeat(long)
        );
        let (out, record, _) = Case::default().run(chunks(&big)).await;
        let text = String::from_utf8(out).unwrap();
        if long < 65_000 {
            assert_eq!(text, big);
        } else {
            assert!(text.len() < 1000 && text.contains(r#""id":1,"error":{"code":1506"#), "{text}");
            assert_eq!(record.code, "response_too_large");
        }
    }
}

#[tokio::test]
async fn where_nothing_waits_a_bad_message_is_left_out() {
    let case = Case { waiting: None, ..Case::default() };
    let stream = ["data: [1]\n\n", "data: {\"a\":1,\"a\":2}\n\n", ANSWER, PROGRESS].concat();
    let (out, record, _) = case.run(chunks(&stream)).await;
    assert_eq!(String::from_utf8(out).unwrap(), PROGRESS);
    assert_eq!(record.code, "");
}

#[tokio::test]
async fn a_bad_message_ends_a_stream_that_is_waited_for() {
    let (out, record, seen) = Case::default().run(chunks("data: {\"a\":1,\"a\":2}\n\n")).await;
    assert!(String::from_utf8(out).unwrap().contains(r#""id":1,"error":{"code":1505"#));
    assert_eq!((&*record.code, seen.given_back), ("upstream_protocol", false));
}

#[tokio::test]
async fn a_question_that_may_not_be_asked_is_answered_to_the_server() {
    let question = "data: {\"jsonrpc\":\"2.0\",\"id\":\"q\",\"method\":\"made/up\"}\n\n";
    let (out, _, seen) = Case::default().run(chunks(&[question, ANSWER].concat())).await;
    assert_eq!(String::from_utf8(out).unwrap(), ANSWER);
    assert_eq!(seen.aside.len(), 1);
    assert!(seen.aside[0].starts_with(r#"{"jsonrpc":"2.0","id":"q","error":{"code":-32601"#));
}

#[tokio::test]
async fn time_outs_end_a_call_but_not_a_stream_that_is_kept_open() {
    let soon = Some(Duration::from_millis(40));
    for patience in [Patience { idle: soon, total: None }, Patience { idle: None, total: soon }] {
        let (out, record, seen) =
            Case { patience, ends: false, ..Case::default() }.run(chunks(PROGRESS)).await;
        assert!(String::from_utf8(out).unwrap().contains(r#""error":{"code":1502"#));
        assert_eq!(record.code, "upstream_timeout");
        assert_eq!(seen.aside.len(), 1, "{seen:?}");
        assert!(seen.aside[0].contains(r#""method":"notifications/cancelled","params":{"requestId":1}"#));
    }
    let (out, record, seen) =
        Case { ends: false, waiting: None, ..Case::default() }.run(chunks(PROGRESS)).await;
    assert_eq!(String::from_utf8(out).unwrap(), PROGRESS);
    // The caller gave up in the end.
    assert_eq!((&*record.code, record.cut, seen.given_back), ("", true, false));
}

/// A server that never pauses neither outlasts its time nor keeps the worker to itself.
#[tokio::test]
async fn a_flood_has_its_time_out_and_leaves_others_their_turn() {
    let total = Some(Duration::from_millis(40));
    for flood in [": nothing\n\n", PROGRESS] {
        let case = Case { patience: Patience { idle: None, total }, flood: Some(flood), ..Case::default() };
        let turns = std::cell::Cell::new(0_u64);
        let other = async {
            loop {
                turns.set(turns.get() + 1);
                tokio::task::yield_now().await;
            }
        };
        let (_, record, _) = tokio::select! {
            biased;
            done = case.run(Vec::new()) => done,
            () = other => unreachable!(),
        };
        assert_eq!(record.code, "upstream_timeout");
        assert!(flood == PROGRESS || turns.get() > 0);
    }
}

#[tokio::test]
async fn a_cut_ends_the_stream_with_its_reason_and_cancels_where_closing_does_not() {
    for revision in [Revision::V2025_11_25, Revision::V2026_07_28] {
        let cut = Some(ErrorCode::Draining);
        let (out, record, seen) =
            Case { revision, cut, ends: false, ..Case::default() }.run(Vec::new()).await;
        assert!(String::from_utf8(out).unwrap().contains(r#""code":"draining""#));
        assert_eq!((&*record.code, record.cut), ("draining", true));
        assert_eq!(seen.aside.is_empty(), revision.is_modern());
    }
}

#[tokio::test]
async fn what_was_killed_is_sent_nothing_more() {
    let cut = Some(ErrorCode::Killed);
    let (out, record, seen) = Case { cut, ends: false, ..Case::default() }.run(Vec::new()).await;
    assert!(String::from_utf8(out).unwrap().contains(r#""code":"killed""#));
    assert_eq!((&*record.code, record.cut), ("killed", true));
    assert_eq!(seen.aside, Vec::<String>::new());
}
