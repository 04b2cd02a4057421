use http::Request;
use http::request::Builder;

use super::*;
use crate::testing::{self, PATH, World};

const MODERN: &str = "2026-07-28";

fn post() -> Builder {
    Request::post(PATH)
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
}

fn verb_of(request: Builder) -> Result<Verb, Refusal> {
    verb(&testing::exchange(request), &World::new().principal())
}

#[test]
fn posts_need_json_and_an_accept_that_covers_both_forms() {
    assert_eq!(verb_of(post()).unwrap(), Verb::Post);
    let plain = || Request::post(PATH).header("content-type", "application/json; charset=utf-8");
    assert!(verb_of(plain()).is_ok(), "no Accept accepts everything");
    for accept in ["*/*", "application/*, text/*", "text/event-stream;q=0.5, application/json"] {
        assert!(verb_of(plain().header("accept", accept)).is_ok(), "{accept}");
    }
    for accept in [
        "application/json",
        "text/event-stream",
        "text/html",
        "*/*;q=0",
        "application/json, text/event-stream;q=0.0",
    ] {
        let refused = verb_of(plain().header("accept", accept));
        assert!(matches!(refused, Err(Refusal::NotAcceptable)), "{accept}");
    }
    for charset in ["utf-8", "UTF-8", "\"utf-8\""] {
        let request =
            Request::post(PATH).header("content-type", format!("application/json ; Charset={charset}"));
        assert!(verb_of(request).is_ok(), "{charset}");
    }
    for charset in ["utf-7", "utf-16", "utf-16le", "latin1", "", "utf-8\"; charset=utf-7"] {
        let request =
            Request::post(PATH).header("content-type", format!("application/json; charset={charset}"));
        assert!(matches!(verb_of(request), Err(Refusal::ContentType)), "{charset}");
    }
    for content_type in ["text/plain", "application/json, text/plain", "application/jsonp", ""] {
        let refused = verb_of(Request::post(PATH).header("content-type", content_type));
        assert!(matches!(refused, Err(Refusal::ContentType)), "{content_type}");
    }
    assert!(matches!(verb_of(Request::post(PATH)), Err(Refusal::ContentType)));
}

#[test]
fn get_and_delete_belong_to_the_legacy_revisions() {
    let stream = || Request::get(PATH).header("accept", "text/event-stream");
    assert_eq!(verb_of(stream()).unwrap(), Verb::Get);
    assert_eq!(verb_of(Request::delete(PATH)).unwrap(), Verb::Delete);
    let modern = verb_of(stream().header("mcp-protocol-version", MODERN));
    assert!(matches!(modern, Err(Refusal::MethodNotAllowed { allow: "POST" })));
    for other in ["PUT", "PATCH", "OPTIONS", "HEAD"] {
        let refused = verb_of(Request::builder().method(other).uri(PATH));
        assert!(matches!(refused, Err(Refusal::MethodNotAllowed { allow: "POST, GET, DELETE" })), "{other}");
    }
}

fn checked(request: Builder, text: &str, look: impl FnOnce(Result<Call<'_>, Refusal>)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let body = runtime.block_on(testing::body(text));
    let exchange = testing::exchange(request);
    let message = match parse(Verb::Post, &body) {
        Ok(message) => message,
        Err(refusal) => return look(Err(refusal)),
    };
    look(check(&exchange, Verb::Post, message));
}

#[test]
fn a_modern_call_names_its_revision_twice() {
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":1},
        "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    let request = post()
        .header("mcp-protocol-version", MODERN)
        .header("mcp-method", "tools/call")
        .header("mcp-name", "add");
    checked(request, text, |call| {
        let call = call.unwrap();
        assert_eq!((call.kind(), call.method()), (Kind::Request, Some(Method::ToolsCall)));
        assert!(call.revision().is_modern());
        assert!(matches!(call.target(), Target::Tool { name, .. } if name == "add"));
    });
    checked(post().header("mcp-protocol-version", MODERN), text, |refused| {
        let Err(Refusal::Protocol(error)) = refused else { panic!("Mcp-Method is missing") };
        assert_eq!((error.status(), error.number()), (400, -32020));
    });
}

#[test]
fn legacy_requests_need_the_header_or_a_session() {
    let text = r#"{"jsonrpc":"2.0","id":"x","method":"ping"}"#;
    checked(post(), text, |refused| {
        let Err(Refusal::Protocol(error)) = refused else { panic!("2025-03-26 is meant by nothing") };
        assert_eq!((error.code(), error.status()), (errors::ErrorCode::ProtocolVersionUnsupported, 400));
    });
    checked(post().header("mcp-session-id", "s"), text, |call| {
        assert_eq!(call.unwrap().revision(), Revision::NEWEST_LEGACY);
    });
    checked(post().header("mcp-protocol-version", "2025-06-18"), text, |call| {
        assert_eq!(call.unwrap().revision(), Revision::V2025_06_18);
    });
    for version in ["2024-11-05", "2025-03-26", "2099-01-01"] {
        checked(post().header("mcp-protocol-version", version), text, |refused| {
            assert!(matches!(refused, Err(Refusal::Protocol(_))), "{version}");
        });
    }
}

#[test]
fn what_is_no_single_message_is_refused() {
    for text in [
        "",
        "{",
        "[]",
        r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
        r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
    ] {
        checked(post(), text, |refused| assert!(matches!(refused, Err(Refusal::Unparsable(_))), "{text}"));
    }
}

#[test]
fn notifications_and_responses_are_told_apart() {
    let session = || post().header("mcp-session-id", "s");
    checked(session(), r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, |call| {
        assert_eq!(call.unwrap().kind(), Kind::Notification);
    });
    checked(session(), r#"{"jsonrpc":"2.0","id":7,"result":{"action":"accept"}}"#, |call| {
        let call = call.unwrap();
        assert_eq!((call.kind(), call.method_name()), (Kind::Response, "response"));
    });
}

#[test]
fn a_stream_names_its_revision_in_the_header_or_not_at_all() {
    let call = check(&testing::exchange(Request::get(PATH)), Verb::Get, None).unwrap();
    assert_eq!((call.kind(), call.method_name()), (Kind::OpenStream, "GET"));
    assert!(call.keeps_open());
    let old = testing::exchange(Request::get(PATH).header("mcp-protocol-version", "2024-11-05"));
    assert!(matches!(check(&old, Verb::Get, None), Err(Refusal::Protocol(_))));
}
