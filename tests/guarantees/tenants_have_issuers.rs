//! R3, R4, R58: each tenant has an issuer of its own, whose keys are published before they sign and stay published until what
//! they signed has ended.

use std::time::Duration;

use harness::{Gateway, Tenant, eventually, text};
use reqwest::StatusCode;
use serde_json::{Value, json};

const MINUTE: Duration = Duration::from_secs(60);

async fn read(gateway: &Gateway, path: &str) -> (StatusCode, Option<String>, Value) {
    let response = reqwest::get(format!("{}{path}", gateway.auth_url)).await.unwrap();
    let kept = response.headers().get("cache-control").map(|value| value.to_str().unwrap().to_owned());
    (response.status(), kept, response.json().await.unwrap())
}

/// Ids in the published set.
async fn published(gateway: &Gateway, slug: &str) -> Vec<String> {
    let (status, _, set) = read(gateway, &format!("/t/{slug}/jwks.json")).await;
    assert_eq!(status, 200);
    let mut ids: Vec<_> = set["keys"].as_array().unwrap().iter().map(|key| text(key, "kid")).collect();
    ids.sort();
    ids
}

/// Until what replicas keep for a moment has passed.
async fn publishes(gateway: &Gateway, slug: &str, ids: &[&String]) {
    eventually("the key set is current", async || {
        published(gateway, slug).await.iter().eq(ids.iter().copied())
    })
    .await;
}

