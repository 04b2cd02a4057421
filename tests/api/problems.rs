//! Problem documents, request ids, and who may do what.

use std::time::Duration;

use control_plane::{app::Running, config::ApiLimits};
use crypto::key;
use harness::{eventually, text};
use limits::Rate;
use reqwest::{Method, StatusCode};
use seams::SystemEntropy;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::{JSON, MERGE, api, get, listeners, post, send};

#[tokio::test]
async fn what_is_wrong_with_a_body_is_named() {
    let (gateway, tenant) = api().await;
    let path = format!("{}/endpoints", tenant.base);
    for (body, status, code, places) in [
        ("{", 400, "bad_request", vec![]),
        ("{} {}", 422, "validation_failed", vec!["/slug"]),
        ("[]", 422, "validation_failed", vec![""]),
        (r#"{"slug":"one","name":"One"} x"#, 400, "bad_request", vec![]),
        (r#"{"slug":"one"}"#, 422, "validation_failed", vec!["/name"]),
        (r#"{"slug":"one","name":"One","colour":1}"#, 422, "validation_failed", vec!["/colour"]),
        (
            r#"{"slug":"one","name":"One","origins":["https://a.example",7]}"#,
            422,
            "validation_failed",
            vec!["/origins/1"],
        ),
        (r#"{"slug":"admin","name":"One"}"#, 422, "validation_failed", vec!["/slug"]),
        (r#"{"slug":"one","slug":"two","name":"One"}"#, 422, "validation_failed", vec!["/slug"]),
        // What only the whole configuration shows: the compiler's places, in the same form.
        (
            r#"{"slug":"one","name":"One","origins":["https://a.example","*"]}"#,
            422,
            "config_rejected",
            vec!["/origins/1"],
        ),
        (
            r#"{"slug":"one","name":"One","closed_methods":["tools/call"]}"#,
            422,
            "config_rejected",
            vec!["/closed_methods/0"],
        ),
    ] {
        let answer = send(&gateway, Some(&tenant.admin_token), Method::POST, &path, &[JSON], body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code(), answer.places()),
            (status, code, places),
            "{body}"
        );
    }
    assert_eq!(
        get(&gateway, &tenant, "/endpoints").await.body["items"],
        json!([]),
        "nothing of it was stored"
    );
}

#[tokio::test]
async fn bodies_are_bounded_and_typed() {
    let (gateway, tenant) = api().await;
    let (path, token) = (format!("{}/clients", tenant.base), Some(&tenant.admin_token));
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(1024 * 1024));
    let answer = send(&gateway, token, Method::POST, &path, &[JSON], large).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::PAYLOAD_TOO_LARGE, "request_too_large"));
    // An order to stop something is held before anybody is asked whose it is; so strangers hold little.
    let order = |bytes: usize| format!("{{\"level\":\"fleet\",\"reason\":\"{}\"}}", "x".repeat(bytes));
    let answer = send(&gateway, None, Method::POST, "/v1/kills", &[JSON], order(17 * 1024)).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::PAYLOAD_TOO_LARGE, "request_too_large"));
    let answer = send(&gateway, None, Method::POST, "/v1/kills", &[JSON], order(400)).await;
    assert_eq!(answer.code(), "unauthenticated");
    for headers in [&[][..], &[("content-type", "text/plain")], &[MERGE]] {
        let answer = send(&gateway, token, Method::POST, &path, headers, "{}").await;
        assert_eq!(
            (answer.status, answer.code()),
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type_refused")
        );
    }
}

