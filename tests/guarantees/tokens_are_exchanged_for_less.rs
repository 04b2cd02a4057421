//! R4, R9: a client that may exchanges a token for one at another endpoint (RFC 8693), which can do no more and ends no later.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use crypto::jwt::Algorithm;
use harness::{Answered, App, Gateway, Machine, Person, Tenant, eventually, prover::Prover, text};
use serde_json::{Value, json};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const TOOLS: &str = "http://127.0.0.1:3/acme/tools/mcp";
const OTHER: &str = "http://127.0.0.1:3/acme/other/mcp";

/// A tenant with two endpoints and a machine that may use both.
async fn acme(gateway: &Gateway, slug: &str) -> (Tenant, Machine, Vec<String>) {
    let tenant = gateway.tenant(slug).await;
    let mut ids = Vec::new();
    for slug in ["tools", "other"] {
        ids.push(text(&tenant.post("/endpoints", json!({"slug": slug, "name": slug})).await, "id"));
    }
    let machine = Machine::new(gateway, &tenant, "machine", &[&ids[0], &ids[1]]).await;
    (tenant, machine, ids)
}

async fn allow(tenant: &Tenant, machine: &Machine, subjects: &str) {
    let path = format!("{}/clients/{}/token-exchange", tenant.base, machine.client);
    tenant.admin.put(&path, json!({"subjects": subjects})).await.unwrap();
}

async fn exchange(machine: &Machine, token: &str, more: &[(&str, &str)]) -> Answered {
    let own = [("grant_type", EXCHANGE), ("subject_token", token), ("subject_token_type", ACCESS_TOKEN)];
    machine.basic("token", &[&own[..], more].concat()).await
}

fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

