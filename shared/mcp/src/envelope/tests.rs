use proptest::prelude::*;
use serde_json::{Value, json};

use super::{MAX_ID_BYTES, Message, Outcome, ParseError, parse, peek_id};
use crate::raw::{Raw, ScanError};
use crate::testing;

fn refused(body: &str) -> ParseError {
    parse(body.as_bytes()).expect_err(body)
}

#[test]
fn a_request_and_the_places_of_its_members() {
    let body = br#"{"params":{"_meta":{"progressToken":7,"traceparent":"00-x","io.modelcontextprotocol/protocolVersion":"2026-07-28",
        "io.modelcontextprotocol/clientCapabilities":{"roots":{}}},"name":"t","arguments":{"a":[1]},"requestState":"s"},
        "jsonrpc":"2.0","method":"tools\/call","id":"a\u0062"}"#;
    let Message::Request(request) = parse(body).unwrap() else { panic!("not a request") };
    assert_eq!(request.method, "tools/call");
    assert_eq!(request.id.as_str(), r#""a\u0062""#);
    assert!(request.id.same(id(br#"{"id":"ab"}"#)));
    assert!(!request.id.same(id(br#"{"id":"abc"}"#)));
    let params = request.params;
    assert!(params.name().unwrap().is_str("t"));
    assert_eq!(params.arguments().unwrap().as_str(), r#"{"a":[1]}"#);
    assert_eq!(&body[params.arguments().unwrap().range()], br#"{"a":[1]}"#);
    assert!(params.request_state().unwrap().is_str("s"));
    assert!(params.uri().is_none() && params.cursor().is_none());
    let meta = params.meta_members();
    assert_eq!(meta.progress_token().unwrap().i64(), Some(7));
    assert!(meta.protocol_version().unwrap().is_str("2026-07-28"));
    assert!(meta.client_capabilities().unwrap().is_object());
    assert!(meta.traceparent().unwrap().is_str("00-x"));
    assert!(meta.baggage().is_none());
    assert!(params.meta().unwrap().is_object());
    assert_eq!(params.raw().unwrap().as_str().as_bytes(), &body[params.raw().unwrap().range()]);
}

#[test]
fn notifications_and_responses() {
    let message =
        parse(br#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}"#).unwrap();
    assert!(matches!(message, Message::Notification(_)));
    assert_eq!(message.id(), None);
    assert_eq!(message.params().unwrap().request_id().unwrap().i64(), Some(3));

    let message = parse(
        br#"{"jsonrpc":"2.0","id":1,"result":{"nextCursor":"c","resultType":"complete","isError":true}}"#,
    )
    .unwrap();
    let Message::Response(response) = &message else { panic!("not a response") };
    let Outcome::Result(result) = &response.outcome else { panic!("not a result") };
    assert!(result.next_cursor().unwrap().is_str("c"));
    assert_eq!(result.is_error().unwrap().bool(), Some(true));
    assert!(result.result_type().unwrap().is_str("complete"));
    assert!(result.cache_scope().is_none());
    assert_eq!(message.method(), None);

    for id in ["1", "null"] {
        let body =
            format!(r#"{{"jsonrpc":"2.0","error":{{"code":-32601,"message":"m","data":[1]}},"id":{id}}}"#);
        let Message::Response(response) = parse(body.as_bytes()).unwrap() else { panic!("not a response") };
        assert_eq!(response.id.is_some(), id == "1");
        let Outcome::Error(error) = response.outcome else { panic!("not an error") };
        assert_eq!(error.code().unwrap().i64(), Some(-32601));
        assert_eq!(error.data().unwrap().as_str(), "[1]");
    }
    assert!(parse(br#"{"jsonrpc":"2.0","error":{"code":1,"message":"m"}}"#).unwrap().id().is_none());
}

#[test]
fn what_is_not_a_message_is_refused() {
    for (body, error) in [
        ("[]", ParseError::Batch),
        (r#" [{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, ParseError::Batch),
        ("1", ParseError::NotAnObject),
        ("\"x\"", ParseError::NotAnObject),
        ("null", ParseError::NotAnObject),
        ("{}", ParseError::Version),
        (r#"{"id":1,"method":"ping"}"#, ParseError::Version),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, ParseError::Version),
        (r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, ParseError::Version),
        (r#"{"jsonrpc":"2.0","id":1}"#, ParseError::Response),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, ParseError::Id),
        (r#"{"jsonrpc":"2.0","id":1.0,"method":"ping"}"#, ParseError::Id),
        (r#"{"jsonrpc":"2.0","id":1e3,"method":"ping"}"#, ParseError::Id),
        (r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#, ParseError::Id),
        (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, ParseError::Id),
        (r#"{"jsonrpc":"2.0","id":[1],"method":"ping"}"#, ParseError::Id),
        (r#"{"jsonrpc":"2.0","id":null,"result":{}}"#, ParseError::Id),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","extra":1}"#, ParseError::UnknownMember),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, ParseError::Method),
        (r#"{"jsonrpc":"2.0","id":1,"method":null}"#, ParseError::Method),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#, ParseError::Method),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","error":{"code":1,"message":""}}"#, ParseError::Method),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}"#, ParseError::Params),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":null}"#, ParseError::Params),
        (r#"{"jsonrpc":"2.0","id":1,"params":{},"result":{}}"#, ParseError::Params),
        (r#"{"jsonrpc":"2.0","result":{}}"#, ParseError::Response),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}"#, ParseError::Response),
        (r#"{"jsonrpc":"2.0","id":1,"error":"text"}"#, ParseError::Response),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"code":"1","message":""}}"#, ParseError::Response),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"code":1}}"#, ParseError::Response),
    ] {
        assert_eq!(refused(body), error, "{body}");
        assert!(matches!(error.json_rpc_code(), -32600 | -32602));
    }
    let long = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "x".repeat(MAX_ID_BYTES - 1));
    assert_eq!(refused(&long), ParseError::Id);
}

#[test]
fn what_is_not_strict_json_is_refused_as_that() {
    for body in [
        "",
        "{",
        "x",
        r#"{"jsonrpc":"2.0","id":1,"method":"ping"} "#.trim_end_matches("} "),
        r#"{"jsonrpc":"2.0","id":1,"method":"ping"}{}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping"},"#,
        r#"{"jsonrpc":"1.0","extra":1,"id":nope}"#,
        // Not a message either, but what follows the object decides.
        r#"{"jsonrpc":"2.0","id":1,"extra":1}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]} x"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"\ud800"}"#,
    ] {
        assert!(matches!(refused(body), ParseError::Json(ScanError::Syntax(_))), "{body}");
        assert_eq!(refused(body).json_rpc_code(), -32700);
    }
}

#[test]
fn a_second_reading_of_a_member_is_impossible() {
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","meth\u006fd":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"i\u0064":2,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","name":"evil"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","n\u0061me":"evil"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"a":{"b":1,"b":2}}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"progressToken":1,"progress\u0054oken":2}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{},"\u005fmeta":{}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a","name":"b"}]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"","code":2}}"#,
    ] {
        assert!(matches!(refused(body), ParseError::Json(ScanError::DuplicateKey(_))), "{body}");
    }
    // An escaped spelling that stands alone is that member.
    let message =
        parse(br#"{"jsonrpc":"2.0","id":1,"m\u0065thod":"tools/call","params":{"n\u0061me":"evil"}}"#)
            .unwrap();
    assert_eq!(message.method(), Some("tools/call"));
    assert!(message.params().unwrap().name().unwrap().is_str("evil"));
}

#[test]
fn the_id_of_a_refused_body_is_told_only_for_certain() {
    assert_eq!(peek_id(br#"{"id":7,"method":1}"#).unwrap().as_str(), "7");
    assert!(peek_id(br#"{"id":7,"id":8}"#).is_none());
    assert!(peek_id(br#"{"id":7"#).is_none());
    assert!(peek_id(br#"{"id":null}"#).is_none());
    assert!(peek_id(br#"[{"id":7}]"#).is_none());
}

#[test]
fn debug_output_has_no_content() {
    for body in [
        r#"{"jsonrpc":"2.0","id":"hunter2","method":"m","params":{"name":"hunter2","_meta":{"baggage":"hunter2"},"hunter2":1}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":["hunter2"],"hunter2":2}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"hunter2","data":"hunter2"}}"#,
    ] {
        let message = parse(body.as_bytes()).unwrap();
        let meta = message.params().map(super::Params::meta_members);
        let members = message.params().and_then(super::Params::raw).map(Raw::members);
        let shown = format!("{message:?} {meta:?} {members:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

fn id(body: &[u8]) -> super::RawId<'_> {
    peek_id(body).unwrap()
}

/// Places agree with a reading by another library.
fn agrees(found: Option<Raw<'_>>, wanted: Option<&Value>, body: &str) {
    assert_eq!(found.is_some(), wanted.is_some());
    if let (Some(found), Some(wanted)) = (found, wanted) {
        assert_eq!(&body[found.range()], found.as_str());
        if let Value::String(text) = wanted {
            assert_eq!(found.string().unwrap(), text.as_str());
        }
        assert_eq!(found.is_object(), wanted.is_object());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn members_are_found_in_any_order_and_spelling(
        known in prop::collection::btree_map(
            prop::sample::select(vec!["name", "uri", "arguments", "cursor", "taskId", "requestState", "_meta", "ref"]),
            testing::value(),
            0..8,
        ),
        others in testing::object(),
        meta in testing::object(),
        token in prop::option::of(testing::text()),
        dice in prop::collection::vec(any::<u8>(), 1..120),
    ) {
        let mut params = others;
        params.extend(known.into_iter().map(|(name, value)| (name.to_owned(), value)));
        let mut meta = meta;
        if let Some(token) = token {
            meta.insert("progressToken".to_owned(), Value::from(token));
            params.insert("_meta".to_owned(), Value::Object(meta));
        }
        let params = Value::Object(params);
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let body = testing::spell(&message, &mut dice.into_iter().cycle());
        let parsed = parse(body.as_bytes()).unwrap();
        let found = parsed.params().unwrap();
        for (place, name) in [
            (found.name(), "name"), (found.uri(), "uri"), (found.arguments(), "arguments"), (found.cursor(), "cursor"),
            (found.task_id(), "taskId"), (found.request_state(), "requestState"), (found.meta(), "_meta"),
            (found.reference(), "ref"), (found.level(), "level"),
        ] {
            agrees(place, params.get(name), &body);
        }
        agrees(found.meta_members().progress_token(), params.pointer("/_meta/progressToken"), &body);
        agrees(found.raw(), Some(&params), &body);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let _ = (parse(&bytes), peek_id(&bytes));
    }

    /// Whatever is accepted is JSON to the second reader as well.
    #[test]
    fn nearly_messages_never_slip_through(
        params in testing::nearly_json(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut body = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":"#.to_vec();
        body.extend_from_slice(&params);
        body.push(b'}');
        if parse(&body).is_ok() {
            prop_assert_ne!(testing::opinion(&body), testing::Opinion::Refuse);
        }
        body.truncate(cut.index(body.len()));
        prop_assert!(parse(&body).is_err());
    }
}
