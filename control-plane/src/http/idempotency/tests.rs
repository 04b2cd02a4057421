use axum::{Router, middleware::from_fn, response::IntoResponse as _, routing::post};
use tower::ServiceExt as _;

use super::*;

fn parts(headers: &[&str], uri: &str) -> Parts {
    let mut request = http::Request::builder().method("POST").uri(uri);
    for value in headers {
        request = request.header(IDEMPOTENCY_KEY, *value);
    }
    request.body(()).unwrap().into_parts().0
}

#[test]
fn a_key_is_visible_text_quoted_or_bare() {
    let key = |headers: &[&str]| Key::of(&parts(headers, "/v1/a")).map(|key| key.map(|Key(text)| text));
    assert_eq!(key(&[]).unwrap(), None);
    assert_eq!(key(&["abc-1"]).unwrap().as_deref(), Some("abc-1"));
    assert_eq!(key(&["\"abc-1\""]).unwrap().as_deref(), Some("abc-1"), "as the draft writes it");
    let longest = "x".repeat(MAX_KEY);
    assert!(key(&[&longest]).is_ok() && key(&[&format!("{longest}x")]).is_err());
    for wrong in [&["a", "b"][..], &[""], &["\"\""], &["a b"], &["\"a"], &["\u{e4}"]] {
        assert!(key(wrong).is_err(), "{wrong:?}");
    }
}

#[tokio::test]
async fn the_kill_switch_takes_no_key_and_is_known_by_its_route_alone() {
    let seen = from_fn(|request: Request, _: Next| async move {
        let (parts, _) = request.into_parts();
        Key::of(&parts).unwrap().is_some().to_string().into_response()
    });
    let routes = Router::new()
        .route("/v1/tenants/{tenant}/kills", post(|| async {}))
        .route("/v1/tenants/{tenant}/clients/{client}", post(|| async {}))
        .layer(seen);
    for (path, takes) in [
        ("/v1/tenants/acme/kills", "false"),
        ("/v1/tenants/kills/clients/cl_1", "true"),
        ("/v1/tenants/acme/clients/kills", "true"),
    ] {
        let request = Request::from_parts(parts(&["a"], path), Body::empty());
        let response = routes.clone().oneshot(request).await.unwrap();
        assert_eq!(to_bytes(response.into_body(), 9).await.unwrap(), takes, "{path}");
    }
}

#[test]
fn what_differs_in_a_request_differs_in_its_fingerprint() {
    let of = |uri: &str, body: &str| fingerprint(&parts(&[], uri), body.as_bytes());
    let one = of("/a?b", "c");
    assert_eq!(one, of("/a?b", "c"));
    for other in [of("/a?b", "d"), of("/a", "bc"), of("/a?bc", ""), of("/ab", "c")] {
        assert_ne!(one, other);
    }
}
