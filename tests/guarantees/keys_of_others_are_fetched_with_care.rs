//! R8, R31, R46: proxies fetch the keys of issuers of others from where they may, seldom, and not at a caller's will.

use std::time::{Duration, Instant};

use crypto::jwt::{Algorithm, Jwk, generate};
use harness::{Caller, Page, Web, eventually, text};
use seams::SystemEntropy;
use serde_json::json;

use crate::tokens_of_others_speak_for_clients::{World, publish, refused, settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_others_are_fetched_once_and_looked_for_anew_with_care() {
    let mut world = World::new().await;
    for _ in 0..5 {
        assert_eq!(world.with(json!({})).await.status, 200);
    }
    assert_eq!(world.web.asked("/jwks"), 1);
    // R46: whoever makes up names of keys does not make us fetch.
    let (next, next_public) = generate(Algorithm::Es256, &SystemEntropy).unwrap();
    let began = Instant::now();
    for n in 0..60 {
        let unknown = next.sign(&format!("unknown-{n}"), "at+jwt", &world.claims(json!({}))).unwrap();
        let answer = world.show(&unknown).await;
        assert!([401, 429].contains(&answer.status), "{answer:?}");
    }
    let most = 2 + began.elapsed().as_secs() / 10;
    let asked = world.web.asked("/jwks") as u64;
    assert!(asked <= most, "{asked} fetches");
    // A new key is taken when it is met, and the one that is gone is not.
    let old = world.token(json!({}));
    publish(&world.web, "/jwks", &[("two", &next_public)]);
    let new = next.sign("two", "at+jwt", &world.claims(json!({}))).unwrap();
    let mut status = 0;
    for _ in 0..60 {
        status = world.show(&new).await.status;
        if status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(status, 200, "the new key is not taken");
    refused(&world.show(&old).await, "a key that was withdrawn");
    // While the issuer is away its keys are good, and after a restart nobody knows them.
    world.web.set("/jwks", Page { status: 500, ..Page::json("") });
    assert_eq!(world.show(&new).await.status, 200);
    world.gateway.restart_proxy(0).await;
    let url = format!("{}{}", world.gateway.url(0), world.endpoint.path);
    let answer = Caller::new(&url, &new).call("echo").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "issuer_keys_unavailable"), "{answer:?}");
    publish(&world.web, "/jwks", &[("two", &next_public)]);
    let mut status = 0;
    for _ in 0..120 {
        status = Caller::new(&url, &new).call("echo").await.status;
        if status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(status, 200, "fetched anew");
}

/// R31: keys come from where the tenant's egress rules let them, over verified TLS, without redirects, and not without end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_others_come_from_where_they_may() {
    let world = World::new().await;
    let good = json!({"keys": [Jwk::new("one", &world.public)]}).to_string();
    let callers = json!([{"claims": {"azp": "agent"}, "client_id": world.endpoint.client}]);
    let barred = Web::start(&["localhost"]).await;
    barred.set("/jwks", Page::json(good.clone()));
    let untrusted = Web::untrusted("localhost").await;
    untrusted.set("/jwks", Page::json(good.clone()));
    world.tenant.allow_egress(untrusted.address.port()).await;
    let redirect =
        Page { status: 302, ..Page::json("") }.with("location", &world.web.url("localhost", "/jwks"));
    world.web.set("/redirects", redirect);
    world.web.set("/huge", Page::json(format!("{good}{}", " ".repeat(200_000))));
    world.web.set("/html", Page::json(good.clone()).with("content-type", "text/html"));
    world.web.set("/none", Page::json(json!({"keys": []}).to_string()));
    let mut tokens = Vec::new();
    let mut ids = Vec::new();
    for (name, web, path) in [
        ("barred", &barred, "/jwks"),
        ("untrusted", &untrusted, "/jwks"),
        ("redirects", &world.web, "/redirects"),
        ("huge", &world.web, "/huge"),
        ("html", &world.web, "/html"),
        ("none", &world.web, "/none"),
    ] {
        let issuer = format!("https://{name}.example");
        let made =
            world.tenant.post("/external-issuers", settings(&issuer, web, path, callers.clone())).await;
        ids.push(text(&made, "id"));
        tokens.push((name, world.token(json!({"iss": issuer}))));
    }
    world.accept(json!({"external_issuers": ids})).await;
    eventually("all were tried", async || {
        ["/redirects", "/huge", "/html", "/none"].iter().all(|path| world.web.asked(path) > 0)
    })
    .await;
    for (name, token) in tokens {
        let answer = world.show(&token).await;
        let expected =
            if name == "none" { (401, "credential_invalid") } else { (503, "issuer_keys_unavailable") };
        assert_eq!((answer.status, answer.code().as_str()), expected, "{name}: {answer:?}");
    }
    assert_eq!((barred.asked("/jwks"), untrusted.asked("/jwks")), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_of_others_is_known_only_as_it_can_be() {
    let world = World::new().await;
    let client = world.endpoint.client.clone();
    let callers = json!([{"claims": {"azp": "agent"}, "client_id": client}]);
    let good = settings("https://new.example", &world.web, "/jwks", callers);
    let path = format!("{}/external-issuers", world.tenant.base);
    for (field, value) in [
        ("issuer", json!("http://new.example")),
        ("issuer", json!("https://u@new.example")),
        ("jwks_uri", json!("http://new.example/keys")),
        ("jwks_uri", json!("https://10.0.0.1/keys")),
        ("jwks_uri", json!("https://169.254.169.254/keys")),
        ("ca_pem", json!("none")),
        ("algorithms", json!([])),
        ("algorithms", json!(["HS256"])),
        ("algorithms", json!(["none"])),
        ("algorithms", json!(["ES256", "ES256"])),
        ("token_types", json!([])),
        ("token_types", json!(["secevent+jwt"])),
        ("audiences", json!([""])),
        ("leeway_seconds", json!(301)),
        ("max_lifetime_seconds", json!(86_401)),
        ("required_claims", json!([{"claim": "", "value": "x"}])),
        ("callers", json!([{"claims": {}, "client_id": client}])),
        ("callers", json!([{"claims": {"a": "b"}, "client_id": "cl_01hzy3v5d1f4m8q2w6x9c0b7ka"}])),
        ("entitlements", json!([{"claim": "a", "value": "b"}])),
        ("entitlements", json!([{"claim": "a", "value": "b", "roles": ["rol_01hzy3v5d1f4m8q2w6x9c0b7ka"]}])),
        ("entitlements", json!([{"claim": "a", "value": "b", "scopes": ["unknown"]}])),
        ("anything", json!(true)),
    ] {
        let mut wrong = good.clone();
        wrong[field] = value;
        let refused = world.tenant.admin.post(&path, wrong.clone()).await.unwrap_err().to_string();
        assert!(refused.contains("422") || refused.contains("400"), "{field}: {refused}");
    }
    world.tenant.post("/external-issuers", good.clone()).await;
    assert!(world.tenant.admin.post(&path, good).await.unwrap_err().to_string().contains("409"), "twice");
    let endpoint = format!("{}/endpoints/{}", world.tenant.base, world.endpoint.id);
    for wrong in [
        json!({"external_issuers": []}),
        json!({"external_issuers": ["exi_01hzy3v5d1f4m8q2w6x9c0b7ka"]}),
        json!({"external_issuers": [world.issuer, world.issuer]}),
    ] {
        assert!(world.tenant.admin.patch(&endpoint, wrong).await.unwrap_err().to_string().contains("422"));
    }
}
