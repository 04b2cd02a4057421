//! R3: an authorization code is of one client, redirect URI, verifier and minute, and good once (RFC 6749 section 4.1.2, RFC 7636, OAuth
//! 2.1); clients that can keep no secret, and programs on people's own machines (RFC 8252), get no more than they can show.

use harness::{App, Tokens, app::CHALLENGE, text};
use serde_json::json;

use crate::people_let_clients_act::{acme, claims, endpoint, sql};

const RESOURCE: &str = "http://127.0.0.1:3/acme/tools/mcp";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_that_is_used_twice_ends_what_came_of_it() {
    let (_gateway, tenant, app, ann) = acme().await;
    let other = ann.authorize(&app, RESOURCE, &[]).await;
    let code = ann.code(&app, RESOURCE, &[]).await;
    let tokens = Tokens::of(&app.exchange(&code, &[]).await);
    let tokens = Tokens::of(&app.refresh(&tokens.refresh, &[]).await);
    let again = app.exchange(&code, &[]).await;
    assert_eq!(
        (again.status, again.error().as_str(), again.code().as_str()),
        (400, "invalid_grant", "oauth_grant_invalid")
    );
    assert!(!app.is_active(&tokens.access).await && !app.is_active(&tokens.refresh).await);
    assert_eq!(app.refresh(&tokens.refresh, &[]).await.error(), "invalid_grant");
    assert!(app.is_active(&other.access).await, "what came of another code goes on");
    let records = tenant.audit("method=end_authorization").await;
    assert!(text(&records[0], "target").contains("its code was used twice"), "{records:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_of_one_client_redirect_uri_and_verifier() {
    let (gateway, tenant, app, ann) = acme().await;
    let other = App::confidential(&gateway, &tenant, "Other", &[&endpoint(&tenant).await]).await;
    let code = ann.code(&app, RESOURCE, &[]).await;
    let refused = other.exchange(&code, &[]).await;
    assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_grant"), "another client's");
    for (more, error) in [
        (("redirect_uri", "https://app.example/other"), "invalid_grant"),
        (("redirect_uri", ""), "invalid_request"),
        (("code_verifier", "another-verifier-that-is-long-enough-to-be-one-0"), "invalid_grant"),
        (("code_verifier", "short"), "invalid_grant"),
        (("code_verifier", CHALLENGE), "invalid_grant"),
        (("code_verifier", ""), "invalid_request"),
        (("resource", "http://127.0.0.1:3/acme/other/mcp"), "invalid_target"),
        (("code", "pcc_nothing"), "invalid_grant"),
        (("code", ""), "invalid_request"),
    ] {
        let refused = app.exchange(&code, &[more]).await;
        assert_eq!((refused.status, refused.error().as_str()), (400, error), "{more:?}: {refused:?}");
    }
    let impostor = App { secret: None, ..app.clone() };
    assert_eq!(
        impostor.exchange(&code, &[]).await.error(),
        "invalid_client",
        "it has a secret, and shows none"
    );
    let wrong = App { secret: other.secret.clone(), ..app.clone() };
    assert_eq!(wrong.exchange(&code, &[]).await.error(), "invalid_client");
    Tokens::of(&app.exchange(&code, &[("resource", RESOURCE)]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_good_for_a_minute_and_as_long_as_who_gave_it_is() {
    let (gateway, tenant, app, ann) = acme().await;
    let code = ann.code(&app, RESOURCE, &[]).await;
    sql(&gateway, "UPDATE authorization_codes SET expires_at = expires_at - interval '60 seconds'").await;
    assert_eq!(app.exchange(&code, &[]).await.error(), "invalid_grant", "it has expired");

    let code = ann.code(&app, RESOURCE, &[]).await;
    let page = ann.get("/account").await;
    ann.submit("/account", &page, &[("act", "sign_out")]).await;
    assert_eq!(app.exchange(&code, &[]).await.error(), "invalid_grant", "who gave it has signed out");

    let member = format!("{}/members/{}", tenant.base, ann.member);
    let code = ann.code(&app, RESOURCE, &[]).await;
    tenant.admin.patch(&member, json!({"enabled": false})).await.unwrap();
    assert_eq!(app.exchange(&code, &[]).await.error(), "invalid_grant", "who gave it was switched off");
    tenant.admin.patch(&member, json!({"enabled": true})).await.unwrap();
    assert_eq!(app.exchange(&code, &[]).await.error(), "invalid_grant", "for good");

    let code = ann.code(&app, RESOURCE, &[]).await;
    let used = format!("{}/clients/{}/endpoints/{}", tenant.base, app.client, endpoint(&tenant).await);
    tenant.admin.delete(&used).await.unwrap();
    assert_eq!(
        app.exchange(&code, &[]).await.error(),
        "invalid_target",
        "the client may not use the endpoint any more"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_on_ones_own_machine_has_any_port_and_is_asked_about_every_time() {
    let (gateway, tenant, _app, ann) = acme().await;
    let mut app = App::public(&gateway, &tenant, "Local", &[&endpoint(&tenant).await]).await;
    let path = format!("{}/clients/{}", tenant.base, app.client);
    let uris = json!(["http://127.0.0.1/cb", "http://localhost:3000/cb", "com.example.app:/cb"]);
    tenant.admin.patch(&path, json!({"redirect_uris": uris})).await.unwrap();
    for (uri, good) in [
        ("http://127.0.0.1:49152/cb", true),
        ("http://127.0.0.1/cb", true),
        ("http://127.0.0.1:49152/cb/", false),
        ("http://127.0.0.1:49152/other", false),
        ("http://[::1]:49152/cb", false),
        ("http://localhost:3000/cb", true),
        ("http://localhost:3001/cb", false),
        ("com.example.app:/cb", true),
        ("com.example.app:/other", false),
        ("com.example.other:/cb", false),
    ] {
        app.redirect_uri = uri.to_owned();
        let asked = app.ask(RESOURCE, &[]);
        let page = ann.get(&asked).await;
        if !good {
            assert_eq!(page.code(), "authorization_refused", "{uri}");
            continue;
        }
        // Another program there could say that it is this one.
        for _ in 0..2 {
            let page = ann.get(&asked).await;
            assert!(page.page.contains("program on your own machine"), "{uri}: {page:?}");
            let given = ann.submit(&asked, &page, &[("act", "allow")]).await;
            assert!(given.location().starts_with(&format!("{uri}?code=")), "{uri}: {}", given.location());
        }
    }
    app.redirect_uri = "http://127.0.0.1:1/cb".to_owned();
    let code = ann.code(&app, RESOURCE, &[]).await;
    let other = App { redirect_uri: "http://127.0.0.1:2/cb".to_owned(), ..app.clone() };
    assert_eq!(
        other.exchange(&code, &[]).await.error(),
        "invalid_grant",
        "the port that was asked for stays"
    );
    Tokens::of(&app.exchange(&code, &[]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_client_has_nothing_of_its_own() {
    let (gateway, tenant, app, ann) = acme().await;
    let public = App::public(&gateway, &tenant, "Public", &[&endpoint(&tenant).await]).await;
    let tokens = ann.authorize(&public, RESOURCE, &[]).await;
    assert_eq!(claims(&tokens.access)["client_id"], public.client);
    let own = public.post("token", &[("grant_type", "client_credentials")]).await;
    assert_eq!((own.status, own.error().as_str()), (400, "unauthorized_client"));
    let asked = public.post("introspect", &[("token", &tokens.access)]).await;
    assert_eq!((asked.status, asked.error().as_str()), (401, "invalid_client"), "it may be anybody");
    let secret = App { secret: app.secret.clone(), ..public.clone() };
    assert_eq!(secret.refresh(&tokens.refresh, &[]).await.error(), "invalid_client");
    for absent in ["password", "implicit", "urn:example:other"] {
        let refused =
            app.post("token", &[("grant_type", absent), ("username", "ann"), ("password", "x")]).await;
        assert_eq!((refused.status, refused.error().as_str()), (400, "unsupported_grant_type"), "{absent}");
    }
    assert_eq!(public.post("revoke", &[("token", &tokens.access)]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_gives_so_many_codes_and_no_more() {
    let (_gateway, _tenant, app, ann) = acme().await;
    ann.authorize(&app, RESOURCE, &[]).await;
    let path = app.ask(RESOURCE, &[]);
    let mut given = 0;
    let limited = loop {
        let shown = ann.get(&path).await;
        if shown.status != 303 {
            break shown;
        }
        given += 1;
        assert!(given < 200, "there is no end to it");
    };
    assert_eq!((limited.status, limited.code().as_str()), (429, "sign_in_limited"));
    assert!(given >= 50, "{given}");
}
