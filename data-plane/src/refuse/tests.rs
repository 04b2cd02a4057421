use ::mcp::ProtocolError;
use serde_json::{Value, json};

use super::*;

fn json_of(rendered: &Rendered) -> Value {
    serde_json::from_slice(&rendered.body).unwrap()
}

#[test]
fn before_the_body_a_refusal_is_a_problem_with_its_real_status() {
    let rendered = render(&Refusal::EndpointNotFound, Addressee::Http, "call_1", None);
    assert_eq!(rendered.status, StatusCode::NOT_FOUND);
    let problem = json_of(&rendered);
    assert_eq!(
        (problem["code"].as_str(), problem["request_id"].as_str()),
        (Some("endpoint_not_found"), Some("call_1"))
    );
    let response = rendered.into_response();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert_eq!(response.headers()["portcullis-refusal"], "endpoint_not_found");
}

#[test]
fn identity_is_challenged() {
    for (refusal, status, challenge) in [
        (Refusal::CredentialMissing, 401, "Bearer"),
        (Refusal::CredentialInvalid, 401, r#"Bearer error="invalid_token""#),
        (Refusal::CredentialMalformed, 400, r#"Bearer error="invalid_request""#),
        (Refusal::ClientNotAllowed, 403, r#"Bearer error="insufficient_scope""#),
    ] {
        let response = render(&refusal, Addressee::Http, "r", None).into_response();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["www-authenticate"], challenge);
    }
}

#[test]
fn a_refused_request_is_a_200_with_a_positive_code_slug_and_remedy() {
    let refusal = Refusal::not_granted(Action::CallTool);
    let rendered = render(&refusal, Addressee::Request(b"\"a\""), "r", None);
    assert_eq!(rendered.status, StatusCode::OK);
    let error = json_of(&rendered);
    assert_eq!(error["id"], "a");
    assert!(error["error"]["code"].as_i64().unwrap() > 0);
    assert_eq!(error["error"]["data"]["code"], "tool_not_granted");
    assert!(!error["error"]["data"]["remedy"].as_str().unwrap().is_empty());
    assert_eq!(rendered.into_response().headers()["portcullis-refusal"], "tool_not_granted");
}

#[test]
fn a_rate_limit_says_which_what_is_left_and_when() {
    let refusal = Refusal::RateLimited {
        counted: Counted::Share,
        limit: LimitName::Client,
        per_minute: 60,
        remaining: 0,
        retry_after: Duration::from_millis(1_500),
    };
    let data = json_of(&render(&refusal, Addressee::Request(b"1"), "r", None))["error"]["data"].clone();
    assert_eq!((&data["limit"], &data["counted"]), (&json!("client"), &json!("by_share")));
    assert_eq!((data["per_minute"].as_u64(), data["remaining"].as_u64()), (Some(60), Some(0)));
    assert_eq!(data["retry_after_ms"], 1_500);
    let response = render(&refusal, Addressee::Http, "r", None).into_response();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (429, &HeaderValue::from(2))
    );
    let never = Refusal::RateLimited {
        counted: Counted::Here,
        limit: LimitName::Tool,
        per_minute: 0,
        remaining: 0,
        retry_after: limits::NEVER,
    };
    let data = json_of(&render(&never, Addressee::Request(b"1"), "r", None))["error"]["data"].clone();
    assert!(data.get("retry_after_ms").is_none());
}

#[test]
fn prescribed_numbers_and_statuses_are_kept() {
    let cases = [
        (Refusal::Protocol(ProtocolError::header_mismatch("x")), 400, -32020),
        (Refusal::Protocol(ProtocolError::method_unknown(::mcp::Revision::NEWEST)), 404, -32601),
        (Refusal::Protocol(ProtocolError::method_unknown(::mcp::Revision::NEWEST_LEGACY)), 200, -32601),
        (Refusal::Protocol(ProtocolError::unsupported_modern("v999")), 400, -32022),
        (Refusal::StateInvalid, 200, -32602),
        (Refusal::SessionRequired, 400, 1208),
        (Refusal::SessionNotFound, 404, 1209),
        (Refusal::Upstream(UpstreamError::SessionNotFound), 404, 1209),
    ];
    for (refusal, status, number) in cases {
        let rendered = render(&refusal, Addressee::Request(b"7"), "r", None);
        assert_eq!(rendered.status.as_u16(), status, "{refusal:?}");
        assert_eq!(json_of(&rendered)["error"]["code"], number, "{refusal:?}");
    }
    let unsupported = render(
        &Refusal::Protocol(ProtocolError::unsupported_modern("v999")),
        Addressee::Request(b"7"),
        "r",
        None,
    );
    let data = json_of(&unsupported)["error"]["data"].clone();
    assert_eq!(
        (data["requested"].as_str(), data["supported"][0].as_str()),
        (Some("v999"), Some("2026-07-28"))
    );
}

#[test]
fn a_budget_says_which_and_until_when() {
    let refusal = Refusal::BudgetExhausted {
        limit: LimitName::Tenant,
        window: Window::Month,
        allowed: 1_000,
        remaining: 2,
        retry_after: Duration::from_secs(3_600),
        counted: Counted::Together,
    };
    let data = json_of(&render(&refusal, Addressee::Request(b"1"), "r", None))["error"]["data"].clone();
    assert_eq!(
        (&data["code"], &data["limit"], &data["window"]),
        (&json!("budget_exhausted"), &json!("tenant"), &json!("month"))
    );
    assert_eq!((data["allowed"].as_u64(), data["remaining"].as_u64()), (Some(1_000), Some(2)));
    assert_eq!((data["retry_after_ms"].as_u64(), &data["counted"]), (Some(3_600_000), &json!("together")));
}
