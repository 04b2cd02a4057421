//! R4, R9, R66: what a platform that the tenant trusts has signed for a workload makes it a client (RFC 7523 section 2.1, SEP-1933), and
//! nothing else that looks like it does (RFC 8725).

use std::{net::IpAddr, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use crypto::{
    digest::hmac_sha256,
    jwt::{Algorithm, Jwk, PrivateKey, PublicKey, generate},
};
use harness::{Answered, Gateway, Machine, Page, Tenant, Web, text};
use seams::{Clock as _, SystemEntropy};
use serde_json::{Value, json};

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const CI: &str = "https://ci.example";
const MINUTE: Duration = Duration::from_secs(60);

struct World {
    gateway: Gateway,
    tenant: Tenant,
    machine: Machine,
    web: Web,
    key: PrivateKey,
    public: PublicKey,
    trusted: String,
}

impl World {
    /// A tenant that trusts `CI`, whose keys are at a server of its own.
    async fn new() -> Self {
        let gateway = Gateway::with_proxies(0).await;
        let web = Web::start(&["keys.example"]).await;
        gateway.dns.set_addresses("keys.example", &[&[IpAddr::from([127, 0, 0, 1])]]);
        let tenant = gateway.tenant("acme").await;
        tenant.allow_egress(web.address.port()).await;
        let tools = text(&tenant.post("/endpoints", json!({"slug": "tools", "name": "tools"})).await, "id");
        let machine = Machine::new(&gateway, &tenant, "deployer", &[&tools]).await;
        let (key, public) = generate(Algorithm::Rs256, &SystemEntropy).unwrap();
        let trusted = json!({
            "name": "CI", "issuer": CI, "purpose": "workload", "jwks_uri": web.url("keys.example", "/jwks"),
            "algorithms": ["RS256"], "rules": [
                {"subject": "repo:acme/deploy:*", "claims": {"ref": "main"}, "client_id": machine.client},
            ],
        });
        let trusted = text(&tenant.post("/trusted-issuers", trusted).await, "id");
        let world = Self { gateway, tenant, machine, web, key, public, trusted };
        world.publish(&[("one", &world.public)]);
        world
    }

    fn publish(&self, keys: &[(&str, &PublicKey)]) {
        let mut set: Vec<_> = keys.iter().map(|(kid, key)| json!(Jwk::new(kid, key))).collect();
        // What is for others is left alone.
        set.push(json!({"kty": "EC", "crv": "P-384", "kid": "other", "x": "AA", "y": "AA"}));
        set.push(json!({"kty": "RSA", "use": "enc", "kid": "enc", "n": "AA", "e": "AQAB"}));
        self.web.set("/jwks", Page::json(json!({"keys": set}).to_string()));
    }

    fn now(&self) -> u64 {
        self.gateway.control_clock().now().secs()
    }

    fn claims(&self, jti: &str) -> Value {
        json!({
            "iss": CI, "sub": "repo:acme/deploy:env:prod", "ref": "main", "aud": self.machine.issuer,
            "iat": self.now(), "exp": self.now() + 300, "jti": jti,
        })
    }

    async fn present(&self, assertion: &str) -> Answered {
        self.machine.bare("token", &[("grant_type", JWT_BEARER), ("assertion", assertion)]).await
    }

    async fn with(&self, jti: &str, change: Value) -> Answered {
        let mut claims = self.claims(jti);
        for (name, value) in change.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        self.present(&self.key.sign("one", "JWT", &claims).unwrap()).await
    }
}

fn refused(answered: &Answered, why: &str) {
    let seen = (answered.status, answered.error(), answered.code());
    assert_eq!(seen, (400, "invalid_grant".into(), "oauth_assertion_invalid".into()), "{why}: {answered:?}");
}

/// A token with any header and signature.
fn forged(header: Value, claims: &Value, sign: impl FnOnce(&str) -> Vec<u8>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(&header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(&message));
    format!("{message}.{signature}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_gets_its_clients_token_without_a_secret_and_each_assertion_is_good_once() {
    let world = World::new().await;
    let assertion = world.key.sign("one", "JWT", &world.claims("a")).unwrap();
    let answered = world.present(&assertion).await;
    assert_eq!(answered.status, 200, "{answered:?}");
    let token = text(&answered.body, "access_token");
    let claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap();
    assert_eq!(
        (&claims["sub"], &claims["client_id"]),
        (&json!(world.machine.client), &json!(world.machine.client))
    );
    let issued = world.tenant.audit("method=issue_token").await;
    assert!(text(&issued[0], "target").ends_with(&format!("by {}", world.trusted)), "{issued:?}");
    refused(&world.present(&assertion).await, "twice");
    // At the token endpoint too, and where several are to be told apart, one audience alone.
    assert_eq!(world.with("b", json!({"aud": format!("{}/token", world.machine.issuer)})).await.status, 200);
    assert_eq!(world.with("c", json!({"aud": [world.machine.issuer]})).await.status, 200);
    refused(
        &world.with("d", json!({"aud": [world.machine.issuer, "https://x.example"]})).await,
        "two audiences",
    );

    // A platform whose assertions are presented again and again.
    let path = format!("{}/trusted-issuers/{}", world.tenant.base, world.trusted);
    world.tenant.admin.patch(&path, json!({"single_use": false, "audience": "portcullis"})).await.unwrap();
    for _ in 0..2 {
        assert_eq!(world.with("e", json!({"aud": "portcullis", "jti": null})).await.status, 200);
    }
    refused(&world.with("f", json!({})).await, "the audience is the chosen one");
    // Who is switched off is off, on either side.
    world.tenant.admin.patch(&path, json!({"enabled": false})).await.unwrap();
    refused(&world.with("g", json!({"aud": "portcullis"})).await, "an issuer that is switched off");
    world.tenant.admin.patch(&path, json!({"enabled": true})).await.unwrap();
    let client = format!("{}/clients/{}", world.tenant.base, world.machine.client);
    world.tenant.admin.patch(&client, json!({"enabled": false})).await.unwrap();
    refused(&world.with("h", json!({"aud": "portcullis"})).await, "a client that is switched off");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_assertion_claims_is_checked() {
    let world = World::new().await;
    let now = world.now();
    for (why, change) in [
        ("another issuer", json!({"iss": "https://other.example"})),
        ("an issuer spelt otherwise", json!({"iss": "https://ci.example/"})),
        ("no issuer", json!({"iss": null})),
        ("another audience", json!({"aud": "https://ci.example"})),
        ("another tenant's issuer", json!({"aud": world.machine.issuer.replace("acme", "other")})),
        ("no audience", json!({"aud": null})),
        ("ended", json!({"exp": now - 1})),
        ("no end", json!({"exp": null})),
        ("a far end", json!({"exp": now + 3_700})),
        ("an end that is no number", json!({"exp": "9999999999"})),
        ("an end beyond all numbers", json!({"exp": u64::MAX})),
        ("a far beginning", json!({"nbf": now + 60})),
        ("made in the future", json!({"iat": now + 60})),
        ("no subject", json!({"sub": null})),
        ("an empty subject", json!({"sub": ""})),
        ("another subject", json!({"sub": "repo:evil/deploy:env:prod"})),
        ("a subject that begins alike", json!({"sub": "repo:acme/deploy2"})),
        ("another branch", json!({"ref": "feature"})),
        ("no branch", json!({"ref": null})),
        ("a branch that is no text", json!({"ref": ["main"]})),
        ("no id", json!({"jti": null})),
        ("a long id", json!({"jti": "x".repeat(257)})),
    ] {
        refused(&world.with("x", change).await, why);
    }
    assert_eq!(
        world.with("x", json!({})).await.status,
        200,
        "the same id, which nothing refused has used up"
    );
    // It says who asks, and nothing else may.
    let assertion = world.key.sign("one", "JWT", &world.claims("y")).unwrap();
    let form = [("grant_type", JWT_BEARER), ("assertion", &*assertion)];
    let other = world
        .machine
        .bare("token", &[&form[..], &[("client_id", "cl_01hzy3v5d1f4m8q2w6x9c0b7ka")]].concat())
        .await;
    refused(&other, "another client");
    let both = world.machine.basic("token", &form).await;
    assert_eq!((both.status, both.error().as_str()), (400, "invalid_request"));
    assert_eq!(world.present(&assertion).await.status, 200, "neither has used it up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_in_an_assertion_decides_how_it_is_checked() {
    let world = World::new().await;
    let (attacker, attackers) = generate(Algorithm::Rs256, &SystemEntropy).unwrap();
    let (of_other_kind, others) = generate(Algorithm::EdDsa, &SystemEntropy).unwrap();
    world.publish(&[("one", &world.public), ("ed", &others)]);
    let claims = world.claims("x");
    let header = |more: Value| {
        let mut header = json!({"alg": "RS256", "kid": "one", "typ": "JWT"});
        for (name, value) in more.as_object().unwrap() {
            header[name] = value.clone();
        }
        header
    };
    let signed = |header: Value| {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        // The library signs what it writes itself, so the header goes in by hand, under the attacker's own good signature.
        let own = attacker.sign("one", "JWT", &claims).unwrap();
        let signature = own.rsplit('.').next().unwrap().to_owned();
        format!("{}.{}.{signature}", part(&header), part(&claims))
    };
    let none = |alg: &str| forged(header(json!({"alg": alg})), &claims, |_| Vec::new());
    let confused = forged(header(json!({"alg": "HS256"})), &claims, |message| {
        // The public key as if it were a shared secret.
        hmac_sha256(world.public.bytes().try_into().unwrap_or(&[0; 32]), &[message.as_bytes()]).to_vec()
    });
    let url = world.web.url("keys.example", "/evil");
    world.web.set("/evil", Page::json(json!({"keys": [Jwk::new("evil", &attackers)]}).to_string()));
    for (why, assertion) in [
        ("alg none", none("none")),
        ("alg NONE", none("NONE")),
        ("no signature", forged(header(json!({})), &claims, |_| Vec::new())),
        ("HS256 with the public key", confused),
        ("another's signature", attacker.sign("one", "JWT", &claims).unwrap()),
        ("another's signature under another kid", attacker.sign("two", "JWT", &claims).unwrap()),
        ("a kid that leads elsewhere", attacker.sign("../../etc/passwd", "JWT", &claims).unwrap()),
        ("a kid that is SQL", attacker.sign("' OR 1=1 --", "JWT", &claims).unwrap()),
        ("an algorithm that is not allowed", of_other_kind.sign("ed", "JWT", &claims).unwrap()),
        ("jku", signed(header(json!({"jku": url})))),
        ("x5u", signed(header(json!({"x5u": url})))),
        ("jwk", signed(header(json!({"jwk": Jwk::new("one", &attackers)})))),
        ("x5c", signed(header(json!({"x5c": ["AA"]})))),
        ("crit", signed(header(json!({"crit": ["exp"]})))),
        ("b64", signed(header(json!({"b64": false, "crit": ["b64"]})))),
        ("an access token's type", world.key.sign("one", "at+jwt", &claims).unwrap()),
        ("another type", world.key.sign("one", "secevent+jwt", &claims).unwrap()),
        ("encrypted", "a.b.c.d.e".to_owned()),
        ("not a token", "x".to_owned()),
        ("huge", format!("{}x", "x".repeat(8 * 1024))),
    ] {
        refused(&world.present(&assertion).await, why);
    }
    assert_eq!(world.web.asked("/evil"), 0, "nothing is fetched that an assertion names");
    assert_eq!(world.present(&world.key.sign("one", "JWT", &claims).unwrap()).await.status, 200);
    // Refusals of strangers are on record, and none has the assertion in it.
    let records = world.tenant.audit("method=issue_token&decision=refused").await;
    assert!(!records.is_empty() && records.iter().all(|record| text(record, "actor") == "stranger"));
    assert!(!format!("{records:?}").contains("eyJ"), "{records:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_fetched_once_kept_and_looked_for_anew_at_most_once_a_minute() {
    let world = World::new().await;
    let (next, next_public) = generate(Algorithm::Rs256, &SystemEntropy).unwrap();
    for n in 0..5 {
        assert_eq!(world.with(&format!("a{n}"), json!({})).await.status, 200);
    }
    assert_eq!(world.web.asked("/jwks"), 1);
    // An unknown key is looked for, not again and again: whoever makes up names does not make us fetch.
    world.gateway.control_clock().pass(MINUTE + Duration::from_secs(1));
    for n in 0..20 {
        let unknown = next.sign(&format!("unknown-{n}"), "JWT", &world.claims("u")).unwrap();
        let answered = world.present(&unknown).await;
        assert!([400, 429].contains(&answered.status), "{answered:?}");
    }
    assert_eq!(world.web.asked("/jwks"), 2);
    // A new one is taken when it is met, and the one that is gone is not.
    world.publish(&[("two", &next_public)]);
    world.gateway.control_clock().pass(2 * MINUTE);
    let new = next.sign("two", "JWT", &world.claims("n")).unwrap();
    assert_eq!(world.present(&new).await.status, 200);
    assert_eq!(world.web.asked("/jwks"), 3);
    refused(&world.with("old", json!({})).await, "a key that was withdrawn");
    // Where they cannot be had nothing is taken unchecked.
    world.web.set("/jwks", Page { status: 500, ..Page::json("") });
    world.gateway.control_clock().pass(61 * MINUTE);
    let new = next.sign("two", "JWT", &world.claims("m")).unwrap();
    let answered = world.present(&new).await;
    let seen = (answered.status, answered.error(), answered.code());
    assert_eq!(
        seen,
        (503, "temporarily_unavailable".into(), "oauth_keys_unavailable".into()),
        "{answered:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_is_trusted_only_as_it_can_be() {
    let world = World::new().await;
    let good = json!({
        "name": "n", "issuer": "https://new.example", "purpose": "workload",
        "jwks": {"keys": [Jwk::new("one", &world.public)]},
    });
    let path = format!("{}/trusted-issuers", world.tenant.base);
    for (field, value) in [
        ("issuer", json!("http://new.example")),
        ("issuer", json!("new")),
        ("issuer", json!("https://u@new.example")),
        ("jwks", json!({"keys": []})),
        ("jwks", Value::Null),
        ("jwks_uri", json!("https://new.example/keys")),
        ("algorithms", json!([])),
        ("algorithms", json!(["HS256"])),
        ("algorithms", json!(["RS256", "RS256"])),
        ("audience", json!("")),
        ("max_lifetime_seconds", json!(86_401)),
        ("rules", json!([{"subject": "*", "client_id": world.machine.client}])),
        ("rules", json!([{"subject": "a*b", "client_id": world.machine.client}])),
        ("rules", json!([{"subject": "a", "client_id": "cl_01hzy3v5d1f4m8q2w6x9c0b7ka"}])),
        ("email_domains", json!(["example.com"])),
        ("purpose", json!("anything")),
    ] {
        let mut wrong = good.clone();
        wrong[field] = value;
        let refused = world.tenant.admin.post(&path, wrong.clone()).await.unwrap_err();
        assert!(refused.to_string().contains("422"), "{wrong}: {refused}");
    }
    let inside = json!({"name": "n", "issuer": "https://new.example", "purpose": "workload", "jwks_uri": "https://10.0.0.1/keys"});
    assert!(world.tenant.admin.post(&path, inside).await.unwrap_err().to_string().contains("422"));
    world.tenant.post("/trusted-issuers", good.clone()).await;
    assert!(world.tenant.admin.post(&path, good).await.unwrap_err().to_string().contains("409"), "twice");
}
