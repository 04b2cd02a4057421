//! R4, R8, R20, R50, R59: a token of an issuer of others opens an endpoint that names this issuer, for the client that the tenant's rules
//! say, and nothing that only looks like one does (RFC 8725, RFC 9068); it ends with everything it rests on.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use crypto::jwt::{Algorithm, Jwk, PrivateKey, PublicKey, generate};
use harness::{Answer, Caller, Endpoint, Gateway, Page, Tenant, Upstream, Web, eventually, text, tool};
use seams::{Clock as _, SystemEntropy};
use serde_json::{Value, json};

const LOGIN: &str = "https://login.example";

pub(crate) struct World {
    pub(crate) gateway: Gateway,
    pub(crate) tenant: Tenant,
    pub(crate) endpoint: Endpoint,
    pub(crate) upstream: Upstream,
    pub(crate) web: Web,
    pub(crate) key: PrivateKey,
    pub(crate) public: PublicKey,
    pub(crate) issuer: String,
    pub(crate) resource: String,
}

impl World {
    /// A tenant whose endpoint takes tokens of `LOGIN` from who is `azp` "agent" there.
    pub(crate) async fn new() -> Self {
        let gateway = Gateway::start().await;
        let upstream = Upstream::start(vec![tool("echo", "Says it back"), tool("erase", "Erases")]).await;
        let web = Web::start(&["localhost"]).await;
        let tenant = gateway.tenant("acme").await;
        tenant.allow_egress(web.address.port()).await;
        let endpoint = tenant.endpoint("tools", &upstream).await;
        tenant.grant(&endpoint, &["echo"]).await;
        let (key, public) = generate(Algorithm::Es256, &SystemEntropy).unwrap();
        publish(&web, "/jwks", &[("one", &public)]);
        let issuer = settings(
            LOGIN,
            &web,
            "/jwks",
            json!([{"claims": {"azp": "agent"}, "client_id": endpoint.client}]),
        );
        let issuer = text(&tenant.post("/external-issuers", issuer).await, "id");
        let resource = text(
            &tenant.admin.get(&format!("{}/endpoints/{}", tenant.base, endpoint.id)).await.unwrap(),
            "url",
        );
        let world = Self { gateway, tenant, endpoint, upstream, web, key, public, issuer, resource };
        world
            .accept(json!({"accepts": ["api_key", "external_token"], "external_issuers": [world.issuer]}))
            .await;
        eventually("the keys are there", async || world.with(json!({})).await.status == 200).await;
        world
    }

    pub(crate) async fn accept(&self, change: Value) {
        let path = format!("{}/endpoints/{}?wait=applied", self.tenant.base, self.endpoint.id);
        self.tenant.admin.patch(&path, change).await.unwrap();
    }

    pub(crate) async fn change(&self, change: Value) {
        let path = format!("{}/external-issuers/{}?wait=applied", self.tenant.base, self.issuer);
        self.tenant.admin.patch(&path, change).await.unwrap();
    }

    pub(crate) fn now(&self) -> u64 {
        self.gateway.control_clock().now().secs()
    }

    pub(crate) fn claims(&self, change: Value) -> Value {
        let mut claims = json!({
            "iss": LOGIN, "sub": "user-7", "azp": "agent", "aud": self.resource, "iat": self.now(),
            "exp": self.now() + 600,
        });
        for (name, value) in change.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        claims
    }

    pub(crate) fn token(&self, change: Value) -> String {
        self.key.sign("one", "at+jwt", &self.claims(change)).unwrap()
    }

    pub(crate) async fn show(&self, token: &str) -> Answer {
        Caller::new(&self.endpoint.url, token).call("echo").await
    }

    pub(crate) async fn with(&self, change: Value) -> Answer {
        self.show(&self.token(change)).await
    }

    pub(crate) async fn ends(&self, token: &str, why: &str) {
        let began = Instant::now();
        eventually(why, async || self.show(token).await.status == 401).await;
        assert!(began.elapsed() < Duration::from_secs(2), "{why}: {:?}", began.elapsed());
    }
}