async fn states(tenant: &Tenant) -> Vec<(String, String)> {
    let keys = tenant.admin.get(&format!("{}/signing-keys", tenant.base)).await.unwrap();
    keys["items"].as_array().unwrap().iter().map(|key| (text(key, "id"), text(key, "state"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_and_keys_are_found_wherever_clients_look() {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    gateway.tenant("other").await;
    assert_eq!(published(&gateway, "acme").await, Vec::<String>::new());
    let key = tenant.post("/signing-keys", json!({})).await;
    assert_eq!((text(&key, "state"), text(&key, "algorithm")), ("active".into(), "ES256".into()));
    publishes(&gateway, "acme", &[&text(&key, "id")]).await;
    assert_eq!(published(&gateway, "other").await, Vec::<String>::new());

    let issuer = "http://127.0.0.1:2/t/acme";
    for path in [
        "/.well-known/oauth-authorization-server/t/acme",
        "/.well-known/openid-configuration/t/acme",
        "/t/acme/.well-known/oauth-authorization-server",
        "/t/acme/.well-known/openid-configuration",
    ] {
        let (status, kept, metadata) = read(&gateway, path).await;
        assert_eq!((status.as_u16(), kept.as_deref()), (200, Some("public, max-age=300")), "{path}");
        assert_eq!(metadata["issuer"], issuer, "{path}");
        assert_eq!(metadata["jwks_uri"], format!("{issuer}/jwks.json"), "{path}");
        let methods = json!(["client_secret_basic", "client_secret_post", "private_key_jwt"]);
        for (endpoint, name) in
            [("token", "token"), ("revocation", "revoke"), ("introspection", "introspect")]
        {
            assert_eq!(metadata[format!("{endpoint}_endpoint")], format!("{issuer}/{name}"), "{path}");
            let own = &metadata[format!("{endpoint}_endpoint_auth_methods_supported")];
            // Whoever has proven nothing is told nothing of tokens.
            let own: Vec<_> = own.as_array().unwrap().iter().filter(|own| **own != "none").collect();
            let public = metadata[format!("{endpoint}_endpoint_auth_methods_supported")].as_array().unwrap();
            assert_eq!(public.contains(&json!("none")), endpoint != "introspection", "{path}: {endpoint}");
            assert_eq!(json!(own), methods, "{path}: {endpoint}");
            let algorithms = &metadata[format!("{endpoint}_endpoint_auth_signing_alg_values_supported")];
            assert_eq!(*algorithms, json!(["RS256", "ES256", "EdDSA"]), "{path}: {endpoint}");
        }
        let grants = json!([
            "client_credentials",
            "authorization_code",
            "refresh_token",
            "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "urn:ietf:params:oauth:grant-type:token-exchange",
            "urn:ietf:params:oauth:grant-type:device_code",
        ]);
        assert_eq!(metadata["grant_types_supported"], grants, "{path}");
        assert_eq!(metadata["response_types_supported"], json!(["code"]), "{path}");
        // What is not so is not said (RFC 8414 section 3.2).
        assert!(metadata.get("scopes_supported").is_none(), "{path}");
    }
    let (_, kept, set) = read(&gateway, "/t/acme/jwks.json").await;
    assert_eq!(kept.as_deref(), Some("public, max-age=300"));
    let mut members: Vec<_> = set["keys"][0].as_object().unwrap().keys().cloned().collect();
    members.sort();
    assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"], "nothing private");
    for path in
        ["/t/nobody/jwks.json", "/t/UPPER/jwks.json", "/.well-known/oauth-authorization-server", "/t/acme"]
    {
        let (status, _, problem) = read(&gateway, path).await;
        assert_eq!((status.as_u16(), &problem["code"]), (404, &json!("not_found")), "{path}");
    }
    // The admin API is not there, nor are issuers at its own origin.
    assert_eq!(read(&gateway, "/v1/tenants").await.0, 404);
    let there = reqwest::get(format!("{}/t/acme/jwks.json", gateway.control_url)).await.unwrap();
    assert_eq!(there.status(), 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_issuers_that_are_none_waits_and_may_log_in() {
    let gateway = Gateway::with_proxies(0).await;
    gateway.tenant("acme").await;
    // A hundred and twenty, and what flows back meanwhile.
    let mut asked = 0;
    while read(&gateway, &format!("/t/nobody-{asked}/jwks.json")).await.0 == 404 {
        asked += 1;
        assert!(asked < 2_000, "nobody was told to wait");
    }
    assert!(asked >= 120, "{asked}");
    let (status, _, problem) = read(&gateway, "/t/acme/jwks.json").await;
    assert_eq!(
        (status.as_u16(), &problem["code"]),
        (429, &json!("address_limited")),
        "one that was not looked up"
    );
    // The admin API counts for itself.
    let wrong = crypto::key::mint(crypto::key::KeyKind::AdminToken, &seams::SystemEntropy).text;
    let asked = reqwest::Client::new().get(format!("{}/v1/tenants", gateway.control_url));
    let asked = asked.bearer_auth(secrecy::ExposeSecret::expose_secret(&wrong)).send().await.unwrap();
    assert_eq!(asked.status(), 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_published_before_it_signs_and_until_what_it_signed_has_ended() {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let first = text(&tenant.post("/signing-keys", json!({"algorithm": "RS256"})).await, "id");
    let second = tenant.post("/signing-keys", json!({"algorithm": "EdDSA"})).await;
    let second_id = text(&second, "id");
    assert_eq!(text(&second, "state"), "upcoming");
    publishes(&gateway, "acme", &[&first, &second_id]).await;
    let refused = tenant.admin.post(&format!("{}/signing-keys", tenant.base), json!({})).await;
    assert!(refused.unwrap_err().to_string().contains("409"), "two upcoming ones");
    let one = format!("{}/signing-keys/{first}", tenant.base);
    assert!(tenant.admin.delete(&one).await.unwrap_err().to_string().contains("409"), "the one that signs");

    gateway.control_clock().set_forward(16 * MINUTE);
    let is = |id: &String, state: &str| (id.clone(), state.to_owned());
    assert_eq!(states(&tenant).await, [is(&first, "retiring"), is(&second_id, "active")]);
    assert_eq!(published(&gateway, "acme").await, [first.clone(), second_id.clone()]);
    gateway.control_clock().set_forward(65 * MINUTE);
    assert_eq!(states(&tenant).await, [is(&first, "retired"), is(&second_id, "active")]);
    publishes(&gateway, "acme", &[&second_id]).await;

    // It has leaked: the next one signs at once, and it is published no more.
    let third = tenant.post("/signing-keys", json!({"at_once": true})).await;
    assert_eq!((text(&third, "state"), text(&third, "algorithm")), ("active".into(), "EdDSA".into()));
    tenant.admin.delete(&format!("{}/signing-keys/{second_id}", tenant.base)).await.unwrap();
    publishes(&gateway, "acme", &[&text(&third, "id")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_one_that_was_to_follow_the_present_key_goes_on() {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let first = text(&tenant.post("/signing-keys", json!({})).await, "id");
    let second = text(&tenant.post("/signing-keys", json!({})).await, "id");
    tenant.admin.delete(&format!("{}/signing-keys/{second}", tenant.base)).await.unwrap();
    gateway.control_clock().set_forward(81 * MINUTE);
    assert_eq!(states(&tenant).await[0], (first.clone(), "active".to_owned()));
    publishes(&gateway, "acme", &[&first]).await;

    // However often one rotates at once, verifiers have few keys to take, and little is kept of those that have ended.
    for _ in 1..8 {
        tenant.post("/signing-keys", json!({"at_once": true})).await;
    }
    let path = format!("{}/signing-keys", tenant.base);
    let refused = tenant.admin.post(&path, json!({"at_once": true})).await.unwrap_err().to_string();
    assert!(refused.contains("409"), "{refused}");
    tenant.admin.delete(&format!("{path}/{first}")).await.unwrap();
    tenant.post("/signing-keys", json!({"at_once": true})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_nobody_rotates_rotate_by_themselves_and_private_halves_are_forgotten() {
    let mut gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    tenant.post("/signing-keys", json!({})).await;
    gateway.control_clock().set_forward(89 * 24 * 60 * MINUTE);
    gateway.stop_control().await;
    gateway.start_control().await;
    assert_eq!(states(&tenant).await.len(), 1, "not due");
    for days in [2, 91, 91] {
        let before = states(&tenant).await.len();
        gateway.control_clock().set_forward(days * 24 * 60 * MINUTE);
        gateway.stop_control().await;
        gateway.start_control().await;
        eventually("a key follows", async || states(&tenant).await.len() == before + 1).await;
    }
    let states: Vec<_> = states(&tenant).await.into_iter().map(|(_, state)| state).collect();
    assert_eq!(states, ["retired", "retired", "active", "upcoming"]);
    let database = sqlx::PgPool::connect(&gateway.database_url).await.unwrap();
    let kept: Vec<bool> = sqlx::query_scalar("SELECT sealed IS NOT NULL FROM signing_keys ORDER BY id")
        .fetch_all(&database)
        .await
        .unwrap();
    assert_eq!(kept, [false, false, true, true]);
    let records = tenant.audit("method=rotate_signing_keys").await;
    assert!(records.iter().filter(|record| record["actor"] == "system").count() == 3, "{records:?}");
}
