//! R5, R9, R57: a company's identity provider says for which member a client acts (draft-ietf-oauth-identity-assertion-authz-grant, MCP
//! `enterprise-managed-authorization`), once, at one endpoint, and for nobody else.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use crypto::jwt::{Algorithm, Jwk, PrivateKey, generate};
use harness::{Answered, Gateway, Machine, Person, Tenant, eventually, text};
use seams::{Clock as _, SystemClock, SystemEntropy};
use serde_json::{Value, json};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const IDP: &str = "https://idp.example";
const TOOLS: &str = "http://127.0.0.1:3/acme/tools/mcp";
const TYPE: &str = "oauth-id-jag+jwt";

struct World {
    gateway: Gateway,
    tenant: Tenant,
    client: Machine,
    ann: Person,
    key: PrivateKey,
    trusted: String,
}

impl World {
    async fn new() -> Self {
        let gateway = Gateway::with_proxies(0).await;
        let tenant = gateway.tenant("acme").await;
        let mut ids = Vec::new();
        for slug in ["tools", "other"] {
            ids.push(text(&tenant.post("/endpoints", json!({"slug": slug, "name": slug})).await, "id"));
        }
        let client = Machine::new(&gateway, &tenant, "agent", &[&ids[0]]).await;
        let ann = Person::join(&gateway, &tenant, "ann@acme.example").await;
        Person::join(&gateway, &tenant, "bob@elsewhere.example").await;
        let (key, public) = generate(Algorithm::Es256, &SystemEntropy).unwrap();
        let trusted = json!({
            "name": "Company", "issuer": IDP, "purpose": "id_jag", "jwks": {"keys": [Jwk::new("one", &public)]},
            "email_domains": ["acme.example"],
        });
        let trusted = text(&tenant.post("/trusted-issuers", trusted).await, "id");
        for scope in ["read", "write", "admin"] {
            tenant.post("/scopes", json!({"name": scope, "description": scope})).await;
        }
        Self { gateway, tenant, client, ann, key, trusted }
    }

    fn claims(&self, jti: &str) -> Value {
        let now = SystemClock.now().secs();
        json!({
            "iss": IDP, "sub": "u1", "email": "Ann@acme.example", "email_verified": true, "aud": self.client.issuer,
            "client_id": self.client.client, "resource": TOOLS, "scope": "read write", "iat": now, "exp": now + 300, "jti": jti,
        })
    }

    fn form<'a>(assertion: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        [&[("grant_type", GRANT), ("assertion", assertion)][..], more].concat()
    }

    async fn present(&self, assertion: &str, more: &[(&str, &str)]) -> Answered {
        self.client.basic("token", &Self::form(assertion, more)).await
    }

    async fn with(&self, jti: &str, change: Value) -> Answered {
        let mut claims = self.claims(jti);
        for (name, value) in change.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        self.present(&self.key.sign("one", TYPE, &claims).unwrap(), &[]).await
    }
}

fn refused(answered: &Answered, why: &str) {
    let seen = (answered.status, answered.error(), answered.code());
    assert_eq!(seen, (400, "invalid_grant".into(), "oauth_assertion_invalid".into()), "{why}: {answered:?}");
}

