//! R10, R33, M11: a server can tell that a request came through the gateway, for whom, and that it is meant for this server, from a
//! statement that is signed anew each time and is good for nothing else.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use crypto::jwt::{Algorithm, PublicKey, Token};
use harness::{
    Endpoint, Gateway, Machine, Person, Tenant, Upstream, eventually, forge, text, tool, upstream::Received,
};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

const ISSUER: &str = "http://127.0.0.1:2/t/acme/assertions";

async fn served(gateway: &Gateway, slug: &str, upstream: &Upstream) -> (Tenant, Endpoint) {
    let tenant = gateway.tenant(slug).await;
    let endpoint = tenant.endpoint("tools", upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    (tenant, endpoint)
}

async fn assert_to(tenant: &Tenant, upstream: &str, settings: Value) -> Value {
    let path = format!("{}/upstreams/{upstream}/assertion?wait=applied", tenant.base);
    tenant.admin.put(&path, settings).await.unwrap()
}

async fn key_set(gateway: &Gateway, slug: &str) -> Vec<Value> {
    let url = format!("{}/t/{slug}/assertions/jwks.json", gateway.auth_url);
    let set: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
    set["keys"].as_array().unwrap().clone()
}

fn names(keys: &[Value]) -> Vec<String> {
    let mut names: Vec<_> = keys.iter().map(|key| text(key, "kid")).collect();
    names.sort();
    names
}

/// What a server does: finds the key, checks the signature, and reads what is claimed.
fn checked(keys: &[Value], assertion: &str) -> Option<Value> {
    let token = Token::parse(assertion).ok()?;
    let key = keys.iter().find(|key| key["kid"] == token.kid().as_str())?;
    let coordinate = |name: &str| BASE64.decode(key[name].as_str().unwrap()).unwrap();
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    let key = PublicKey::new(Algorithm::Es256, &point).unwrap();
    key.signed(&token).then(|| token.claims().unwrap())
}

fn shown(request: &Received) -> String {
    request.headers["portcullis-assertion"].to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_says_who_calls_what_and_is_vouched_for_once() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let (tenant, endpoint) = served(&gateway, "acme", &upstream).await;
    let caller = endpoint.caller().with_header("portcullis-assertion", "forged");
    caller.call("echo").await;
    assert!(upstream.received().iter().all(|seen| !seen.headers.contains_key("portcullis-assertion")));

    let said = assert_to(&tenant, &endpoint.upstream, json!({})).await;
    assert_eq!((said["issuer"].as_str(), said["sent_as"].as_str()), (Some(ISSUER), Some("header")));
    assert_eq!(said["jwks_uri"], format!("{ISSUER}/jwks.json"));
    let before = upstream.received().len();
    for _ in 0..2 {
        let answer = caller.clone().with_header("x-request-id", "req-of-mine").call("echo").await;
        assert_eq!(answer.tool_text(), "ok: echo");
    }
    let keys = key_set(&gateway, "acme").await;
    let seen = upstream.received().split_off(before);
    assert_eq!(seen.len(), 2);
    let claims: Vec<_> = seen.iter().map(|request| checked(&keys, &shown(request)).unwrap()).collect();
    let (one, now) = (&claims[0], std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs());
    for (name, expected) in [
        ("iss", json!(ISSUER)),
        ("aud", json!(upstream.url())),
        ("sub", json!(endpoint.client)),
        ("tenant", json!(tenant.id)),
        ("endpoint", json!(endpoint.id)),
        ("upstream", json!(endpoint.upstream)),
        ("method", json!("tools/call")),
        ("target", json!("echo")),
        ("request_id", json!("req-of-mine")),
        ("body_sha256", json!(BASE64.encode(crypto::digest::sha256(&seen[0].body)))),
    ] {
        assert_eq!(one[name], expected, "{name}");
    }
    let (iat, exp) = (one["iat"].as_u64().unwrap(), one["exp"].as_u64().unwrap());
    assert!(exp - iat == 30 && iat <= now && now - iat < 20, "{one}");
    assert!(one.get("client_id").is_none(), "a client calls for itself");
    assert_ne!(claims[0]["jti"], claims[1]["jti"]);
    // The audit log names the same call.
    eventually("the call is on record", async || {
        let records = tenant.audit("phase=outcome&method=tools/call").await;
        records.iter().any(|record| record["call_id"] == one["call"])
    })
    .await;

    // What discovers tools is vouched for too, and is nobody's call.
    let before = upstream.received().len();
    tenant.post(&format!("/upstreams/{}/discover", endpoint.upstream), json!({})).await;
    eventually("it is discovered", async || upstream.received().len() > before).await;
    let asked = checked(&keys, &shown(&upstream.received()[before])).unwrap();
    assert_eq!((&asked["sub"], asked.get("endpoint")), (&json!(tenant.id), None));

    let path = format!("{}/upstreams/{}/assertion?wait=applied", tenant.base, endpoint.upstream);
    tenant.admin.delete(&path).await.unwrap();
    caller.call("echo").await;
    assert!(!upstream.calls().pop().unwrap().headers.contains_key("portcullis-assertion"));
    assert!(tenant.admin.get(&path).await.unwrap_err().to_string().contains("404"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_assertion_is_for_one_server_of_one_tenant_and_no_access_token() {
    let gateway = Gateway::start().await;
    let (one, other) = (
        Upstream::start(vec![tool("echo", "One")]).await,
        Upstream::start(vec![tool("echo", "Other")]).await,
    );
    let (tenant, endpoint) = served(&gateway, "acme", &one).await;
    let (stranger, theirs) = served(&gateway, "other", &other).await;
    assert_to(&tenant, &endpoint.upstream, json!({"audience": "urn:one", "body_digest": false})).await;
    assert_to(&stranger, &theirs.upstream, json!({})).await;
    endpoint.caller().call("echo").await;
    theirs.caller().call("echo").await;
    let (mine, foreign) = (shown(&one.calls()[0]), shown(&other.calls()[0]));
    let keys = key_set(&gateway, "acme").await;
    let claims = checked(&keys, &mine).unwrap();
    assert_eq!((&claims["aud"], claims.get("body_sha256")), (&json!("urn:one"), None));
    assert!(checked(&keys, &foreign).is_none(), "another tenant's key signed it");
    let theirs_keys = key_set(&gateway, "other").await;
    let theirs_claims = checked(&theirs_keys, &foreign).unwrap();
    assert_eq!(theirs_claims["aud"], json!(other.url()));
    assert_ne!(theirs_claims["iss"], claims["iss"]);

    // The issuer of access tokens does not publish these keys, and the gateway takes no assertion for a token.
    tenant.post("/signing-keys?wait=applied", json!({})).await;
    let url = format!("{}/t/acme/jwks.json", gateway.auth_url);
    let issuers: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
    assert!(checked(issuers["keys"].as_array().unwrap(), &mine).is_none());
    let answer = endpoint.caller().with_header("authorization", &format!("Bearer {mine}")).call("echo").await;
    assert_eq!(answer.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_assertion_stands_in_no_other_credentials_place() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let (tenant, endpoint) = served(&gateway, "acme", &upstream).await;
    let path = format!("{}/upstreams/{}", tenant.base, endpoint.upstream);
    let refused = |error: &dyn std::fmt::Display| assert!(error.to_string().contains("422"), "{error}");
    let credential = json!({"header": "Authorization", "value": "Bearer of-the-tenant"});
    let made =
        tenant.post(&format!("/upstreams/{}/credentials", endpoint.upstream), credential.clone()).await;
    let bearer = json!({"sent_as": "bearer"});
    let error = tenant.admin.put(&format!("{path}/assertion"), bearer.clone()).await.unwrap_err();
    refused(&error);
    assert_to(&tenant, &endpoint.upstream, json!({})).await;
    endpoint.caller().call("echo").await;
    let seen = upstream.calls().pop().unwrap();
    assert_eq!(seen.headers["authorization"], "Bearer of-the-tenant", "both are shown");
    assert!(!shown(&seen).is_empty());

    tenant.admin.delete(&format!("{path}/credentials/{}", text(&made, "id"))).await.unwrap();
    assert_to(&tenant, &endpoint.upstream, bearer).await;
    endpoint.caller().call("echo").await;
    let seen = upstream.calls().pop().unwrap();
    let token = seen.headers["authorization"].to_str().unwrap().strip_prefix("Bearer ").unwrap().to_owned();
    assert!(checked(&key_set(&gateway, "acme").await, &token).is_some());
    assert!(!seen.headers.contains_key("portcullis-assertion"));
    assert!(!format!("{:?}", seen.headers).contains(endpoint.key.expose_secret()));
    let error = tenant.admin.post(&format!("{path}/credentials"), credential).await.unwrap_err();
    refused(&error);
    for audience in ["", "a b", "ä", &"x".repeat(2049)] {
        let put = tenant.admin.put(&format!("{path}/assertion"), json!({"audience": audience})).await;
        assert!(put.unwrap_err().to_string().contains("422"), "{audience}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_follow_each_other_while_servers_accept_both_and_proxies_sign_alone() {
    let mut gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let (tenant, endpoint) = served(&gateway, "acme", &upstream).await;
    assert_to(&tenant, &endpoint.upstream, json!({})).await;
    let states = async || -> Vec<String> {
        let keys = tenant.admin.get(&format!("{}/assertion-keys", tenant.base)).await.unwrap();
        keys["items"].as_array().unwrap().iter().map(|key| text(key, "state")).collect()
    };
    let signs = async || {
        endpoint.caller().call("echo").await;
        Token::parse(&shown(&upstream.calls().pop().unwrap())).unwrap().kid().as_str().to_owned()
    };
    let first = names(&key_set(&gateway, "acme").await).remove(0);
    assert_eq!(signs().await, first);
    let second = text(&tenant.post("/assertion-keys?wait=applied", json!({})).await, "id");
    assert_eq!(states().await, ["active", "upcoming"]);
    assert_eq!(signs().await, first, "the next one is published before it signs");
    let again = tenant.admin.post(&format!("{}/assertion-keys", tenant.base), json!({})).await.unwrap_err();
    assert!(again.to_string().contains("409"), "{again}");
    eventually("servers find both", async || {
        names(&key_set(&gateway, "acme").await) == [first.clone(), second.clone()]
    })
    .await;

    // No control plane: the proxy goes over to the next key by itself.
    gateway.stop_control().await;
    assert_eq!(signs().await, first);
    gateway.clock.ahead(Duration::from_secs(16 * 60));
    assert_eq!(signs().await, second);
    gateway.clock.ahead(Duration::ZERO);
    gateway.start_control().await;
    gateway.control_clock().set_forward(Duration::from_secs(16 * 60));
    assert_eq!(states().await, ["retiring", "active"]);
    let keys = async || names(&key_set(&gateway, "acme").await);
    eventually("what the first one signed is accepted", async || keys().await.len() == 2).await;

    // Somebody has a key: another signs at once, and what was signed with it is published no more.
    let third = text(&tenant.post("/assertion-keys?wait=applied", json!({"at_once": true})).await, "id");
    gateway.clock.ahead(Duration::from_secs(16 * 60));
    // The proxy may still be on its way back to the control plane.
    eventually("it signs at once", async || signs().await == third).await;
    for revoked in [&first, &second] {
        tenant.admin.delete(&format!("{}/assertion-keys/{revoked}", tenant.base)).await.unwrap();
    }
    eventually("it is published alone", async || keys().await == [third.clone()]).await;
    let signing = tenant.admin.delete(&format!("{}/assertion-keys/{third}", tenant.base)).await.unwrap_err();
    assert!(signing.to_string().contains("409"), "the one that signs is not revoked: {signing}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_nobody_rotates_rotate_each_quarter() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let (tenant, endpoint) = served(&gateway, "acme", &upstream).await;
    assert_to(&tenant, &endpoint.upstream, json!({})).await;
    let turn = async || control_plane::assertions::schedule::turn(gateway.core()).await.unwrap();
    gateway.control_clock().set_forward(Duration::from_secs(89 * 24 * 3600));
    assert_eq!(turn().await, 0);
    gateway.control_clock().set_forward(Duration::from_secs(91 * 24 * 3600));
    assert_eq!(turn().await, 1);
    assert_eq!(turn().await, 0, "once");
    let keys = tenant.admin.get(&format!("{}/assertion-keys", tenant.base)).await.unwrap();
    assert_eq!(keys["items"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_who_calls_is_named_with_the_client_that_acts() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let (tenant, endpoint) = served(&gateway, "acme", &upstream).await;
    assert_to(&tenant, &endpoint.upstream, json!({})).await;
    let person = Person::join(&gateway, &tenant, "ann@example.com").await;
    let grant = json!({
        "subject": {"member": person.member},
        "actions": [{"action": "call_tool", "upstream": endpoint.upstream, "tools": {"names": ["echo"]}}]
    });
    tenant.post("/grants?wait=applied", grant).await;
    tenant.post("/signing-keys", json!({})).await;
    let machine = Machine::new(&gateway, &tenant, "app", &[&endpoint.id]).await;
    let own = machine.token().await;
    let token = forge::altered(&gateway, &tenant, &own, json!({"sub": person.member})).await;
    let caller = endpoint.caller().with_header("authorization", &format!("Bearer {token}"));
    assert_eq!(caller.call("echo").await.tool_text(), "ok: echo");
    let claims = checked(&key_set(&gateway, "acme").await, &shown(&upstream.calls()[0])).unwrap();
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!(person.member), &json!(machine.client)));
}
