//! R3: refresh tokens are good once and come in families (RFC 9700 section 4.14.2): used twice, all of the family ends; revoked, it ends
//! (RFC 7009); they are bound to their client and endpoint, and give no more scopes than were agreed to.

use std::collections::BTreeSet;

use crypto::jwt::Algorithm;
use harness::{App, Gateway, Person, Tenant, Tokens, forge, person::ORIGIN, prover::Prover, text};
use reqwest::header::{HeaderMap, HeaderName};
use serde_json::json;

use crate::people_let_clients_act::{acme, sql};

const RESOURCE: &str = "http://127.0.0.1:3/acme/tools/mcp";

async fn granted() -> (Gateway, Tenant, App, Person, Tokens) {
    let (gateway, tenant, app, ann) = acme().await;
    let tokens = ann.authorize(&app, RESOURCE, &[]).await;
    (gateway, tenant, app, ann, tokens)
}

async fn is_dead(app: &App, tokens: &Tokens) -> bool {
    let refused = app.refresh(&tokens.refresh, &[]).await;
    refused.error() == "invalid_grant" && !app.is_active(&tokens.access).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_token_that_is_used_twice_ends_its_family() {
    let (gateway, tenant, app, ann, first) = granted().await;
    let other = ann.authorize(&app, RESOURCE, &[]).await;
    let second = Tokens::of(&app.refresh(&first.refresh, &[]).await);
    assert_ne!(first.refresh, second.refresh);
    assert!(!app.is_active(&first.refresh).await && app.is_active(&second.refresh).await);
    let third = Tokens::of(&app.refresh(&second.refresh, &[("resource", RESOURCE)]).await);
    sql(&gateway, "UPDATE refresh_tokens SET used_at = used_at - interval '11 seconds'").await;
    let thief = app.refresh(&second.refresh, &[]).await;
    assert_eq!((thief.status, thief.error().as_str()), (400, "invalid_grant"));
    for tokens in [&first, &second, &third] {
        assert!(is_dead(&app, tokens).await, "{tokens:?}");
    }
    assert!(app.is_active(&other.access).await && app.is_active(&other.refresh).await);
    let records = tenant.audit("method=end_authorization").await;
    assert!(text(&records[0], "target").contains("used twice"), "{records:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_again_at_once_is_given_the_same_successor() {
    let (gateway, _tenant, app, _ann, first) = granted().await;
    let second = Tokens::of(&app.refresh(&first.refresh, &[]).await);
    let again = Tokens::of(&app.refresh(&first.refresh, &[]).await);
    assert_eq!(second.refresh, again.refresh);
    assert_ne!(second.access, again.access);
    sql(&gateway, "UPDATE refresh_tokens SET used_at = used_at - interval '8 seconds'").await;
    assert_eq!(Tokens::of(&app.refresh(&first.refresh, &[]).await).refresh, second.refresh);
    Tokens::of(&app.refresh(&second.refresh, &[]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_at_once_are_given_one_successor() {
    let (_gateway, _tenant, app, _ann, first) = granted().await;
    let asked = (0..50).map(|_| app.refresh(&first.refresh, &[]));
    let answers = futures_util::future::join_all(asked).await;
    let tokens: Vec<_> = answers.iter().map(Tokens::of).collect();
    let successors: BTreeSet<_> = tokens.iter().map(|tokens| &tokens.refresh).collect();
    assert_eq!(successors.len(), 1, "{successors:?}");
    let next = Tokens::of(&app.refresh(&tokens[0].refresh, &[]).await);
    assert!(app.is_active(&next.access).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_token_is_of_one_client_endpoint_and_set_of_scopes() {
    let (gateway, tenant, app, ann, first) = granted().await;
    let endpoints = tenant.admin.get(&format!("{}/endpoints", tenant.base)).await.unwrap();
    let endpoint = text(&endpoints["items"][0], "id");
    let other = App::confidential(&gateway, &tenant, "Other", &[&endpoint]).await;
    assert_eq!(other.refresh(&first.refresh, &[]).await.error(), "invalid_grant");
    let elsewhere = [("resource", "http://127.0.0.1:3/acme/other/mcp")];
    assert_eq!(app.refresh(&first.refresh, &elsewhere).await.error(), "invalid_target");
    assert_eq!(app.refresh(&first.refresh, &[("scope", "more")]).await.error(), "invalid_scope");
    assert_eq!(app.refresh("pcr_nothing", &[]).await.error(), "invalid_grant");
    assert_eq!(app.refresh("", &[]).await.error(), "invalid_request");
    let impostor = App { secret: None, ..app.clone() };
    assert_eq!(impostor.refresh(&first.refresh, &[]).await.error(), "invalid_client");
    // None of these was a use.
    let second = Tokens::of(&app.refresh(&first.refresh, &[]).await);
    let used = format!("{}/clients/{}/endpoints/{endpoint}", tenant.base, app.client);
    tenant.admin.delete(&used).await.unwrap();
    assert_eq!(
        app.refresh(&second.refresh, &[]).await.error(),
        "invalid_target",
        "the client has lost the endpoint"
    );

    let public = App::public(&gateway, &tenant, "Public", &[&endpoint]).await;
    let tokens = ann.authorize(&public, RESOURCE, &[]).await;
    assert_ne!(Tokens::of(&public.refresh(&tokens.refresh, &[]).await).refresh, tokens.refresh);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_token_ends_when_it_is_not_used_and_its_family_in_any_case() {
    let (gateway, _tenant, app, ann, tokens) = granted().await;
    sql(&gateway, "UPDATE refresh_tokens SET expires_at = expires_at - interval '30 days'").await;
    assert_eq!(app.refresh(&tokens.refresh, &[]).await.error(), "invalid_grant");
    assert!(!app.is_active(&tokens.refresh).await);
    let tokens = ann.authorize(&app, RESOURCE, &[]).await;
    sql(&gateway, "UPDATE authorizations SET expires_at = expires_at - interval '90 days'").await;
    assert_eq!(app.refresh(&tokens.refresh, &[]).await.error(), "invalid_grant");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoking_a_refresh_token_ends_its_family_and_nobody_elses() {
    let (gateway, tenant, app, ann, first) = granted().await;
    let endpoints = tenant.admin.get(&format!("{}/endpoints", tenant.base)).await.unwrap();
    let other = App::confidential(&gateway, &tenant, "Other", &[&text(&endpoints["items"][0], "id")]).await;
    let kept = ann.authorize(&app, RESOURCE, &[]).await;
    let refused = other.post("revoke", &[("token", &first.refresh)]).await;
    assert_eq!((refused.status, refused.error().as_str()), (400, "unauthorized_client"));
    assert!(!other.is_active(&first.refresh).await && !other.is_active(&first.access).await, "not its own");
    let elsewhere = gateway.tenant("other").await;
    let theirs = App::confidential(&gateway, &elsewhere, "Theirs", &[]).await;
    assert!(!theirs.is_active(&first.refresh).await && !theirs.is_active(&first.access).await);
    assert_eq!(theirs.post("revoke", &[("token", &first.refresh)]).await.status, 200, "unknown there");
    assert!(app.is_active(&first.refresh).await && app.is_active(&first.access).await);

    let second = Tokens::of(&app.refresh(&first.refresh, &[]).await);
    assert_eq!(app.post("revoke", &[("token", &second.refresh)]).await.status, 200);
    assert!(is_dead(&app, &second).await && is_dead(&app, &first).await);
    assert_eq!(app.post("revoke", &[("token", &second.refresh)]).await.status, 200, "again");
    assert_eq!(app.post("revoke", &[("token", "pcr_nothing")]).await.status, 200, "unknown");
    assert!(app.is_active(&kept.access).await && app.is_active(&kept.refresh).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_member_let_clients_do_ends_with_the_member() {
    let (gateway, tenant, app, ann, tokens) = granted().await;
    let bob = Person::join(&gateway, &tenant, "bob@example.com").await;
    let bobs = bob.authorize(&app, RESOURCE, &[]).await;
    let path = format!("{}/members/{}", tenant.base, ann.member);
    tenant.admin.patch(&path, json!({"enabled": false})).await.unwrap();
    assert!(is_dead(&app, &tokens).await);
    assert!(!ann.get(&app.ask(RESOURCE, &[])).await.location().contains("code="));
    tenant.admin.patch(&path, json!({"enabled": true})).await.unwrap();
    assert!(is_dead(&app, &tokens).await, "for good");
    let tokens = ann.authorize(&app, RESOURCE, &[]).await;
    assert!(app.is_active(&tokens.access).await);
    tenant.admin.delete(&path).await.unwrap();
    assert!(is_dead(&app, &tokens).await);
    assert!(
        app.is_active(&bobs.access).await && app.is_active(&bobs.refresh).await,
        "another member's goes on"
    );
    // A client that is disabled is given nothing either.
    let client = format!("{}/clients/{}", tenant.base, app.client);
    tenant.admin.patch(&client, json!({"enabled": false})).await.unwrap();
    assert_eq!(app.refresh(&bobs.refresh, &[]).await.error(), "invalid_client");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consents_are_seen_and_withdrawn_by_whose_they_are_and_by_administrators() {
    let (gateway, tenant, app, ann, tokens) = granted().await;
    let bob = Person::join(&gateway, &tenant, "bob@example.com").await;
    let bobs = bob.authorize(&app, RESOURCE, &[]).await;
    let path = format!("{}/consents", tenant.base);
    let listed = tenant.admin.get(&path).await.unwrap();
    let own = listed["items"].as_array().unwrap().iter().find(|consent| consent["member_id"] == ann.member);
    let own = own.unwrap();
    assert_eq!((&own["client_id"], &own["resource"]), (&json!(app.client), &json!(RESOURCE)));

    // Nobody withdraws another's.
    let page = bob.get("/account").await;
    assert!(page.page.contains("Helper") && page.page.contains(RESOURCE), "{}", page.page);
    let id = text(own, "id");
    let others = [("act", "withdraw"), ("tenant", &*tenant.id), ("consent", &*id)];
    bob.submit("/account", &page, &others).await;
    assert!(app.is_active(&tokens.access).await && app.is_active(&tokens.refresh).await);

    let page = ann.get("/account").await;
    assert_eq!(page.field("consent"), id);
    assert_eq!(ann.submit("/account", &page, &others).await.status, 303);
    assert!(is_dead(&app, &tokens).await);
    assert!(!ann.get("/account").await.page.contains("Helper"));
    assert!(ann.get(&app.ask(RESOURCE, &[])).await.page.contains("value=\"allow\""), "it is asked again");
    assert!(app.is_active(&bobs.access).await && app.is_active(&bobs.refresh).await);
    let record = &tenant.audit("method=withdraw_consent").await[0];
    assert_eq!((text(record, "actor"), text(record, "target")), (ann.member.clone(), id));

    let listed = tenant.admin.get(&path).await.unwrap();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");
    tenant.admin.delete(&format!("{path}/{}", text(&listed["items"][0], "id"))).await.unwrap();
    assert!(is_dead(&app, &bobs).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consent_is_of_one_client_and_endpoint() {
    let (gateway, tenant, app, ann, _tokens) = granted().await;
    let endpoint = text(&tenant.post("/endpoints", json!({"slug": "other", "name": "n"})).await, "id");
    let used = format!("{}/clients/{}/endpoints/{endpoint}", tenant.base, app.client);
    tenant.admin.put(&used, json!({})).await.unwrap();
    let elsewhere = "http://127.0.0.1:3/acme/other/mcp";
    assert!(ann.get(&app.ask(elsewhere, &[])).await.page.contains("value=\"allow\""), "another endpoint");
    let other = App::confidential(&gateway, &tenant, "Other", &[&endpoint]).await;
    ann.authorize(&app, elsewhere, &[]).await;
    assert!(ann.get(&other.ask(elsewhere, &[])).await.page.contains("value=\"allow\""), "another client");
}

/// The application, which sends a proof with its next request to the token endpoint.
fn proving(app: &App, prover: &Prover) -> App {
    let proof = prover.proof(&format!("{ORIGIN}/t/{}/token", app.slug), json!({}));
    let headers = HeaderMap::from_iter([(HeaderName::from_static("dpop"), proof.parse().unwrap())]);
    let http = reqwest::Client::builder().no_proxy().default_headers(headers).build().unwrap();
    App { http, ..app.clone() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_public_client_was_given_with_a_proof_is_refreshed_with_the_same_key_alone() {
    let (gateway, tenant, _app, ann) = acme().await;
    let endpoints = tenant.admin.get(&format!("{}/endpoints", tenant.base)).await.unwrap();
    let app = App::public(&gateway, &tenant, "native", &[&text(&endpoints["items"][0], "id")]).await;
    let (key, another) = (Prover::new(Algorithm::Es256), Prover::new(Algorithm::Es256));
    let code = ann.code(&app, RESOURCE, &[]).await;
    let first = Tokens::of(&proving(&app, &key).exchange(&code, &[]).await);
    assert_eq!(forge::claims(&first.access)["cnf"], json!({"jkt": key.public.thumbprint()}));
    for (wrong, why) in [(app.clone(), "without a proof"), (proving(&app, &another), "by another key")] {
        let refused = wrong.refresh(&first.refresh, &[]).await;
        assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_grant"), "{why}");
    }
    let answered = proving(&app, &key).refresh(&first.refresh, &[]).await;
    assert_eq!(text(&answered.body, "token_type"), "DPoP", "what was refused used nothing up");
    let second = Tokens::of(&answered);
    assert_eq!(forge::claims(&second.access)["cnf"], json!({"jkt": key.public.thumbprint()}));
    // Who has begun without is free to go on without.
    let free = ann.authorize(&app, RESOURCE, &[]).await;
    Tokens::of(&app.refresh(&free.refresh, &[]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_who_is_stopped_is_given_nothing_until_that_is_lifted() {
    let (_gateway, tenant, app, ann, tokens) = granted().await;
    let code = ann.code(&app, RESOURCE, &[]).await;
    let kill = json!({"level": "principal", "target": ann.member, "reason": "her agent runs wild"});
    let kill = tenant.post("/kills", kill).await;
    for refused in [app.refresh(&tokens.refresh, &[]).await, app.exchange(&code, &[]).await] {
        assert_eq!(refused.code(), "killed", "{refused:?}");
    }
    let lift = json!({"reason": "mended", "epoch": kill["epoch"]});
    tenant.post(&format!("/kills/{}/lift", text(&kill, "id")), lift).await;
    Tokens::of(&app.refresh(&tokens.refresh, &[]).await);
}