fn claims(answered: &Answered) -> Value {
    assert_eq!(answered.status, 200, "{answered:?}");
    let token = text(&answered.body, "access_token");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_acts_for_the_member_that_the_company_names_and_can_do_no_more_than_it_says() {
    let world = World::new().await;
    let url = format!("{}/.well-known/oauth-authorization-server/t/acme", world.gateway.auth_url);
    eventually("it is announced", async || {
        let metadata: Value = reqwest::get(&url).await.unwrap().json().await.unwrap();
        metadata["authorization_grant_profiles_supported"]
            == json!(["urn:ietf:params:oauth:grant-profile:id-jag"])
    })
    .await;
    let assertion = world.key.sign("one", TYPE, &world.claims("a")).unwrap();
    let token = claims(&world.present(&assertion, &[("scope", "read admin")]).await);
    assert_eq!((&token["sub"], &token["client_id"]), (&json!(world.ann.member), &json!(world.client.client)));
    assert_eq!((&token["aud"], &token["scope"]), (&json!(TOOLS), &json!("read")), "what both have");
    refused(&world.present(&assertion, &[]).await, "twice");
    let token = claims(&world.with("b", json!({"resource": [TOOLS], "scope": "write read unknown"})).await);
    assert_eq!(token["scope"], "read write", "what exists of what it has");
    let token = claims(&world.with("c", json!({"scope": null})).await);
    assert!(token.get("scope").is_none());
    let issued = world.tenant.audit("method=issue_token").await;
    let target = text(&issued[0], "target");
    assert!(target.contains(&world.ann.member) && target.ends_with(&world.trusted), "{target}");
    let other = world.key.sign("one", TYPE, &world.claims("d")).unwrap();
    let other = world.present(&other, &[("resource", "http://127.0.0.1:3/acme/other/mcp")]).await;
    assert_eq!((other.status, other.error().as_str()), (400, "invalid_target"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_assertion_for_somebody_or_something_else_is_refused() {
    let world = World::new().await;
    let now = SystemClock.now().secs();
    for (why, change) in [
        ("another issuer", json!({"iss": "https://other.example"})),
        ("the token endpoint is not the issuer", json!({"aud": format!("{}/token", world.client.issuer)})),
        ("two audiences", json!({"aud": [world.client.issuer, "https://x.example"]})),
        ("another client's", json!({"client_id": "cl_01hzy3v5d1f4m8q2w6x9c0b7ka"})),
        ("no client's", json!({"client_id": null})),
        ("no resource", json!({"resource": null})),
        ("several resources", json!({"resource": [TOOLS, "http://127.0.0.1:3/acme/other/mcp"]})),
        ("an endpoint that the client may not use", json!({"resource": "http://127.0.0.1:3/acme/other/mcp"})),
        ("somebody else's resource", json!({"resource": "https://mcp.example/"})),
        ("nobody", json!({"email": null})),
        ("nobody here", json!({"email": "cy@acme.example"})),
        ("a member of a domain that is not the company's", json!({"email": "bob@elsewhere.example"})),
        ("an address that is not verified", json!({"email_verified": false})),
        ("an address that is verified in words", json!({"email_verified": "true"})),
        ("an address that is none", json!({"email": "ann@acme.example@elsewhere.example"})),
        ("no subject", json!({"sub": null})),
        ("no id", json!({"jti": null})),
        ("no beginning", json!({"iat": null})),
        ("ended", json!({"exp": now - 1})),
        ("a far end", json!({"exp": now + 4_000})),
        ("the future", json!({"iat": now + 60})),
    ] {
        refused(&world.with("x", change).await, why);
    }
    // Of another type it is something else, which nobody is trusted for here.
    for kind in ["JWT", "at+jwt", "dpop+jwt"] {
        let assertion = world.key.sign("one", kind, &world.claims("x")).unwrap();
        let answered = world.client.bare("token", &World::form(&assertion, &[])).await;
        refused(&answered, kind);
    }
    let (stranger, _) = generate(Algorithm::Es256, &SystemEntropy).unwrap();
    refused(
        &world.present(&stranger.sign("one", TYPE, &world.claims("x")).unwrap(), &[]).await,
        "another's signature",
    );
    // The client proves who it is as ever.
    let assertion = world.key.sign("one", TYPE, &world.claims("x")).unwrap();
    let bare = world.client.bare("token", &World::form(&assertion, &[])).await;
    assert_eq!((bare.status, bare.error().as_str()), (401, "invalid_client"));
    // Nor does an issuer that is trusted with people say which client a workload is.
    assert_eq!(world.with("x", json!({})).await.status, 200, "nothing refused has used it up");
    let member = format!("{}/members/{}", world.tenant.base, world.ann.member);
    world.tenant.admin.patch(&member, json!({"enabled": false})).await.unwrap();
    refused(&world.with("y", json!({})).await, "a member who is switched off");
    world.tenant.admin.patch(&member, json!({"enabled": true})).await.unwrap();
    let issuer = format!("{}/trusted-issuers/{}", world.tenant.base, world.trusted);
    world.tenant.admin.patch(&issuer, json!({"email_domains": []})).await.unwrap();
    refused(&world.with("y", json!({})).await, "an issuer that speaks for nobody");
    world.tenant.admin.delete(&issuer).await.unwrap();
    refused(&world.with("y", json!({})).await, "an issuer that is trusted no more");
    let records = world.tenant.audit("method=issue_token&decision=refused").await;
    assert!(!format!("{records:?}").contains("eyJ"), "no assertion is on record");
}
