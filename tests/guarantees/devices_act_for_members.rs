//! R5, R57: a device without a browser acts for a member who has typed what it shows and has agreed (RFC 8628), and for nobody else.

use std::{net::IpAddr, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use crypto::{
    jwt::{Algorithm, Jwk, generate},
    key::KeyKind,
};
use harness::{Answered, App, Gateway, Machine, Page, Person, Tenant, Web, text};
use seams::{Clock as _, SystemEntropy};
use serde_json::{Value, json};

use crate::machines_prove_who_they_are::with_another_secret;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
const PATH: &str = "/t/acme/device";

struct World {
    gateway: Gateway,
    tenant: Tenant,
    endpoint: String,
    device: Machine,
    ann: Person,
}

impl World {
    async fn new() -> Self {
        let gateway = Gateway::with_proxies(0).await;
        let tenant = gateway.tenant("acme").await;
        let endpoint =
            text(&tenant.post("/endpoints", json!({"slug": "tools", "name": "tools"})).await, "id");
        let device = Machine::new(&gateway, &tenant, "Printer <b>", &[&endpoint]).await;
        let path = format!("{}/clients/{}", tenant.base, device.client);
        tenant.admin.patch(&path, json!({"redirect_uris": ["https://app.example/cb"]})).await.unwrap();
        let ann = Person::join(&gateway, &tenant, "ann@example.com").await;
        tenant.post("/scopes", json!({"name": "read", "description": "Read"})).await;
        Self { gateway, tenant, endpoint, device, ann }
    }

    async fn begin(&self, more: &[(&str, &str)]) -> Answered {
        self.device.basic("device_authorization", more).await
    }

    async fn ask(&self, code: &str) -> Answered {
        self.device.basic("token", &[("grant_type", GRANT), ("device_code", code)]).await
    }

    fn pass(&self, seconds: u64) {
        self.gateway.control_clock().pass(Duration::from_secs(seconds));
    }
}

fn place(begun: &Answered) -> String {
    assert_eq!(begun.status, 200, "{begun:?}");
    format!("{PATH}?user_code={}", text(&begun.body, "user_code"))
}

fn is(answered: &Answered, error: &str, code: &str) {
    let seen = (answered.status, answered.error(), answered.code());
    assert_eq!(seen, (400, error.to_owned(), code.to_owned()), "{answered:?}");
    assert_eq!(answered.headers["cache-control"], "no-store");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_gets_one_token_when_the_member_has_agreed_and_waits_until_then() {
    let world = World::new().await;
    let begun = world.begin(&[("scope", "read")]).await;
    let place = place(&begun);
    assert_eq!(text(&begun.body, "verification_uri"), format!("{}/device", world.device.issuer));
    assert_eq!((&begun.body["expires_in"], &begun.body["interval"]), (&json!(600), &json!(5)));
    let code = text(&begun.body, "device_code");
    is(&world.ask(&code).await, "authorization_pending", "oauth_authorization_pending");
    is(&world.ask(&code).await, "slow_down", "oauth_slow_down");
    // Whoever asked too soon waits longer from then on.
    world.pass(6);
    is(&world.ask(&code).await, "slow_down", "oauth_slow_down");
    world.pass(20);
    is(&world.ask(&code).await, "authorization_pending", "oauth_authorization_pending");

    // Typed at the page, in any spelling, it leads to what is asked for.
    let page = world.ann.get(PATH).await;
    assert_eq!(page.status, 200, "{page:?}");
    let typed = text(&begun.body, "user_code").to_lowercase().replace('-', " ");
    let found = world.ann.submit(PATH, &page, &[("act", "find"), ("user_code", &typed)]).await;
    assert_eq!((found.status, found.location()), (303, place.clone()), "{found:?}");
    let page = world.ann.get(&place).await;
    assert_eq!(page.status, 200);
    for shown in
        [&text(&begun.body, "user_code"), "Printer &lt;b&gt;", "ann@example.com", "/acme/tools/mcp", ">read<"]
    {
        assert!(page.page.contains(shown), "{shown}: {}", page.page);
    }
    assert!(page.headers["content-security-policy"].to_str().unwrap().contains("frame-ancestors 'none'"));
    let done = world.ann.submit(&place, &page, &[("act", "allow")]).await;
    assert_eq!(done.status, 200, "{done:?}");
    world.pass(20);
    let answered = world.ask(&code).await;
    assert_eq!(answered.status, 200, "{answered:?}");
    let token = text(&answered.body, "access_token");
    let claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap();
    assert_eq!(
        (&claims["sub"], &claims["client_id"]),
        (&json!(world.ann.member), &json!(world.device.client))
    );
    assert_eq!(
        (&claims["scope"], &claims["aud"]),
        (&json!("read"), &json!("http://127.0.0.1:3/acme/tools/mcp"))
    );
    is(&world.ask(&code).await, "invalid_grant", "oauth_assertion_invalid");
    let agreed = world.tenant.audit("method=authorize_device").await;
    assert_eq!(text(&agreed[0], "actor"), world.ann.member);
    // Waiting is no refusal that anybody has to read about.
    assert_eq!(world.tenant.audit("method=issue_token&decision=refused").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_members_yes_there_is_no_token() {
    let world = World::new().await;
    // Refused.
    let begun = world.begin(&[]).await;
    let (at, code) = (place(&begun), text(&begun.body, "device_code"));
    let page = world.ann.get(&at).await;
    assert_eq!(world.ann.submit(&at, &page, &[("act", "deny")]).await.status, 200);
    is(&world.ask(&code).await, "access_denied", "oauth_device_denied");
    let again = world.ann.submit(&at, &page, &[("act", "allow")]).await;
    assert!(again.page.contains("This code has ended"), "{again:?}");
    is(&world.ask(&code).await, "access_denied", "oauth_device_denied");
    // Ended.
    let begun = world.begin(&[]).await;
    let (at, code) = (place(&begun), text(&begun.body, "device_code"));
    let page = world.ann.get(&at).await;
    world.pass(601);
    is(&world.ask(&code).await, "expired_token", "oauth_device_code_expired");
    let late = world.ann.submit(&at, &page, &[("act", "allow")]).await;
    assert!(late.page.contains("This code has ended"), "{late:?}");
    assert_eq!(world.ann.get(&at).await.status, 404);
    // Another client's, and none.
    let begun = world.begin(&[]).await;
    let other = Machine::new(&world.gateway, &world.tenant, "other", &[&world.endpoint]).await;
    let code = text(&begun.body, "device_code");
    let stolen = other.basic("token", &[("grant_type", GRANT), ("device_code", &*code)]).await;
    is(&stolen, "invalid_grant", "oauth_assertion_invalid");
    let guessed = with_another_secret(KeyKind::DeviceCode, &code);
    is(&world.ask(&guessed).await, "invalid_grant", "oauth_assertion_invalid");
    is(
        &world.ask("pdc_000000000000_00000000000000000000000000000000000000").await,
        "invalid_grant",
        "oauth_assertion_invalid",
    );
    // Nobody who is no member, or not signed in, or was shown another page.
    let place = place(&begun);
    let stranger = world.gateway.tenant("other").await;
    let eve = Person::join(&world.gateway, &stranger, "eve@example.com").await;
    assert_eq!(eve.get(&place).await.status, 403);
    let nobody = Person::new(&world.gateway, "nobody@example.com");
    let page = nobody.get(&place).await;
    assert!(page.page.contains("Sign in") && !page.page.contains("Printer"), "{page:?}");
    for form in [
        vec![("act", "allow")],
        vec![("act", "allow"), ("form", "x")],
        vec![("act", "allow"), ("form", &*world.ann.get(PATH).await.field("form"))],
    ] {
        let forged = world.ann.post(&place, &form).await;
        assert_eq!((forged.status, forged.code()), (403, "form_refused".into()), "{forged:?}");
    }
    let elsewhere = world.ann.get(&place).await.field("form");
    let form = [("act", "allow"), ("form", &*elsewhere)];
    let crossed = world
        .ann
        .send(
            harness::machine::FormBody::form(world.ann.request(&place), &form)
                .header("origin", "https://evil.example"),
        )
        .await;
    assert_eq!(crossed.status, 403, "{crossed:?}");
    is(&world.ask(&code).await, "authorization_pending", "oauth_authorization_pending");
    // A member who is switched off meanwhile has not agreed.
    let page = world.ann.get(&place).await;
    world.ann.submit(&place, &page, &[("act", "allow")]).await;
    let member = format!("{}/members/{}", world.tenant.base, world.ann.member);
    world.tenant.admin.patch(&member, json!({"enabled": false})).await.unwrap();
    world.pass(10);
    is(&world.ask(&code).await, "access_denied", "oauth_device_denied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codes_cannot_be_guessed_and_machines_have_none() {
    let world = World::new().await;
    let begun = world.begin(&[]).await;
    let mut statuses = Vec::new();
    for n in 0..14_usize {
        let letter = |n: usize| char::from(b"BCDFGHJKLMNPQRSTVWXZ"[n % 20]);
        let guess = format!("BCDF-GHJ{}", letter(n));
        statuses.push(world.ann.get(&format!("{PATH}?user_code={guess}")).await.status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 404).count(), 10, "{statuses:?}");
    let limited = world.ann.get(&place(&begun)).await;
    assert_eq!(
        (limited.status, limited.code()),
        (429, "sign_in_limited".into()),
        "the right one is not looked for either"
    );
    world.pass(60);
    assert_eq!(world.ann.get(&place(&begun)).await.status, 200);

    // A client that is no program of users has no use for it.
    let machine = Machine::new(&world.gateway, &world.tenant, "machine", &[&world.endpoint]).await;
    let refused = machine.basic("device_authorization", &[]).await;
    is(&refused, "unauthorized_client", "oauth_client_unauthorized");
    let wrong = world.begin(&[("resource", "http://127.0.0.1:3/acme/other/mcp")]).await;
    assert_eq!(wrong.error(), "invalid_target");
    assert_eq!(world.begin(&[("scope", "nothing")]).await.error(), "invalid_scope");
    let bare = world.device.bare("device_authorization", &[]).await;
    assert_eq!((bare.status, bare.error().as_str()), (401, "invalid_client"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_a_document_describes_comes_by_showing_a_code() {
    let world = World::new().await;
    let web = Web::start(&["app.example"]).await;
    world.gateway.dns.set_addresses("app.example", &[&[IpAddr::from([127, 0, 0, 1])]]);
    world.tenant.allow_egress(web.address.port()).await;
    let policy = json!({"documents": {"from": "any", "endpoint_ids": [world.endpoint]}});
    world.tenant.admin.patch(&format!("{}/registration", world.tenant.base), policy).await.unwrap();
    let (key, public) = generate(Algorithm::EdDsa, &SystemEntropy).unwrap();
    let id = web.url("app.example", "/client.json");
    let document = json!({
        "client_id": id, "client_name": "Television", "redirect_uris": ["https://app.example/cb"],
        "grant_types": ["authorization_code", GRANT], "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [Jwk::new("one", &public)]},
    });
    let begin = async |jti: &str, id: &str| {
        let exp = world.gateway.control_clock().now().secs() + 60;
        let claims = json!({"iss": id, "sub": id, "aud": world.device.issuer, "exp": exp, "jti": jti});
        let assertion = key.sign("one", "JWT", &claims).unwrap();
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let form = [("client_id", id), ("client_assertion_type", kind), ("client_assertion", &*assertion)];
        world.device.bare("device_authorization", &form).await
    };
    let unreachable = begin("0", &id).await;
    let seen = (unreachable.status, unreachable.error(), unreachable.code());
    assert_eq!(
        seen,
        (400, "invalid_client".into(), "oauth_client_document_invalid".into()),
        "{unreachable:?}"
    );
    web.set("/client.json", Page::json(document.to_string()));
    world.pass(20);
    let begun = begin("1", &id).await;
    let page = world.ann.get(&place(&begun)).await;
    assert!(
        page.page.contains("Television") && page.page.contains("who it is, at <strong>app.example"),
        "{page:?}"
    );
    // Nor does the path of another tenant's policy admit it.
    world
        .tenant
        .admin
        .patch(&format!("{}/registration", world.tenant.base), json!({"documents": {"from": "off"}}))
        .await
        .unwrap();
    let refused = begin("2", &id).await;
    assert_eq!((refused.status, refused.error().as_str()), (401, "invalid_client"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_withdraws_a_consent_ends_what_the_client_was_given_through_a_device_too() {
    let world = World::new().await;
    let app = App {
        client: world.device.client.clone(),
        secret: Some(world.device.secret.clone()),
        redirect_uri: "https://app.example/cb".to_owned(),
        slug: "acme".to_owned(),
        url: format!("{}/t/acme", world.gateway.auth_url),
        http: reqwest::Client::builder().no_proxy().build().unwrap(),
    };
    world.ann.authorize(&app, "http://127.0.0.1:3/acme/tools/mcp", &[]).await;
    let begun = world.begin(&[]).await;
    let page = world.ann.get(&place(&begun)).await;
    assert_eq!(world.ann.submit(&place(&begun), &page, &[("act", "allow")]).await.status, 200);
    let token = text(&world.ask(&text(&begun.body, "device_code")).await.body, "access_token");
    assert!(app.is_active(&token).await);
    let path = format!("{}/consents", world.tenant.base);
    let consents = world.tenant.admin.get(&path).await.unwrap();
    world.tenant.admin.delete(&format!("{path}/{}", text(&consents["items"][0], "id"))).await.unwrap();
    assert!(!app.is_active(&token).await);
}