#[tokio::test]
async fn a_tenants_own_token_changes_how_old_its_configuration_may_be_and_nothing_else() {
    let (gateway, tenant) = api().await;
    let patch = async |body: Value| {
        let token = Some(&tenant.admin_token);
        let headers = [MERGE, ("if-match", "*")];
        send(&gateway, token, Method::PATCH, &tenant.base, &headers, body.to_string()).await
    };
    let changed = patch(json!({"max_stale_seconds": 3600})).await;
    assert_eq!((changed.status, &changed.body["max_stale_seconds"]), (StatusCode::OK, &json!(3600)));
    for seconds in [json!(60), json!(604_800), Value::Null] {
        let changed = patch(json!({"max_stale_seconds": seconds})).await;
        assert_eq!((changed.status, &changed.body["max_stale_seconds"]), (StatusCode::OK, &seconds));
    }
    for seconds in [json!(0), json!(59), json!(604_801), json!(-1), json!("1h")] {
        let refused = patch(json!({"max_stale_seconds": seconds})).await;
        let seen = (refused.status.as_u16(), refused.code(), refused.places());
        assert_eq!(seen, (422, "validation_failed", vec!["/max_stale_seconds"]), "{seconds}");
    }
    for body in [
        json!({"name": "other"}),
        json!({"pool": "other"}),
        json!({"suspended": true}),
        json!({"egress": [{"network": "10.0.0.1/32", "port": 80}]}),
        json!({"name": "other", "max_stale_seconds": 60}),
    ] {
        assert_eq!(patch(body.clone()).await.status, StatusCode::FORBIDDEN, "{body}");
    }
    let tenants = gateway.operator.get(&tenant.base).await.unwrap();
    assert_eq!((&tenants["name"], &tenants["max_stale_seconds"]), (&json!("acme"), &Value::Null));
    let made = json!({"slug": "strict", "name": "strict", "max_stale_seconds": 90});
    assert_eq!(gateway.operator.post("/v1/tenants", made).await.unwrap()["max_stale_seconds"], 90);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    // So short that the test need not wait; nothing of it depends on how fast the rest is.
    let (running, token) = with_limits(|limits| limits.body_time = Duration::from_millis(50)).await;
    let address = running.api_addr.to_string();
    for more in ["", "Idempotency-Key: slow\r\n"] {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        let request = format!(
            "POST /v1/pools HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n{more}\
             Content-Type: application/json\r\nContent-Length: 20\r\nConnection: close\r\n\r\n{{",
            token.expose_secret()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["code"], "request_timeout");
    }
    running.shutdown().await;
}

/// A control plane with limits of its own, and its operator token.
async fn with_limits(adjust: impl FnOnce(&mut ApiLimits)) -> (Running, SecretString) {
    let token = key::mint(key::KeyKind::OperatorToken, &SystemEntropy).text;
    let mut limits = ApiLimits::default();
    adjust(&mut limits);
    let running = listeners::start(|config| {
        config.operator_token = Some(token.clone());
        config.api_limits = limits;
    })
    .await
    .unwrap();
    (running, token)
}

#[tokio::test]
async fn every_refusal_is_a_problem_document_with_a_page() {
    let (gateway, tenant) = api().await;
    let clients = format!("{}/clients", tenant.base);
    let refusals = [
        (None, Method::GET, clients.as_str(), "unauthenticated"),
        (Some(&tenant.admin_token), Method::GET, "/v1/tenants", "forbidden"),
        (Some(&tenant.admin_token), Method::GET, "/v1/nothing", "not_found"),
        (Some(&tenant.admin_token), Method::GET, "/livez", "not_found"),
        (Some(&tenant.admin_token), Method::GET, "/metrics", "not_found"),
        (Some(&tenant.admin_token), Method::PUT, clients.as_str(), "method_not_allowed"),
    ];
    for (token, method, path, code) in refusals {
        let answer = send(&gateway, token, method, path, &[], "").await;
        assert_eq!(
            (answer.code(), answer.header("content-type")),
            (code, Some("application/problem+json")),
            "{path}"
        );
        assert_eq!(answer.body["status"], answer.status.as_u16());
        assert_eq!(answer.header("x-request-id"), answer.body["request_id"].as_str());
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        match code {
            "unauthenticated" => assert_eq!(answer.header("www-authenticate"), Some("Bearer")),
            "method_not_allowed" => assert!(answer.header("allow").unwrap().contains("POST")),
            _ => {}
        }
        let page = send(&gateway, None, Method::GET, answer.body["type"].as_str().unwrap(), &[], "").await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(String::from_utf8(page.bytes).unwrap().contains(code), "the page names its code");
    }
}