/// An issuer whose keys nobody can fetch.
pub(crate) fn login(issuer: &str, client: &str, role: &str) -> Value {
    json!({
        "name": "n", "issuer": issuer, "jwks_uri": format!("{issuer}/jwks"),
        "callers": [{"claims": {"azp": "a"}, "client_id": client}],
        "entitlements": [{"claim": "groups", "value": "g", "roles": [role]}],
    })
}

pub(crate) fn publish(web: &Web, path: &str, keys: &[(&str, &PublicKey)]) {
    let mut set: Vec<_> = keys.iter().map(|(kid, key)| json!(Jwk::new(kid, key))).collect();
    // What is for others is left alone.
    set.push(json!({"kty": "EC", "crv": "P-384", "kid": "other", "x": "AA", "y": "AA"}));
    web.set(path, Page::json(json!({"keys": set}).to_string()).with("cache-control", "max-age=600"));
}

pub(crate) fn settings(issuer: &str, web: &Web, path: &str, callers: Value) -> Value {
    let root = STANDARD.encode(harness::web::root().as_ref());
    let pem = format!("-----BEGIN CERTIFICATE-----\n{root}\n-----END CERTIFICATE-----\n");
    json!({
        "name": "Login", "issuer": issuer, "jwks_uri": web.url("localhost", path), "ca_pem": pem, "callers": callers,
    })
}

