//! R3, R8: what a company's provider says of itself has to be its own; what it lets in by opens its own tenant and touches no account of
//! another; groups say what somebody is, and invitations, switches and the last owner hold.

use harness::{App, Page, Person, person::invite, text};
use seams::{Clock as _, SystemClock};
use serde_json::{Value, json};

use crate::people_sign_in_by_their_company::{HOST, World, refused};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_says_to_be_another_or_leads_astray_is_not_asked() {
    for (why, other) in [
        ("another issuer", json!({"issuer": "https://elsewhere.example"})),
        ("plain HTTP", json!({"token_endpoint": "http://idp.example/token"})),
        ("no URL", json!({"authorization_endpoint": "javascript:alert(1)"})),
        ("none", json!({"jwks_uri": null})),
    ] {
        let world = World::new(json!({"creates_members": true})).await;
        world.describe(&other);
        let ann = world.person("ann@acme.example");
        let shown = ann.get(&format!("/t/acme/sign-in/{}?to=/account", world.id())).await;
        assert!(refused(&shown), "{why}: {shown:?}");
    }
    let world = World::new(json!({"creates_members": true})).await;
    world.describe(&json!({"authorization_response_iss_parameter_supported": true, "token_endpoint_auth_methods_supported": ["client_secret_post"]}));
    let ann = world.person("ann@acme.example");
    let away = world.set_out(&ann, &world.ask(&[])).await;
    let token = world.key.sign("one", "JWT", &world.claims(&away, &ann.email)).unwrap();
    assert!(refused(&world.back_with(&ann, &away, &token, &[]).await), "who says to name itself has to");
    let iss = world.web.url(HOST, "");
    assert_eq!(world.back_with(&ann, &away, &token, &[("iss", &iss)]).await.status, 303);
    let sent = world.web.heads("/token").pop().unwrap();
    assert!(!sent.contains("authorization:") && sent.contains("client_secret=pa%3Ass%2Fword"), "{sent}");
    // One that is away is not believed.
    let world = World::new(json!({})).await;
    world.web.set("/.well-known/openid-configuration", Page { status: 500, ..Page::json("") });
    let shown =
        world.person("x@acme.example").get(&format!("/t/acme/sign-in/{}?to=/account", world.id())).await;
    assert_eq!((shown.status, shown.code().as_str()), (503, "oauth_keys_unavailable"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_opens_its_own_tenant_and_touches_no_account_of_another() {
    let world = World::new(json!({"creates_members": true})).await;
    let other = world.gateway.tenant("other").await;
    // A member of Acme, with an account that is one of another tenant too.
    let ann = Person::join(&world.gateway, &world.acme, "ann@acme.example").await;
    ann.join_too(&invite(&other, "ann@acme.example", "owner").await).await;
    // Whoever the provider says has her address is not her: she has to show it once.
    let thief = world.person("ann@acme.example");
    let back = world.sign_in(&thief, |_| ()).await;
    assert!(refused(&back), "{back:?}");
    assert!(thief.cookie("portcullis").is_none());
    let place = world.ask(&[("prompt", "login")]);
    let away = world.set_out(&ann, &place).await;
    assert_eq!((away.asked["prompt"].as_str(), away.asked["max_age"].as_str()), ("login", "0"));
    let back = world.back(&ann, &away, &world.claims(&away, &ann.email)).await;
    assert_eq!((back.status, back.location()), (303, world.ask(&[])), "{back:?}");
    assert_eq!(world.members().await.len(), 1);

    // What it lets in by is good for Acme alone.
    let fresh = world.person("ann@acme.example");
    assert_eq!(world.sign_in(&fresh, |_| ()).await.status, 303);
    let account = fresh.get("/account").await.page;
    assert!(account.contains(">acme<") && !account.contains(">other<"), "{account}");
    let endpoint = text(&other.post("/endpoints", json!({"slug": "tools", "name": "n"})).await, "id");
    let app = App::public(&world.gateway, &other, "app", &[&endpoint]).await;
    let shown = fresh.get(&app.ask("http://127.0.0.1:3/other/tools/mcp", &[])).await;
    assert_eq!(shown.status, 403, "{shown:?}");
    assert_eq!(fresh.set_out(&world.gateway, "tenant=other").await.unwrap_err().status, 403);
    let third = world.gateway.tenant("third").await;
    let link = invite(&third, "ann@acme.example", "user").await;
    assert_eq!(fresh.answer(&link, &[("act", "join_signed_in")]).await.code(), "form_refused");
    // Signing out of all of these ends no other.
    let page = fresh.get("/account").await;
    fresh.submit("/account", &page, &[("act", "sign_out_everywhere")]).await;
    let own = world.person("ann@acme.example");
    assert_eq!(own.sign_in("/account").await.status, 303, "her password is hers");
    assert!(own.get("/account").await.page.contains(">other<"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_say_what_somebody_is_and_invitations_and_switches_hold() {
    let world = World::new(json!({})).await;
    let role = text(&world.acme.post("/roles", json!({"name": "readers"})).await, "id");
    let path = format!("{}/sign-in-providers/{}", world.acme.base, world.id());
    let patch = async |change: Value| world.acme.admin.patch(&path, change).await.unwrap();
    let ann = world.person("ann@acme.example");
    let back = world.sign_in(&ann, |_| ()).await;
    assert!(refused(&back), "nobody has invited her: {back:?}");
    invite(&world.acme, "ann@acme.example", "auditor").await;
    assert_eq!(world.sign_in(&ann, |_| ()).await.status, 303);
    assert_eq!(world.members().await[0]["admin_role"], "auditor");
    let invitations = world.acme.admin.get(&format!("{}/invitations", world.acme.base)).await.unwrap();
    assert_eq!(invitations["items"], json!([]), "it was good once");

    let rules = json!([
        {"group": "admins", "admin_role": "admin"}, {"group": "devs", "admin_role": "developer", "role_ids": [role]},
    ]);
    patch(json!({"groups_claim": "groups", "rules": rules})).await;
    let member = text(&world.members().await[0], "id");
    let roles = async || {
        let held = format!("{}/members/{member}/roles", world.acme.base);
        world.acme.admin.get(&held).await.unwrap()["items"].as_array().unwrap().len()
    };
    for (groups, admin_role, held) in [
        (json!(["devs", "admins"]), "admin", 1),
        (json!("devs"), "developer", 1),
        (json!(["Devs", 7]), "user", 0),
        (json!({"devs": true}), "user", 0),
    ] {
        let browser = world.person("ann@acme.example");
        let back = world.sign_in(&browser, |claims| claims["groups"] = groups.clone()).await;
        assert_eq!(back.status, 303, "{groups}: {back:?}");
        assert_eq!(
            (&world.members().await[0]["admin_role"], roles().await),
            (&json!(admin_role), held),
            "{groups}"
        );
    }
    // The last owner stays one.
    let owner = format!("{}/members/{member}", world.acme.base);
    world.acme.admin.patch(&owner, json!({"admin_role": "owner"})).await.unwrap();
    assert_eq!(world.sign_in(&world.person("ann@acme.example"), |_| ()).await.status, 303);
    assert_eq!(world.members().await[0]["admin_role"], "owner");

    // By its provider alone.
    let bob = Person::join(&world.gateway, &world.acme, "bob@acme.example").await;
    let cy = Person::join(&world.gateway, &world.acme, "cy@elsewhere.example").await;
    patch(json!({"passwords": false})).await;
    for (person, status) in [(&bob, 401), (&cy, 303)] {
        assert_eq!(
            world.person(&person.email).sign_in(&world.ask(&[])).await.status,
            status,
            "{}",
            person.email
        );
    }
    assert_eq!(bob.get(&world.ask(&[])).await.status, 403, "a session of before");
    assert_eq!(world.sign_in(&world.person("ann@acme.example"), |_| ()).await.status, 303);

    // Switched off: the member, the provider, and the tenant.
    Person::join_as(&world.gateway, &world.acme, "boss@elsewhere.example", "owner").await;
    world.acme.admin.patch(&owner, json!({"enabled": false})).await.unwrap();
    assert!(refused(&world.sign_in(&world.person("ann@acme.example"), |_| ()).await));
    let records = world.acme.audit("method=sign_in&decision=refused&code=company_sign_in_refused").await;
    assert_eq!((records.len(), text(&records[0], "actor")), (1, member.clone()));
    world.acme.admin.patch(&owner, json!({"enabled": true})).await.unwrap();
    let link = format!("/t/acme/sign-in/{}?to=/account", world.id());
    assert_eq!(ann.get(&link).await.status, 303);
    world.gateway.operator.patch(&world.acme.base, json!({"suspended": true})).await.unwrap();
    assert_eq!(ann.get(&link).await.code(), "form_refused");
    world.gateway.operator.patch(&world.acme.base, json!({"suspended": false})).await.unwrap();
    patch(json!({"enabled": false})).await;
    assert_eq!(ann.get(&link).await.code(), "form_refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dangerous_needs_that_the_provider_says_when_somebody_signed_in() {
    let world = World::new(json!({})).await;
    invite(&world.acme, "ann@acme.example", "owner").await;
    let ann = world.person("ann@acme.example");
    assert_eq!(world.sign_in(&ann, |_| ()).await.status, 303);
    let admin = ann.administer(&world.gateway, "acme").await;
    let token = json!({"name": "n", "scopes": ["keys:read"]});
    let tokens = format!("{}/admin-tokens", world.acme.base);
    let (status, problem) = admin.post(&tokens, token.clone()).await;
    assert_eq!(
        (status, &problem["code"]),
        (403, &json!("sign_in_too_old")),
        "a sign-in of whenever: {problem}"
    );
    // Anew, and said so.
    let place = world.ask(&[("prompt", "login")]);
    for (why, time) in [("not said", Value::Null), ("not anew", json!(SystemClock.now().secs() - 600))] {
        let away = world.set_out(&ann, &place).await;
        let mut claims = world.claims(&away, &ann.email);
        claims["auth_time"] = time;
        assert!(refused(&world.back(&ann, &away, &claims).await), "{why}");
    }
    let away = world.set_out(&ann, &place).await;
    assert_eq!(world.back(&ann, &away, &world.claims(&away, &ann.email)).await.status, 303);
    let admin = ann.administer(&world.gateway, "acme").await;
    assert_eq!(admin.post(&tokens, token).await.0, 201);
    // And nobody makes one that gives more than they have.
    let rules = json!([{"group": "g", "admin_role": "owner"}]);
    let scopes = json!({"name": "less", "scopes": ["*:read", "sign_in_providers:write", "members:write"]});
    let less = world.acme.post("/admin-tokens", scopes).await;
    let less = world.acme.admin.with_token(text(&less, "token").into());
    let path = format!("{}/sign-in-providers/{}", world.acme.base, world.id());
    let refused =
        less.patch(&path, json!({"groups_claim": "g", "rules": rules})).await.unwrap_err().to_string();
    assert!(refused.contains("403"), "{refused}");
}