#[tokio::test]
async fn a_harmless_request_id_is_echoed_and_any_other_replaced() {
    let (gateway, tenant) = api().await;
    for (given, echoed) in
        [("trace-1.a_B", true), ("a b", false), ("<script>", false), (&"x".repeat(65)[..], false)]
    {
        let headers = [("x-request-id", given)];
        let answer = send(&gateway, Some(&tenant.admin_token), Method::GET, &tenant.base, &headers, "").await;
        assert_eq!(answer.header("x-request-id") == Some(given), echoed, "{given}");
        assert!(echoed || answer.header("x-request-id").unwrap().starts_with("req_"));
    }
}

#[tokio::test]
async fn another_tenant_is_answered_like_none() {
    let (gateway, ours) = api().await;
    let theirs = gateway.tenant("other").await;
    let client = text(&post(&gateway, &theirs, "/clients", json!({"name": "theirs"})).await.body, "id");
    let bare = |answer: &crate::Answer| {
        let mut body = answer.body.clone();
        body.as_object_mut().unwrap().remove("request_id");
        (answer.status, body)
    };
    let nobody = "tnt_01hzy3v5d1f4m8q2w6x9c0b7ka";
    let random =
        send(&gateway, Some(&ours.admin_token), Method::GET, &format!("/v1/tenants/{nobody}"), &[], "").await;
    assert_eq!(random.status, StatusCode::NOT_FOUND);
    for path in [
        theirs.base.clone(),
        "/v1/tenants/other".to_owned(),
        "/v1/tenants/no-such-tenant".to_owned(),
        "/v1/tenants/%00".to_owned(),
        format!("{}/clients", theirs.base),
        format!("{}/clients/{client}", theirs.base),
        format!("{}/clients/{client}", ours.base),
        format!("{}/clients/cl_01hzy3v5d1f4m8q2w6x9c0b7ka", ours.base),
        format!("{}/clients/nonsense", ours.base),
    ] {
        let answer = send(&gateway, Some(&ours.admin_token), Method::GET, &path, &[], "").await;
        assert_eq!(bare(&answer), bare(&random), "{path}");
    }
    // By id and by slug it is the same tenant.
    let by_slug = send(&gateway, Some(&ours.admin_token), Method::GET, "/v1/tenants/acme", &[], "").await;
    assert_eq!(by_slug.body["id"], Value::from(ours.id.clone()));
}

#[tokio::test]
async fn a_token_does_what_its_scopes_say_and_gives_no_more() {
    let (gateway, tenant) = api().await;
    let scopes = json!(["*:read", "admin_tokens:write"]);
    let made = post(&gateway, &tenant, "/admin-tokens", json!({"name": "reader", "scopes": scopes})).await;
    let reader = SecretString::from(text(&made.body, "token"));
    let as_reader = async |method: Method, path: &str, body: Value| {
        send(&gateway, Some(&reader), method, &format!("{}{path}", tenant.base), &[JSON], body.to_string())
            .await
    };
    assert_eq!(as_reader(Method::GET, "/clients", Value::Null).await.status, StatusCode::OK);
    let refused = as_reader(Method::POST, "/clients", json!({"name": "x"})).await;
    assert_eq!(
        (refused.code(), refused.body["detail"].as_str()),
        ("forbidden", Some("needs scope `clients:write`"))
    );
    for (scopes, place) in [
        (json!(["*"]), "/scopes/0"),
        (json!(["clients:read", "clients:write"]), "/scopes/1"),
        (json!([]), "/scopes"),
        (json!(["clients:delete"]), "/scopes/0"),
    ] {
        let refused =
            as_reader(Method::POST, "/admin-tokens", json!({"name": "more", "scopes": scopes})).await;
        assert_eq!((refused.code(), refused.places()), ("validation_failed", vec![place]));
    }
    let less =
        as_reader(Method::POST, "/admin-tokens", json!({"name": "less", "scopes": ["clients:read"]})).await;
    assert_eq!(less.status, StatusCode::CREATED);

    let path = format!("/admin-tokens/{}", text(&made.body, "id"));
    assert_eq!(as_reader(Method::DELETE, &path, Value::Null).await.status, StatusCode::NO_CONTENT);
    let after = as_reader(Method::GET, "/clients", Value::Null).await;
    assert_eq!(after.code(), "unauthenticated", "a revoked token ends at once");
    assert!(get(&gateway, &tenant, &path).await.body["revoked_at"].is_string());
}