fn is(answered: &Answered, status: u16, error: &str) {
    assert_eq!((answered.status, answered.error().as_str()), (status, error), "{answered:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_may_exchanges_its_own_token_for_another_endpoint() {
    let gateway = Gateway::with_proxies(0).await;
    let (tenant, machine, ids) = acme(&gateway, "acme").await;
    let token = text(&machine.ask(&[("resource", TOOLS)]).await.body, "access_token");
    is(&exchange(&machine, &token, &[("resource", OTHER)]).await, 400, "unauthorized_client");
    allow(&tenant, &machine, "own").await;
    let exchanged = exchange(&machine, &token, &[("resource", OTHER)]).await;
    assert_eq!(exchanged.status, 200, "{exchanged:?}");
    assert_eq!(text(&exchanged.body, "issued_token_type"), ACCESS_TOKEN);
    assert_eq!(
        (text(&exchanged.body, "token_type"), exchanged.headers["cache-control"].to_str().unwrap()),
        ("Bearer".into(), "no-store")
    );
    let (old, new) = (claims(&token), claims(&text(&exchanged.body, "access_token")));
    assert_eq!(
        (&new["aud"], &new["sub"], &new["client_id"]),
        (&json!(OTHER), &old["sub"], &old["client_id"])
    );
    assert_ne!(new["jti"], old["jti"]);
    assert!(new["exp"].as_u64() <= old["exp"].as_u64() && new.get("act").is_none(), "{new}");
    let issued = tenant.audit("method=issue_token").await;
    assert!(text(&issued[0], "target").contains(&format!("for {}", text(&old, "jti"))), "{issued:?}");

    // Neither an endpoint that it may not use, nor a scope that the token lacks, nor anything but an access token.
    tenant
        .admin
        .delete(&format!("{}/clients/{}/endpoints/{}", tenant.base, machine.client, ids[1]))
        .await
        .unwrap();
    is(&exchange(&machine, &token, &[("resource", OTHER)]).await, 400, "invalid_target");
    is(
        &exchange(&machine, &token, &[("resource", "http://127.0.0.1:3/stranger/tools/mcp")]).await,
        400,
        "invalid_target",
    );
    is(&exchange(&machine, &token, &[("audience", "tools")]).await, 400, "invalid_target");
    is(&exchange(&machine, &token, &[("scope", "admin")]).await, 400, "invalid_scope");
    let id_token = "urn:ietf:params:oauth:token-type:id_token";
    is(&exchange(&machine, &token, &[("requested_token_type", id_token)]).await, 400, "invalid_request");
    is(&exchange(&machine, &token, &[("actor_token", &token)]).await, 400, "invalid_request");
    let none = machine.basic("token", &[("grant_type", EXCHANGE), ("subject_token", &*token)]).await;
    is(&none, 400, "invalid_request");
    // Nobody exchanges without saying who he is.
    let bare = [("grant_type", EXCHANGE), ("subject_token", &*token), ("subject_token_type", ACCESS_TOKEN)];
    is(&machine.bare("token", &bare).await, 401, "invalid_client");
    // Allowed no longer.
    tenant.admin.delete(&format!("{}/clients/{}/token-exchange", tenant.base, machine.client)).await.unwrap();
    is(&exchange(&machine, &token, &[("resource", TOOLS)]).await, 400, "unauthorized_client");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_good_token_of_this_issuer_is_exchanged_for_nothing() {
    let gateway = Gateway::with_proxies(0).await;
    let (tenant, machine, ids) = acme(&gateway, "acme").await;
    let (_, foreign, _) = acme(&gateway, "other").await;
    allow(&tenant, &machine, "members").await;
    let token = text(&machine.ask(&[("resource", TOOLS)]).await.body, "access_token");
    let foreign =
        text(&foreign.ask(&[("resource", &TOOLS.replace("acme", "other"))]).await.body, "access_token");
    let (rest, signature) = token.rsplit_once('.').unwrap();
    let last = if signature.starts_with('A') { "B" } else { "A" };
    let changed = format!("{rest}.{last}{}", &signature[1..]);
    for (why, wrong) in
        [("foreign", &*foreign), ("changed", &*changed), ("none", "x"), ("a key", &*machine.secret)]
    {
        let answered = exchange(&machine, wrong, &[("resource", OTHER)]).await;
        assert_eq!(answered.code(), "oauth_assertion_invalid", "{why}");
        is(&answered, 400, "invalid_grant");
    }
    // What is bound to a key is not set free by exchanging it.
    let bound = Prover::new(Algorithm::Es256).token(&machine, &[("resource", TOOLS)]).await;
    let answered = exchange(&machine, &bound, &[("resource", OTHER)]).await;
    assert_eq!(answered.code(), "oauth_assertion_invalid", "a bound one");
    // Another client's own token is that client's alone, whatever this one may exchange.
    let second = Machine::new(&gateway, &tenant, "second", &[&ids[0]]).await;
    let of_second = second.token().await;
    is(&exchange(&machine, &of_second, &[("resource", OTHER)]).await, 400, "unauthorized_client");
    // What was revoked, and what has ended.
    let revoked = text(&machine.ask(&[("resource", TOOLS)]).await.body, "access_token");
    assert_eq!(machine.basic("revoke", &[("token", &*revoked)]).await.status, 200);
    eventually("it is revoked", async || {
        exchange(&machine, &revoked, &[("resource", OTHER)]).await.error() == "invalid_grant"
    })
    .await;
    gateway.control_clock().set_forward(Duration::from_secs(16 * 60));
    is(&exchange(&machine, &token, &[("resource", OTHER)]).await, 400, "invalid_grant");
    let refused = tenant.audit("method=issue_token&decision=refused").await;
    assert!(refused.iter().all(|record| text(record, "actor") == machine.client), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_members_token_is_exchanged_by_whom_the_tenant_lets_and_says_who_acts() {
    let gateway = Gateway::with_proxies(0).await;
    let (tenant, machine, ids) = acme(&gateway, "acme").await;
    for scope in ["read", "write"] {
        tenant.post("/scopes", json!({"name": scope, "description": scope})).await;
    }
    let ann = Person::join(&gateway, &tenant, "ann@example.com").await;
    let app = App::public(&gateway, &tenant, "app", &[&ids[0]]).await;
    let token = ann.authorize(&app, TOOLS, &["read"]).await.access;
    allow(&tenant, &machine, "own").await;
    is(&exchange(&machine, &token, &[("resource", OTHER)]).await, 400, "unauthorized_client");
    allow(&tenant, &machine, "members").await;
    is(
        &exchange(&machine, &token, &[("resource", OTHER), ("scope", "read write")]).await,
        400,
        "invalid_scope",
    );
    let exchanged = exchange(&machine, &token, &[("resource", OTHER)]).await;
    assert_eq!(exchanged.status, 200, "{exchanged:?}");
    let (old, new) = (claims(&token), claims(&text(&exchanged.body, "access_token")));
    assert_eq!(
        (&new["sub"], &new["aud"], &new["scope"]),
        (&json!(ann.member), &json!(OTHER), &json!("read"))
    );
    assert_eq!((&new["client_id"], &new["auth_time"]), (&json!(machine.client), &old["auth_time"]));
    assert_eq!(new["act"], json!({"sub": machine.client, "act": {"sub": app.client}}));
    assert!(new["exp"].as_u64() <= old["exp"].as_u64());
    // A public client cannot prove who exchanges.
    let path = format!("{}/clients/{}/token-exchange", tenant.base, app.client);
    assert!(
        tenant.admin.put(&path, json!({"subjects": "own"})).await.unwrap_err().to_string().contains("409")
    );
    let bare = [("grant_type", EXCHANGE), ("subject_token", &*token), ("subject_token_type", ACCESS_TOKEN)];
    is(&app.post("token", &bare).await, 400, "unauthorized_client");
}