pub(crate) fn refused(answer: &Answer, why: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (401, "credential_invalid"), "{why}: {answer:?}");
    assert!(answer.header("www-authenticate").contains("invalid_token"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_others_opens_what_the_client_may_that_it_speaks_for() {
    let world = World::new().await;
    let token = world.token(json!({}));
    let answer = world.show(&token).await;
    assert_eq!((answer.status, answer.tool_text()), (200, "ok: echo".to_owned()), "{answer:?}");
    assert_eq!(Caller::new(&world.endpoint.url, &token).call("erase").await.code(), "tool_not_granted");

    // Whoever is not let in is pointed to the issuer.
    let anonymous = Caller::anonymous(&world.endpoint.url).call("echo").await;
    assert!(anonymous.header("www-authenticate").contains("resource_metadata="), "{anonymous:?}");
    let url = world.endpoint.url.replace("/acme/", "/.well-known/oauth-protected-resource/acme/");
    let metadata: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
    assert_eq!(metadata["authorization_servers"], json!([LOGIN]), "own tokens are not accepted");
    assert_eq!(metadata["resource"], world.resource.as_str());

    // R20: the server behind it sees nothing of it. R50: the record says whose it was, and not who.
    for received in world.upstream.calls() {
        assert!(!format!("{:?}", received.headers).contains(&token), "the token went on");
    }
    let other = world.with(json!({"sub": "user-8"})).await;
    assert_eq!(other.status, 200);
    eventually("the calls are recorded", async || {
        let records = world.tenant.audit("method=tools/call&phase=outcome&decision=allowed").await;
        let of: Vec<&Value> = records
            .iter()
            .filter(|record| {
                record["credential"] == "external_token"
                    && record["external_issuer_id"] == world.issuer.as_str()
                    && record["client_id"] == world.endpoint.client.as_str()
                    && record["key_id"].is_null()
                    && record["token_id"].is_null()
            })
            .map(|record| &record["subject_hash"])
            .collect();
        assert!(!format!("{records:?}").contains("user-"), "{records:?}");
        let subjects: std::collections::HashSet<String> = of.iter().map(ToString::to_string).collect();
        of.len() >= 3
            && subjects.len() == 2
            && of.iter().all(|hash| hash.as_str().is_some_and(|hash| hash.len() == 64))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_no_rule_is_about_speaks_for_nobody_and_claims_give_roles_and_scopes() {
    let world = World::new().await;
    for change in
        [json!({"azp": "other"}), json!({"azp": null}), json!({"azp": ["x"]}), json!({"azp": "agent "})]
    {
        let answer = world.with(change).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "caller_not_mapped"), "{answer:?}");
    }
    // A role and a scope that claims give.
    let role = text(&world.tenant.post("/roles", json!({"name": "eraser"})).await, "id");
    world.tenant.post("/scopes", json!({"name": "erase", "description": "Erases"})).await;
    let erase = |subject: Value| {
        json!({"subject": subject, "scope": "erase", "actions": [
            {"action": "call_tool", "upstream": world.endpoint.upstream, "tools": {"names": ["erase"]}}]})
    };
    world.tenant.post("/grants?wait=applied", erase(json!({"role": role}))).await;
    world
        .change(json!({"entitlements": [
            {"claim": "groups", "value": "erasers", "roles": [role]},
            {"claim": "scope", "value": "mcp.erase", "scopes": ["erase"]},
        ]}))
        .await;
    let call = async |change: Value| {
        let caller = Caller::new(&world.endpoint.url, &world.token(change));
        let answer = caller.call("erase").await;
        let listed = caller.request("tools/list", json!({})).await.json();
        let names: Vec<_> =
            listed["result"]["tools"].as_array().unwrap().iter().map(|tool| text(tool, "name")).collect();
        (answer.status, answer.code(), names.contains(&"erase".to_owned()))
    };
    let (group, scope) = (json!(["x", "erasers"]), "openid mcp.erase");
    assert_eq!(call(json!({})).await, (200, "tool_not_granted".to_owned(), false));
    assert_eq!(
        call(json!({"scope": scope})).await,
        (200, "tool_not_granted".to_owned(), false),
        "without the role"
    );
    assert_eq!(
        call(json!({"groups": group})).await,
        (403, "scope_insufficient".to_owned(), true),
        "without the scope"
    );
    assert_eq!(call(json!({"groups": group, "scope": scope})).await, (200, String::new(), true));
    assert_eq!(
        call(json!({"groups": ["Erasers"], "scope": scope})).await.1,
        "tool_not_granted",
        "letter by letter"
    );
    assert_eq!(call(json!({"groups": "erasers", "scope": "mcp.eraser"})).await.1, "scope_insufficient");
    // The next call of the same token follows the rules.
    let token = world.token(json!({"groups": group, "scope": scope}));
    let caller = Caller::new(&world.endpoint.url, &token);
    assert_eq!(caller.call("erase").await.code(), "");
    world.change(json!({"entitlements": []})).await;
    assert_eq!(caller.call("erase").await.code(), "tool_not_granted");
    world.change(json!({"callers": []})).await;
    assert_eq!(caller.call("echo").await.code(), "caller_not_mapped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_others_is_good_where_its_issuer_is_named_and_by_that_issuers_keys() {
    let world = World::new().await;
    // Another issuer of the same tenant, with a key of the same name.
    let (theirs, public) = generate(Algorithm::Es256, &SystemEntropy).unwrap();
    publish(&world.web, "/second", &[("one", &public)]);
    let callers = json!([{"claims": {"azp": "agent"}, "client_id": world.endpoint.client}]);
    let second = settings("https://second.example", &world.web, "/second", callers);
    let second = text(&world.tenant.post("/external-issuers", second).await, "id");
    let claims = world.claims(json!({"iss": "https://second.example"}));
    let token = theirs.sign("one", "at+jwt", &claims).unwrap();
    refused(&world.show(&token).await, "an issuer that the endpoint does not name");
    world.accept(json!({"external_issuers": [world.issuer, second]})).await;
    eventually("the second one's keys are there", async || world.show(&token).await.status == 200).await;
    refused(
        &world.show(&theirs.sign("one", "at+jwt", &world.claims(json!({}))).unwrap()).await,
        "the other's key",
    );
    refused(&world.show(&world.key.sign("one", "at+jwt", &claims).unwrap()).await, "the one's key");

    // Another tenant that trusts the same issuer: nothing of one is anything to the other.
    let other = world.gateway.tenant("other").await;
    other.allow_egress(world.web.address.port()).await;
    let foreign = other.endpoint("tools", &world.upstream).await;
    let trusting = settings(
        LOGIN,
        &world.web,
        "/jwks",
        json!([{"claims": {"azp": "agent"}, "client_id": foreign.client}]),
    );
    let trusting = text(&other.post("/external-issuers", trusting).await, "id");
    let path = format!("{}/endpoints/{}?wait=applied", other.base, foreign.id);
    let change = json!({"accepts": ["external_token"], "external_issuers": [trusting]});
    other.admin.patch(&path, change).await.unwrap();
    let own = world.claims(json!({"aud": world.resource.replace("/acme/", "/other/")}));
    let own = world.key.sign("one", "at+jwt", &own).unwrap();
    let at = async |token: &str| Caller::new(&foreign.url, token).call("echo").await;
    eventually("the other tenant's keys are there", async || at(&own).await.status == 200).await;
    refused(&at(&world.token(json!({}))).await, "a token for the first tenant");
    refused(&world.show(&own).await, "a token for the other");
    let key =
        Caller::new(&foreign.url, secrecy::ExposeSecret::expose_secret(&foreign.key)).call("echo").await;
    assert_eq!(key.status, 401, "it takes tokens of others alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_others_ends_with_all_it_rests_on() {
    let world = World::new().await;
    let token = world.token(json!({}));
    let opens = async |why: &str| assert_eq!(world.show(&token).await.status, 200, "{why}");
    opens("at first").await;
    world.change(json!({"enabled": false})).await;
    world.ends(&token, "the issuer is switched off").await;
    world.change(json!({"enabled": true})).await;
    eventually("it is back", async || world.show(&token).await.status == 200).await;
    world.accept(json!({"accepts": ["api_key"]})).await;
    world.ends(&token, "the endpoint takes keys alone").await;
    world.accept(json!({"accepts": ["external_token"]})).await;
    opens("taken again").await;

    // Its client; it does not come back when the client does, and one that is made then is good.
    let client = format!("{}/clients/{}?wait=applied", world.tenant.base, world.endpoint.client);
    world.tenant.admin.patch(&client, json!({"enabled": false})).await.unwrap();
    world.ends(&token, "its client is switched off").await;
    world.tenant.admin.patch(&client, json!({"enabled": true})).await.unwrap();
    assert_eq!(world.show(&token).await.status, 401, "it came back");
    let fresh = json!({"iat": world.now() + 2});
    assert_eq!(world.with(fresh.clone()).await.status, 200);

    // A kill of its client; and the issuer itself.
    let kill = json!({"level": "client", "target": world.endpoint.client, "reason": "test"});
    let kill = world.tenant.post("/kills", kill).await;
    eventually("killed", async || world.with(fresh.clone()).await.code() == "killed").await;
    let lift = format!("/kills/{}/lift", text(&kill, "id"));
    world.tenant.post(&lift, json!({"reason": "over", "epoch": kill["epoch"]})).await;
    eventually("lifted", async || world.with(fresh.clone()).await.status == 200).await;
    let token = world.token(fresh);
    let path = format!("{}/external-issuers/{}?wait=applied", world.tenant.base, world.issuer);
    world.tenant.admin.delete(&path).await.unwrap();
    world.ends(&token, "the issuer is not known any more").await;
    let endpoint =
        world.tenant.admin.get(&format!("{}/endpoints/{}", world.tenant.base, world.endpoint.id)).await;
    assert_eq!(endpoint.unwrap()["external_issuers"], json!([]), "no endpoint names what is gone");
}

#[tokio::test]
async fn whom_a_rule_stands_for_that_is_gone_is_nobody_and_not_whom_a_later_rule_names() {
    let world = World::new().await;
    let narrow = text(&world.tenant.post("/clients", json!({"name": "narrow"})).await, "id");
    let path = format!("{}/clients/{narrow}", world.tenant.base);
    let endpoint = format!("{path}/endpoints/{}", world.endpoint.id);
    world.tenant.admin.put(&endpoint, json!({})).await.unwrap();
    let rule = |claims: Value, client: &str| json!({"claims": claims, "client_id": client});
    let callers = json!([
        rule(json!({"azp": "agent", "sub": "narrow"}), &narrow),
        rule(json!({"azp": "agent"}), &world.endpoint.client),
    ]);
    world.change(json!({"callers": callers})).await;
    let asked = json!({"sub": "narrow"});
    assert_eq!(world.with(asked.clone()).await.code(), "tool_not_granted", "another client, without a grant");
    assert_eq!(world.with(json!({})).await.status, 200);
    world.tenant.admin.delete(&format!("{path}?wait=applied")).await.unwrap();
    let answer = world.with(asked).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "caller_not_mapped"));
    assert_eq!(world.with(json!({})).await.status, 200);
}