/// Each address has five attempts, and no more while the test runs.
#[tokio::test]
async fn guessing_is_slowed_down_and_locks_out_nobody() {
    let (running, operator) = with_limits(|limits| limits.failures = Rate { per_minute: 1, burst: 5 }).await;
    let origin = format!("http://{}", running.api_addr);
    let ask = async |method: Method, path: &str, token: &str, body: Value| {
        let request = reqwest::Client::new().request(method, format!("{origin}{path}")).bearer_auth(token);
        let response = request.json(&body).send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        (status, headers, response.json::<Value>().await.unwrap_or_default())
    };
    let operator = operator.expose_secret();
    let acme = json!({"slug": "acme", "name": "acme"});
    assert_eq!(ask(Method::POST, "/v1/tenants", operator, acme).await.0, StatusCode::CREATED);
    let admin_token = async || {
        let new = json!({"name": "one", "scopes": ["*"]});
        let made = ask(Method::POST, "/v1/tenants/acme/admin-tokens", operator, new).await;
        text(&made.2, "token")
    };
    let before = admin_token().await;
    // As well formed as any.
    let guess = || key::mint(key::KeyKind::AdminToken, &SystemEntropy).text;
    let guessed = async |token: &str| ask(Method::GET, "/v1/tenants/acme", token, Value::Null).await;
    for _ in 0..5 {
        assert_eq!(guessed(guess().expose_secret()).await.2["code"], "unauthenticated");
    }
    for wrong in [guess().expose_secret(), "pat_000000000000_00000000000000000000000000000000000000", "x"] {
        let (status, headers, body) = guessed(wrong).await;
        assert_eq!((status, &body["code"]), (StatusCode::TOO_MANY_REQUESTS, &json!("address_limited")));
        assert!(headers.contains_key("retry-after"));
    }
    // The right id and a wrong secret is a guess too.
    let other = guess();
    let (id, secret) = (before.split('_').nth(1).unwrap(), other.expose_secret().split('_').nth(2).unwrap());
    assert_eq!(guessed(&format!("pat_{id}_{secret}")).await.2["code"], "address_limited");

    // Tokens that there are go on, from the same address, also one that was never seen here.
    assert_eq!(guessed(&before).await.0, StatusCode::OK);
    assert_eq!(guessed(operator).await.0, StatusCode::OK);
    let after = admin_token().await;
    let kill = json!({"level": "tenant", "reason": "exercise", "drill": true});
    eventually("a new token is known", async || guessed(&after).await.0 == StatusCode::OK).await;
    assert_eq!(ask(Method::POST, "/v1/tenants/acme/kills", &after, kill).await.0, StatusCode::CREATED);
    assert_eq!(guessed(guess().expose_secret()).await.2["code"], "address_limited", "and guesses do not");
    // Nor do those that have ended, once that is known: each would cost the database as much as a good one.
    let path = "/v1/tenants/acme/admin-tokens";
    let made = ask(Method::POST, path, operator, json!({"name": "two", "scopes": ["*"]})).await.2;
    let ended = text(&made, "token");
    eventually("a new token is known", async || guessed(&ended).await.0 == StatusCode::OK).await;
    let revoked = ask(Method::DELETE, &format!("{path}/{}", text(&made, "id")), operator, Value::Null).await;
    assert!(revoked.0.is_success(), "{revoked:?}");
    assert_eq!(guessed(&ended).await.2["code"], "unauthenticated");
    assert_eq!(guessed(&ended).await.2["code"], "address_limited");
    running.shutdown().await;
}
