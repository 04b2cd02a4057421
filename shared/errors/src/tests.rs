use std::{collections::HashSet, time::Duration};

use serde_json::{Value, json};

use super::*;
use crate::problem::{FieldError, Problem};

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn slugs_and_numbers_are_unique_ordered_and_well_formed() {
    let mut slugs = HashSet::new();
    let mut last = 0;
    for (place, entry) in CATALOGUE.iter().enumerate() {
        assert_eq!(entry.code as usize, place, "{} is not where its code says", entry.slug);
        assert!(slugs.insert(entry.slug), "{} occurs twice", entry.slug);
        assert!(entry.number > last, "{} does not follow {last}", entry.number);
        assert!(entry.slug.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", entry.slug);
        assert!((400..600).contains(&entry.status), "{} has status {}", entry.slug, entry.status);
        assert!(!entry.title.ends_with('.') && entry.remedy.ends_with('.'), "{}", entry.slug);
        assert_eq!(ErrorCode::from_slug(entry.slug), Some(entry.code));
        last = entry.number;
    }
    assert_eq!(ErrorCode::from_slug("nothing_like_it"), None);
}

#[test]
fn every_page_agrees_with_its_row_and_says_what_to_do() {
    for entry in CATALOGUE {
        let page = page(entry.code);
        let facts = format!("`{}` · {} · HTTP {} · ", entry.slug, entry.number, entry.status);
        assert!(
            page.starts_with(&format!("# {}\n\n{facts}", entry.title)),
            "{}.md begins otherwise",
            entry.slug
        );
        let repeat = if entry.retryable { "may succeed if repeated" } else { "repeating does not help" };
        assert!(page.contains(repeat), "{}.md is wrong about repeating", entry.slug);
        for part in ["**What happened.**", "**Who acts.**", "**What to do.**", "**Example.**"] {
            assert!(page.contains(part), "{}.md has no {part}", entry.slug);
        }
    }
}

#[test]
fn no_page_is_without_a_row() {
    let pages = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/codes")).unwrap();
    for page in pages {
        let name = page.unwrap().file_name().into_string().unwrap();
        let slug = name.strip_suffix(".md").unwrap();
        assert!(ErrorCode::from_slug(slug).is_some(), "{name} belongs to no code");
    }
}

#[test]
fn problem_golden() {
    let bare = Problem::new(ErrorCode::NotFound).to_json();
    assert_eq!(
        text(bare),
        r#"{"type":"/errors/not_found","title":"No such resource","status":404,"code":"not_found","remedy":"Check the id and the tenant.","retryable":false}"#
    );
    let full = Problem::new(ErrorCode::AddressLimited)
        .with_detail("quotes \" and \\ are escaped")
        .with_request_id("req_1")
        .with_errors(vec![FieldError { pointer: "/slug".into(), message: "too short".into() }])
        .with_retry_after(Duration::from_micros(1_500_001));
    assert_eq!(full.status(), 429);
    assert_eq!(full.retry_after_seconds(), Some(2));
    assert_eq!(
        text(full.to_json_with_base("https://example.com/e/")),
        concat!(
            r#"{"type":"https://example.com/e/address_limited","title":"Too many requests from this address","#,
            r#""status":429,"code":"address_limited","detail":"quotes \" and \\ are escaped","#,
            r#""remedy":"Wait for `Retry-After`.","retryable":true,"retry_after_ms":1501,"request_id":"req_1","#,
            r#""errors":[{"pointer":"/slug","message":"too short"}]}"#
        )
    );
}

#[test]
fn jsonrpc_golden() {
    assert_eq!(
        text(jsonrpc::response(Some(b"\"a\""), ErrorCode::ToolNotGranted, None, None, &[])),
        concat!(
            r#"{"jsonrpc":"2.0","id":"a","error":{"code":1401,"message":"Tool not granted","data":"#,
            r#"{"code":"tool_not_granted","remedy":"Ask an administrator for a grant that names this tool."}}}"#
        )
    );
    let limited = jsonrpc::response(
        Some(b"12345678901234567890123"),
        ErrorCode::RateLimited,
        Some("client"),
        Some(jsonrpc::retry_after_ms(Duration::from_nanos(1))),
        &[("limit", json!("lim_1")), ("code", json!("forged"))],
    );
    assert_eq!(
        text(limited),
        concat!(
            r#"{"jsonrpc":"2.0","id":12345678901234567890123,"error":{"code":1301,"message":"Rate limit reached","#,
            r#""data":{"code":"rate_limited","remedy":"Wait for `retry_after_ms`, or ask for a higher limit.","#,
            r#""retry_after_ms":1,"detail":"client","limit":"lim_1"}}}"#
        )
    );
}

#[test]
fn reserved_number_keeps_the_slug() {
    let bytes = jsonrpc::response_with_code(None, -32601, ErrorCode::MethodUnknown, None, None, &[]);
    let value: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(value["id"], Value::Null);
    assert_eq!(value["error"]["code"], -32601);
    assert_eq!(value["error"]["data"]["code"], "method_unknown");
}

#[test]
fn numbers_stay_outside_the_reserved_range() {
    // JSON-RPC 2.0 section 5.1 reserves -32768 to -32000.
    assert!(CATALOGUE.iter().all(|entry| entry.number > 0));
}

#[test]
fn oauth_golden() {
    assert_eq!(
        text(oauth::error(ErrorCode::CredentialInvalid, "invalid_client", None)),
        concat!(
            r#"{"error":"invalid_client","error_description":"Credential not accepted. Use a current key, or a token for this endpoint.","#,
            r#""error_uri":"/errors/credential_invalid"}"#
        )
    );
}

#[test]
fn what_it_was_this_time_is_said_too() {
    let body = text(oauth::error(
        ErrorCode::OauthRequestInvalid,
        "invalid_request",
        Some("`resource` is sent twice"),
    ));
    assert!(body.contains(": `resource` is sent twice. "), "{body}");
}

#[test]
fn oauth_texts_use_only_the_characters_that_rfc_6749_allows() {
    // Section 5.2: %x20-21 / %x23-5B / %x5D-7E.
    for entry in CATALOGUE {
        let body: Value = serde_json::from_slice(&oauth::error(entry.code, "invalid_request", None)).unwrap();
        let text = body["error_description"].as_str().unwrap();
        assert!(text.bytes().all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)), "{text}");
    }
}
