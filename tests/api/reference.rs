//! What people read of the API.

use reqwest::{Method, StatusCode};

use crate::{api, send};

#[tokio::test]
async fn the_reference_is_open_to_anybody_and_runs_nothing() {
    let (gateway, _) = api().await;
    let page = send(&gateway, None, Method::GET, "/v1/reference", &[], "").await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (StatusCode::OK, Some("text/html; charset=utf-8"))
    );
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(!policy.contains("script") && !policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    let text = String::from_utf8(page.bytes).unwrap();
    assert!(text.contains("create_client") && text.contains("/v1/tenants/{tenant}/clients"));
    assert!(!text.contains("<script") && !text.contains("onload") && !text.contains(" src="));
}
