use errors::ErrorCode;
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::{Call, Target, classify};
use crate::envelope::parse;
use crate::error::ProtocolError;
use crate::method::Method;
use crate::revision::Revision;
use crate::testing;

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
/// The same, declaring the extension.
const TASKS: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}"#;

fn headers(list: &[(&str, &str)]) -> HeaderMap {
    list.iter()
        .map(|(name, value)| {
            (
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            )
        })
        .collect()
}

fn request(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}}}}}"#)
}

fn classified<'b>(
    body: &'b str,
    list: &[(&str, &str)],
    session: Option<Revision>,
) -> Result<Call<'b>, ProtocolError> {
    classify(&headers(list), &parse(body.as_bytes()).unwrap(), session)
}

/// Number and status of the refusal.
fn refusal(body: &str, list: &[(&str, &str)]) -> (i64, u16) {
    let error = classified(body, list, None).expect_err(body);
    (error.number(), error.status())
}

fn modern<'h>(method: &'h str, more: &[(&'h str, &'h str)]) -> Vec<(&'h str, &'h str)> {
    let mut list = vec![("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", method)];
    list.extend_from_slice(more);
    list
}

#[test]
fn a_modern_call_with_all_it_needs() {
    let body = request("tools/call", &format!(r#""name":"add","arguments":{{"a":1}},{META}"#));
    let call = classified(&body, &modern("tools/call", &[("mcp-name", " add ")]), None).unwrap();
    assert_eq!((call.revision, call.method), (Revision::V2026_07_28, Some(Method::ToolsCall)));
    let Target::Tool { name, arguments } = call.target else { panic!("not a tool") };
    assert_eq!(name, "add");
    assert_eq!(arguments.unwrap().as_str(), r#"{"a":1}"#);

    let body = request("resources/read", &format!(r#""uri":"file:///caf\u00e9",{META}"#));
    let call = classified(
        &body,
        &modern("resources/read", &[("mcp-name", "=?base64?ZmlsZTovLy9jYWbDqQ==?=")]),
        None,
    );
    assert_eq!(call.unwrap().target, Target::Resource { uri: "file:///café".into() });

    let body = request("tasks/update", &format!(r#""taskId":"t1","inputResponses":{{}},{TASKS}"#));
    let call = classified(&body, &modern("tasks/update", &[("mcp-name", "t1")]), None).unwrap();
    assert_eq!(call.target, Target::Task { id: "t1".into() });

    let body =
        request("subscriptions/listen", &format!(r#""notifications":{{"toolsListChanged":true}},{META}"#));
    let call = classified(&body, &modern("subscriptions/listen", &[]), None).unwrap();
    assert!(matches!(call.target, Target::Listen { .. }));

    let body = request("server/discover", META);
    assert_eq!(
        classified(&body, &modern("server/discover", &[]), None).unwrap().method,
        Some(Method::Discover)
    );
    // A session cannot make a modern request legacy.
    assert!(classified(&body, &modern("server/discover", &[]), Some(Revision::V2025_11_25)).is_ok());
}

#[test]
fn modern_metadata_is_required() {
    let version = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#;
    let capabilities = r#""io.modelcontextprotocol/clientCapabilities":{}"#;
    for params in [
        String::new(),
        r#""_meta":{}"#.to_owned(),
        r#""_meta":7"#.to_owned(),
        format!(r#""_meta":{{{capabilities}}}"#),
        format!(r#""_meta":{{{version}}}"#),
        format!(r#""_meta":{{{version},"io.modelcontextprotocol/clientCapabilities":[]}}"#),
        format!(r#""_meta":{{"io.modelcontextprotocol/protocolVersion":20260728,{capabilities}}}"#),
    ] {
        for method in ["server/discover", "tools/list"] {
            let body = request(method, &params);
            assert_eq!(refusal(&body, &modern(method, &[])), (-32602, 400), "{body}");
        }
    }
    // Methods only this revision has are modern whatever else is missing.
    assert_eq!(refusal(&request("server/discover", ""), &[]), (-32602, 400));
    assert_eq!(refusal(r#"{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen"}"#, &[]), (-32602, 400));
}

#[test]
fn modern_headers_equal_the_body() {
    let list = request("tools/list", META);
    let call = request("tools/call", &format!(r#""name":"add",{META}"#));
    let version = ("MCP-Protocol-Version", "2026-07-28");
    for (body, headers) in [
        (&list, vec![]),
        (&list, vec![("mcp-method", "tools/list")]),
        (&list, vec![version]),
        (&list, vec![version, ("mcp-method", "prompts/list")]),
        (&list, vec![version, ("mcp-method", "TOOLS/LIST")]),
        (&list, vec![version, ("mcp-method", "tools/list"), ("mcp-method", "tools/list")]),
        (&list, vec![version, version, ("mcp-method", "tools/list")]),
        (&list, vec![("mcp-protocol-version", "2025-11-25"), ("mcp-method", "tools/list")]),
        (&list, vec![("mcp-protocol-version", "nonsense"), ("mcp-method", "tools/list")]),
        (&call, modern("tools/call", &[])),
        (&call, modern("tools/call", &[("mcp-name", "sub")])),
        (&call, modern("tools/call", &[("mcp-name", "ADD")])),
        (&call, modern("tools/call", &[("mcp-name", "=?base64?!!?=")])),
        (&call, modern("tools/call", &[("mcp-name", "add"), ("mcp-name", "add")])),
    ] {
        assert_eq!(refusal(body, &headers), (-32020, 400), "{headers:?}");
    }
    // `_meta` that claims a version nobody speaks is a mismatch first when the header says otherwise.
    let other = list.replace("2026-07-28", "v999.0.0");
    assert_eq!(refusal(&other, &modern("tools/list", &[])), (-32020, 400));
    assert_eq!(
        classified(&call, &modern("tools/call", &[("MCP-NAME", "add")]), None).unwrap().method,
        Some(Method::ToolsCall)
    );
    assert_eq!(
        refusal(&request("tools/call", META), &modern("tools/call", &[("mcp-name", "")])),
        (-32602, 200)
    );
}

#[test]
fn an_unsupported_modern_version_names_those_that_are() {
    for version in ["v999.0.0", "2025-11-25", "2024-11-05", "DRAFT-2026-v1", ""] {
        let body = request("tools/list", META).replace("2026-07-28", version);
        let headers = [("mcp-protocol-version", version), ("mcp-method", "tools/list")];
        let error = classified(&body, &headers, None).unwrap_err();
        assert_eq!((error.number(), error.status()), (-32022, 400), "{version}");
        assert_eq!(error.code(), ErrorCode::ProtocolVersionUnsupported);
        let response: serde_json::Value = serde_json::from_slice(&error.to_response(Some(b"301"))).unwrap();
        assert_eq!(response["id"], 301);
        assert_eq!(response["error"]["code"], -32022);
        assert_eq!(response["error"]["data"]["supported"], serde_json::json!(["2026-07-28"]));
        assert_eq!(response["error"]["data"]["requested"], version);
        assert_eq!(response["error"]["data"]["code"], "protocol_version_unsupported");
    }
    // What is echoed is bounded and stays text.
    let long = "é".repeat(500);
    let error = ProtocolError::unsupported_modern(&long);
    assert_eq!(error.extra()[1].1.as_str().unwrap(), "é".repeat(32));
}

#[test]
fn unknown_and_removed_methods() {
    for method in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "unknown/method",
        "tasks/list",
        "tasks/result",
        "sampling/createMessage",
        "roots/list",
        "elicitation/create",
        "notifications/cancelled",
        "Tools/list",
        "",
    ] {
        assert_eq!(refusal(&request(method, META), &modern(method, &[])), (-32601, 404), "{method}");
    }
    for method in ["unknown/method", "tasks/update", "roots/list", "notifications/initialized"] {
        let refused = refusal(&request(method, ""), &[("mcp-protocol-version", "2025-11-25")]);
        assert_eq!(refused, (-32601, 200), "{method}");
    }
    assert_eq!(refusal(&request("tasks/get", ""), &[("mcp-protocol-version", "2025-06-18")]), (-32601, 200));
}

#[test]
fn an_extensions_methods_need_its_declaration() {
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let headers = modern(method, &[("mcp-name", "t")]);
        let body = request(method, &format!(r#""taskId":"t",{TASKS}"#));
        assert!(classified(&body, &headers, None).is_ok(), "{method}");
        // What the headers say comes first.
        assert_eq!(refusal(&body, &modern(method, &[("mcp-name", "t2")])), (-32020, 400), "{method}");
        for undeclared in [META.to_owned(), TASKS.replace("tasks\":{}", "tasks\":true")] {
            let body = request(method, &format!(r#""taskId":"t",{undeclared}"#));
            let error = classified(&body, &headers, None).unwrap_err();
            assert_eq!((error.number(), error.status()), (-32021, 400), "{method}");
            assert_eq!(error.code(), ErrorCode::ClientCapabilityMissing);
            let (name, required) = &error.extra()[0];
            assert_eq!(*name, "requiredCapabilities");
            assert_eq!(required, &serde_json::json!({"extensions": {"io.modelcontextprotocol/tasks": {}}}));
        }
    }
}

#[test]
fn modern_clients_send_neither_responses_nor_legacy_notifications() {
    let notification = |method: &str| format!(r#"{{"jsonrpc":"2.0","method":"{method}"}}"#);
    let version = ("mcp-protocol-version", "2026-07-28");
    assert!(classified(&notification("notifications/cancelled"), &[version], None).is_ok());
    for method in
        ["notifications/initialized", "notifications/progress", "notifications/unknown", "tools/call"]
    {
        assert_eq!(refusal(&notification(method), &[version]), (-32601, 404), "{method}");
    }
    let mismatch = [version, ("mcp-method", "notifications/progress")];
    assert_eq!(refusal(&notification("notifications/cancelled"), &mismatch), (-32020, 400));
    assert_eq!(refusal(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, &[version]), (-32600, 400));
}

#[test]
fn legacy_revision_comes_from_the_header_or_the_session() {
    let body = request("tools/list", "");
    for revision in [Revision::V2025_06_18, Revision::V2025_11_25] {
        let header = ("mcp-protocol-version", revision.as_str());
        assert_eq!(classified(&body, &[header], None).unwrap().revision, revision);
        assert_eq!(classified(&body, &[header], Some(revision)).unwrap().revision, revision);
        assert_eq!(classified(&body, &[], Some(revision)).unwrap().revision, revision);
        // Mirrored headers mean nothing before 2026-07-28.
        assert!(classified(&body, &[header, ("mcp-method", "other")], None).is_ok());
    }
    let header = [("mcp-protocol-version", "2025-06-18")];
    let error = classified(&body, &header, Some(Revision::V2025_11_25)).unwrap_err();
    assert_eq!((error.code(), error.status()), (ErrorCode::HeaderMismatch, 400));
    for version in [None, Some("2025-03-26"), Some("2024-11-05"), Some("nonsense"), Some("")] {
        let headers: Vec<_> = version.map(|version| ("mcp-protocol-version", version)).into_iter().collect();
        let error = classified(&body, &headers, None).unwrap_err();
        assert_eq!(
            (error.code(), error.status()),
            (ErrorCode::ProtocolVersionUnsupported, 400),
            "{version:?}"
        );
        assert_eq!(error.extra()[1].1, version.unwrap_or("2025-03-26"));
    }
    let twice = [("mcp-protocol-version", "2025-11-25"), ("mcp-protocol-version", "2025-11-25")];
    assert_eq!(refusal(&body, &twice), (-32600, 400));
    for body in
        [r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, r#"{"jsonrpc":"2.0","error":{"code":1,"message":""}}"#]
    {
        let call = classified(body, &[("mcp-protocol-version", "2025-11-25")], None).unwrap();
        assert_eq!((call.method, call.target), (None, Target::Nothing));
        assert_eq!(refusal(body, &[]), (-32600, 400));
    }
    let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert!(classified(initialized, &[("mcp-protocol-version", "2025-06-18")], None).is_ok());
}

#[test]
fn initialize_asks_for_a_legacy_revision() {
    let body = |version: &str| request("initialize", &format!(r#""protocolVersion":"{version}""#));
    for revision in [Revision::V2025_06_18, Revision::V2025_11_25] {
        let body = body(revision.as_str());
        let call = classified(&body, &[], None).unwrap();
        assert_eq!((call.revision, call.method), (revision, Some(Method::Initialize)));
        assert!(classified(&body, &[("mcp-protocol-version", revision.as_str())], None).is_ok());
    }
    // Whoever speaks both eras asks for the newest it has; what the server has of this handshake is older.
    let newest = body("2026-07-28");
    let call = classified(&newest, &[], None).unwrap();
    assert_eq!((call.revision, call.method), (Revision::NEWEST_LEGACY, Some(Method::Initialize)));
    for version in ["2024-11-05", "2025-03-26", "2099-01-01", ""] {
        let error = classified(&body(version), &[], None).unwrap_err();
        assert_eq!((error.number(), error.status()), (-32602, 200), "{version}");
        assert_eq!(error.extra()[0].1, serde_json::json!(["2025-06-18", "2025-11-25"]));
    }
    assert_eq!(refusal(&request("initialize", ""), &[]), (-32602, 200));
    assert_eq!(refusal(&body("2025-11-25"), &[("mcp-protocol-version", "2025-06-18")]), (-32600, 400));
    // `_meta` alone does not make it modern: some clients send it with every request.
    let with_meta = request("initialize", &format!(r#""protocolVersion":"2025-11-25",{META}"#));
    assert!(classified(&with_meta, &[], None).is_ok());
}

#[test]
fn targets_must_be_there_and_of_the_right_type() {
    let header = [("mcp-protocol-version", "2025-11-25")];
    for (method, params, wanted) in [
        ("tools/call", r#""name":"a""#, Target::Tool { name: "a".into(), arguments: None }),
        ("prompts/get", r#""name":"a""#, Target::Prompt { name: "a".into(), arguments: None }),
        ("resources/subscribe", r#""uri":"u""#, Target::Resource { uri: "u".into() }),
        (
            "completion/complete",
            r#""ref":{"type":"ref/prompt","name":"p"}"#,
            Target::CompletePrompt { name: "p".into() },
        ),
        (
            "completion/complete",
            r#""ref":{"type":"ref/resource","uri":"u"}"#,
            Target::CompleteResource { uri: "u".into() },
        ),
        ("tasks/result", r#""taskId":"t""#, Target::Task { id: "t".into() }),
        ("tools/list", "", Target::Nothing),
    ] {
        assert_eq!(classified(&request(method, params), &header, None).unwrap().target, wanted);
    }
    for (method, params) in [
        ("tools/call", ""),
        ("tools/call", r#""name":7"#),
        ("tools/call", r#""name":null"#),
        ("tools/call", r#""name":"a","arguments":[]"#),
        ("tools/call", r#""name":"a","arguments":null"#),
        ("prompts/get", r#""arguments":{}"#),
        ("resources/read", r#""name":"a""#),
        ("resources/unsubscribe", r#""uri":{}"#),
        ("completion/complete", ""),
        ("completion/complete", r#""ref":"a""#),
        ("completion/complete", r#""ref":{"type":"ref/tool","name":"p"}"#),
        ("completion/complete", r#""ref":{"type":"ref/prompt","uri":"p"}"#),
        ("tasks/get", r#""taskId":1"#),
    ] {
        assert_eq!(refusal(&request(method, params), &header), (-32602, 200), "{method} {params}");
    }
    let listen = request("subscriptions/listen", &format!(r#""notifications":[],{META}"#));
    assert_eq!(refusal(&listen, &modern("subscriptions/listen", &[])), (-32602, 200));
}

proptest! {
    /// A modern call is accepted exactly when the mirrored name is the one in the body, however both are spelled.
    #[test]
    fn mirrored_names_agree(name in testing::text(), other in testing::text(), dice in prop::collection::vec(any::<u8>(), 1..40)) {
        let spelled = testing::spell(&serde_json::Value::from(name.as_str()), &mut dice.into_iter().cycle());
        let body = request("prompts/get", &format!(r#""name":{spelled},{META}"#));
        for header in [&name, &other] {
            let encoded = crate::headers::encode(header).into_owned();
            let accepted = classified(&body, &modern("prompts/get", &[("mcp-name", &encoded)]), None).is_ok();
            prop_assert_eq!(accepted, *header == name);
        }
    }
}

/// Readers that ignore case, as Go's `encoding/json` does, would take these for the members that were decided on.
#[test]
fn a_member_that_differs_from_a_known_one_in_case_alone_is_refused() {
    let list = [("MCP-Protocol-Version", "2025-11-25")];
    for params in [
        r#""name":"read","Name":"erase""#,
        r#""name":"read","NAME":"erase""#,
        r#""Name":"erase","name":"read""#,
        r#""name":"read","n\u0041me":"erase""#,
        r#""name":"read","argument\u017f":{}"#,
        r#""name":"read","ta\u017f\u212A":{}"#,
        r#""name":"read","Cursor":"c""#,
        r#""name":"read","_META":{}"#,
    ] {
        assert_eq!(refusal(&request("tools/call", params), &list), (-32602, 200), "{params}");
    }
    for params in [
        r#""name":"read","arguments":{"Name":"x","NAME":1}"#,
        r#""name":"read","_meta":{"Name":1},"names":[]"#,
    ] {
        assert!(classified(&request("tools/call", params), &list, None).is_ok(), "{params}");
    }
    let told =
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"RequestID":2}}"#;
    assert_eq!(refusal(told, &list), (-32602, 200));
}
