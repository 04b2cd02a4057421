//! R3, R4, R5: a machine that is a client of a tenant gets short-lived access tokens (RFC 6749 section 4.4, RFC 9068), each for one
//! endpoint that it may use (RFC 8707).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use crypto::jwt::{JwkSet, Token, Typ};
use harness::{
    Gateway, Machine, Tenant, eventually,
    machine::{FormBody as _, send},
    text,
};
use serde_json::{Value, json};

const RESOURCE: &str = "http://127.0.0.1:3/acme/tools/mcp";

async fn endpoint(tenant: &Tenant, slug: &str) -> String {
    text(&tenant.post("/endpoints", json!({"slug": slug, "name": slug})).await, "id")
}

/// A tenant with two endpoints, and a machine that may use the first.
async fn acme(gateway: &Gateway) -> (Tenant, Machine) {
    let tenant = gateway.tenant("acme").await;
    let tools = endpoint(&tenant, "tools").await;
    endpoint(&tenant, "other").await;
    let machine = Machine::new(gateway, &tenant, "machine", &[&tools]).await;
    (tenant, machine)
}

fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_gets_a_token_for_its_endpoint_which_the_published_keys_verify() {
    let gateway = Gateway::with_proxies(0).await;
    let (tenant, machine) = acme(&gateway).await;
    let answered = machine.ask(&[("resource", RESOURCE)]).await;
    assert_eq!(answered.status, 200, "{answered:?}");
    assert_eq!(answered.headers["cache-control"], "no-store");
    assert_eq!(
        (text(&answered.body, "token_type"), &answered.body["expires_in"]),
        ("Bearer".into(), &json!(900))
    );
    let text_of_token = text(&answered.body, "access_token");
    let set: JwkSet = reqwest::get(format!("{}/jwks.json", machine.url)).await.unwrap().json().await.unwrap();
    let token = Token::parse(&text_of_token).unwrap();
    assert_eq!(token.typ(), Typ::AccessToken);
    let keys = set.read().unwrap();
    let (_, key) = keys.iter().find(|(kid, _)| kid == token.kid()).unwrap();
    assert!(key.signed(&token));
    let claims = claims(&text_of_token);
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(machine.issuer), &json!(RESOURCE)));
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!(machine.client), &json!(machine.client)));
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 900);
    assert!(text(&claims, "jti").starts_with("tok_"));

    // By Basic too, and for as long as the client was said to get them; without `resource`, for the one endpoint that it has.
    let path = format!("{}/clients/{}", tenant.base, machine.client);
    tenant.admin.patch(&path, json!({"token_lifetime_seconds": 3600})).await.unwrap();
    let second = machine.basic("token", &[("grant_type", "client_credentials")]).await;
    assert_eq!((second.status, &second.body["expires_in"]), (200, &json!(3600)), "{second:?}");
    let second = self::claims(&text(&second.body, "access_token"));
    assert_eq!(second["aud"], RESOURCE);
    assert_ne!(second["jti"], claims["jti"]);

    let issued = tenant.audit("method=issue_token").await;
    assert_eq!(issued.len(), 2, "{issued:?}");
    let first = issued.iter().find(|record| text(record, "target").contains(&text(&claims, "jti"))).unwrap();
    assert_eq!((text(first, "actor"), text(first, "decision")), (machine.client.clone(), "allowed".into()));
    assert!(text(first, "target").contains(&machine.secret_id), "{first}");
    let secrets = tenant.admin.get(&format!("{path}/secrets")).await.unwrap();
    assert!(!secrets["items"][0]["last_used_at"].is_null());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resource_that_the_client_may_not_use_is_no_target() {
    let gateway = Gateway::with_proxies(0).await;
    let (tenant, machine) = acme(&gateway).await;
    for wrong in [
        "http://127.0.0.1:3/acme/other/mcp",
        "http://127.0.0.1:3/acme/nothing/mcp",
        "http://127.0.0.1:3/acme/tools/mcp/",
        "http://127.0.0.1:3/acme/tools/mcp#x",
        "http://127.0.0.1:3/stranger/tools/mcp",
        "https://127.0.0.1:3/acme/tools/mcp",
        "tools",
    ] {
        let refused = machine.ask(&[("resource", wrong)]).await;
        assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_target"), "{wrong}");
    }
    let twice = machine.ask(&[("resource", RESOURCE), ("resource", RESOURCE)]).await;
    assert_eq!((twice.status, twice.error().as_str()), (400, "invalid_target"), "several resources");
    let refused = tenant.audit("method=issue_token&decision=refused").await;
    assert_eq!(refused.len(), 7, "each is on record: {refused:?}");
    assert!(refused.iter().all(|record| record["code"] == "oauth_target_invalid"), "{refused:?}");

    // With several it has to say which; with none there is nothing to say.
    let third = endpoint(&tenant, "third").await;
    let path = format!("{}/clients/{}/endpoints", tenant.base, machine.client);
    tenant.admin.put(&format!("{path}/{third}"), json!({})).await.unwrap();
    let refused = machine.ask(&[]).await;
    assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_target"), "several endpoints");
    assert_eq!(machine.ask(&[("resource", RESOURCE)]).await.status, 200);
    for relation in tenant.admin.get(&path).await.unwrap()["items"].as_array().unwrap() {
        tenant.admin.delete(&format!("{path}/{}", text(relation, "endpoint_id"))).await.unwrap();
    }
    assert_eq!(machine.ask(&[]).await.error(), "invalid_target", "no endpoint");
    assert_eq!(machine.ask(&[("resource", RESOURCE)]).await.error(), "invalid_target");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_says_something_twice_or_in_the_wrong_place_is_refused() {
    let gateway = Gateway::with_proxies(0).await;
    let (_, machine) = acme(&gateway).await;
    let own = [("client_id", machine.client.as_str()), ("client_secret", machine.secret.as_str())];
    let invalid = async |what: &str, request: reqwest::RequestBuilder| {
        let refused = send(request).await;
        assert_eq!(
            (refused.status, refused.error().as_str()),
            (400, "invalid_request"),
            "{what}: {refused:?}"
        );
        assert_eq!(refused.code(), "oauth_request_invalid", "{what}");
        assert_eq!(refused.headers["cache-control"], "no-store", "{what}");
    };
    let grant = ("grant_type", "client_credentials");
    let form = |parameters: &[(&str, &str)]| machine.request("token").form(parameters);
    invalid("a parameter twice", form(&[&own[..], &[grant, grant]].concat())).await;
    invalid("no grant type", form(&own)).await;
    invalid("an empty grant type", form(&[&own[..], &[("grant_type", "")]].concat())).await;
    let both = form(&[&own[..], &[grant]].concat()).basic_auth(&machine.client, Some(&machine.secret));
    invalid("two ways of authentication at once", both).await;
    let kind = ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    let both = form(&[&own[..], &[grant, kind, ("client_assertion", "a.b.c")]].concat());
    invalid("a secret and an assertion", both).await;
    let another =
        form(&[grant, ("client_id", "cl_other")]).basic_auth(&machine.client, Some(&machine.secret));
    invalid("two clients", another).await;
    let in_query = machine.request(&format!("token?client_secret={}", machine.secret));
    invalid("credentials in the query", in_query.form(&[grant, own[0]])).await;
    let json = machine.request("token").json(&json!({"grant_type": "client_credentials"}));
    invalid("a body that is no form", json).await;
    let long = form(&[&own[..], &[grant, ("more", &"x".repeat(32 * 1024))]].concat());
    let refused = send(long).await;
    assert_eq!((refused.status, refused.error().as_str()), (413, "invalid_request"));
    let got = reqwest::get(format!("{}/token", machine.url)).await.unwrap();
    assert_eq!(got.status(), 405, "GET");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_the_implicit_grant_and_unknown_scopes_do_not_exist() {
    let gateway = Gateway::with_proxies(0).await;
    let (_, machine) = acme(&gateway).await;
    for grant in ["password", "implicit", "AUTHORIZATION_CODE", "CLIENT_CREDENTIALS", "x"] {
        let refused = machine.basic("token", &[("grant_type", grant)]).await;
        assert_eq!((refused.status, refused.error().as_str()), (400, "unsupported_grant_type"), "{grant}");
        assert_eq!(refused.code(), "oauth_grant_unsupported");
    }
    for scope in ["tools:read", "offline_access", "a b"] {
        let refused = machine.ask(&[("scope", scope)]).await;
        assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_scope"), "{scope}");
        assert_eq!(refused.code(), "oauth_scope_invalid");
    }
    assert_eq!(machine.ask(&[("scope", "")]).await.status, 200, "empty is absent");
    // Errors point to pages that are served where they are met.
    let refused = machine.ask(&[("scope", "x")]).await;
    assert_eq!(text(&refused.body, "error_uri"), "/errors/oauth_scope_invalid");
    let page = reqwest::get(format!("{}/errors/oauth_scope_invalid", gateway.auth_url)).await.unwrap();
    assert_eq!(page.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_disabled_suspended_or_killed_gets_no_tokens() {
    let gateway = Gateway::with_proxies(0).await;
    let (tenant, machine) = acme(&gateway).await;
    let other = gateway.tenant("other").await;
    let tools = endpoint(&other, "tools").await;
    let neighbour = Machine::new(&gateway, &other, "machine", &[&tools]).await;
    assert_eq!(machine.ask(&[]).await.status, 200);
    let refused = async |status: u16, error: &str, why: &str| {
        let answered = machine.ask(&[]).await;
        assert_eq!((answered.status, answered.error().as_str()), (status, error), "{why}");
        assert_eq!(neighbour.ask(&[]).await.status, 200, "{why}: its neighbour");
    };
    let client = format!("{}/clients/{}", tenant.base, machine.client);
    tenant.admin.patch(&client, json!({"enabled": false})).await.unwrap();
    refused(401, "invalid_client", "disabled").await;
    let records = tenant.audit("method=authenticate_client&decision=refused").await;
    assert_eq!(records[0]["code"], "oauth_client_invalid");
    tenant.admin.patch(&client, json!({"enabled": true})).await.unwrap();
    assert_eq!(machine.ask(&[]).await.status, 200);
    gateway.operator.patch(&tenant.base, json!({"suspended": true})).await.unwrap();
    refused(401, "invalid_client", "suspended").await;
    gateway.operator.patch(&tenant.base, json!({"suspended": false})).await.unwrap();

    let drill = json!({"level": "tenant", "reason": "exercise", "drill": true});
    tenant.post("/kills", drill).await;
    assert_eq!(machine.ask(&[]).await.status, 200, "a drill stops nobody");
    let kills = [
        json!({"level": "client", "target": machine.client, "reason": "r"}),
        json!({"level": "principal", "target": machine.client, "reason": "r"}),
        json!({"level": "tenant", "reason": "r"}),
    ];
    for kill in kills {
        let made = tenant.post("/kills", kill.clone()).await;
        refused(503, "temporarily_unavailable", &kill.to_string()).await;
        let lift = format!("/kills/{}/lift", text(&made, "id"));
        tenant.post(&lift, json!({"reason": "r", "epoch": made["epoch"]})).await;
        eventually("tokens are given again", async || machine.ask(&[]).await.status == 200).await;
    }
    let records = tenant.audit("method=issue_token&decision=refused&code=killed").await;
    assert!(records.len() >= 3, "{records:?}");
}
