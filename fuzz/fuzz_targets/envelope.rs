#![no_main]
//! A body is accepted exactly when `serde_json` with the stricter rules accepts it and it is a message; what is found in it
//! is what `serde_json` finds; every span holds a value that parses to itself; splicing spans with themselves changes
//! nothing.

use libfuzzer_sys::fuzz_target;
use mcp::{
    envelope::{Message, Outcome, ParseError, parse, peek_id},
    raw::{Edits, Raw},
};
use portcullis_fuzz::{Opinion, opinion};
use serde_json::Value;

fuzz_target!(|body: &[u8]| {
    let opinion = opinion(body);
    match Raw::parse(body) {
        Ok(raw) => assert!(opinion != Opinion::Refuse && &body[raw.range()] == raw.as_bytes()),
        Err(_) => assert_ne!(opinion, Opinion::Accept),
    }
    match parse(body) {
        Ok(message) => {
            assert_ne!(opinion, Opinion::Refuse);
            assert_eq!(peek_id(body), message.id());
            spans(body, &message);
            if let Ok(value) = serde_json::from_slice(body) {
                says(&value, &message);
            }
            let _ = mcp::classify(&http::HeaderMap::new(), &message, None);
        }
        Err(ParseError::Json(_)) => {
            assert_ne!(opinion, Opinion::Accept);
            assert!(peek_id(body).is_none());
        }
        // An array is refused unread.
        Err(ParseError::Batch) => assert!(body.trim_ascii_start().starts_with(b"[")),
        Err(_) => assert_ne!(opinion, Opinion::Refuse),
    }
});

fn spans(body: &[u8], message: &Message<'_>) {
    let mut found: Vec<Raw<'_>> = message.id().map(|id| id.raw()).into_iter().collect();
    let whole = match message {
        Message::Request(request) => request.params.raw(),
        Message::Notification(notification) => notification.params.raw(),
        Message::Response(response) => match &response.outcome {
            Outcome::Result(result) => {
                found.extend([result.next_cursor(), result.tools(), result.meta()].into_iter().flatten());
                Some(result.raw())
            }
            Outcome::Error(error) => {
                found.extend(error.data());
                error.message()
            }
        },
    };
    if let Some(params) = message.params() {
        let meta = params.meta_members();
        let members = [params.name(), params.uri(), params.arguments(), params.cursor(), params.meta()];
        found.extend(members.into_iter().chain([meta.progress_token(), meta.traceparent()]).flatten());
    }
    found.extend(whole);
    if let Some(whole) = whole {
        found.extend(whole.members().map(|(_, value)| value).chain(whole.elements()));
    }
    for value in found {
        assert_eq!(&body[value.range()], value.as_bytes());
        let again = Raw::parse(value.as_bytes()).expect("a span holds a value");
        assert_eq!((again.range(), again.as_bytes()), (0..value.as_bytes().len(), value.as_bytes()));
        let mut edits = Edits::new();
        edits.replace(value.range(), value.as_bytes());
        assert_eq!(edits.apply(body), body);
    }
}

fn says(value: &Value, message: &Message<'_>) {
    assert_eq!(value["jsonrpc"], "2.0");
    assert_eq!(value.get("method").and_then(Value::as_str), message.method());
    assert!(
        value.as_object().expect("a message is an object").keys().all(|name| {
            ["jsonrpc", "id", "method", "params", "result", "error"].contains(&name.as_str())
        })
    );
    let Some(params) = message.params() else {
        assert!(value.get("result").is_some() != value.get("error").is_some());
        return;
    };
    assert_eq!(value.get("params").is_some(), params.raw().is_some());
    for (name, member) in [
        ("name", params.name()),
        ("uri", params.uri()),
        ("cursor", params.cursor()),
        ("arguments", params.arguments()),
        ("_meta", params.meta()),
    ] {
        let member = member.map(|raw| serde_json::from_slice::<Value>(raw.as_bytes()).expect("JSON"));
        assert_eq!(value.get("params").and_then(|params| params.get(name)), member.as_ref());
    }
}
