//! R3: a member lets a client act for them by authorization code with PKCE (OAuth 2.1, RFC 6749, 7636, 8252, 8707, 9207, 9700): each
//! row of what these standards imply is a test.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use harness::{
    App, Gateway, Person, Tenant, Tokens,
    app::{CHALLENGE, told},
    text,
};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

const RESOURCE: &str = "http://127.0.0.1:3/acme/tools/mcp";
const ISSUER: &str = "http://127.0.0.1:2/t/acme";

/// A tenant with one endpoint that an application with a secret may use, and a member.
pub(crate) async fn acme() -> (Gateway, Tenant, App, Person) {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = text(&tenant.post("/endpoints", json!({"slug": "tools", "name": "n"})).await, "id");
    let app = App::confidential(&gateway, &tenant, "Helper", &[&endpoint]).await;
    let ann = Person::join(&gateway, &tenant, "ann@example.com").await;
    (gateway, tenant, app, ann)
}

pub(crate) async fn endpoint(tenant: &Tenant) -> String {
    text(&tenant.admin.get(&format!("{}/endpoints", tenant.base)).await.unwrap()["items"][0], "id")
}

pub(crate) async fn sql(gateway: &Gateway, statement: &'static str) {
    let mut conn = PgConnection::connect(&gateway.database_url).await.unwrap();
    sqlx::raw_sql(statement).execute(&mut conn).await.unwrap();
}

pub(crate) fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_agrees_and_the_client_gets_a_token_for_that_endpoint() {
    let (gateway, tenant, app, ann) = acme().await;
    let metadata =
        reqwest::get(format!("{}/t/acme/.well-known/oauth-authorization-server", gateway.auth_url));
    let metadata: Value = metadata.await.unwrap().json().await.unwrap();
    assert_eq!(metadata["authorization_endpoint"], format!("{ISSUER}/authorize"));
    assert_eq!(metadata["code_challenge_methods_supported"], json!(["S256"]));
    assert_eq!(metadata["response_types_supported"], json!(["code"]));
    assert_eq!(metadata["authorization_response_iss_parameter_supported"], true);
    assert!(metadata["token_endpoint_auth_methods_supported"].as_array().unwrap().contains(&json!("none")));

    let path = app.ask(RESOURCE, &[]);
    let page = ann.get(&path).await;
    assert_eq!(page.status, 200, "{page:?}");
    for said in ["Helper", "app.example", RESOURCE, "ann@example.com"] {
        assert!(page.page.contains(said), "{said}: {}", page.page);
    }
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("form-action 'self' https://app.example;"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    let given = ann.submit(&path, &page, &[("act", "allow")]).await;
    assert_eq!(given.status, 303, "never 307, by which the form would go on to the client");
    assert!(given.location().starts_with("https://app.example/callback?code=pcc_"), "{}", given.location());
    assert_eq!(given.headers["referrer-policy"], "no-referrer");
    let answer = told(&given);
    assert_eq!((answer["state"].as_str(), answer["iss"].as_str()), ("the state", ISSUER));

    let exchanged = app.exchange(&answer["code"], &[]).await;
    assert_eq!(exchanged.headers["cache-control"], "no-store");
    let tokens = Tokens::of(&exchanged);
    let claims = claims(&tokens.access);
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!(ann.member), &json!(app.client)), "{claims}");
    assert_eq!((&claims["aud"], &claims["iss"]), (&json!(RESOURCE), &json!(ISSUER)));
    assert!(claims["auth_time"].as_u64().unwrap() <= claims["iat"].as_u64().unwrap());
    assert!(app.is_active(&tokens.access).await && app.is_active(&tokens.refresh).await);

    // Agreed once, it is not asked again.
    let again = ann.get(&path).await;
    assert!(told(&again).contains_key("code"), "{again:?}");
    let asked = ann.get(&app.ask(RESOURCE, &[("prompt", "consent")])).await;
    assert!(asked.page.contains("value=\"allow\""), "but where the client wants it");
    for (method, actor) in
        [("give_consent", &ann.member), ("authorize", &ann.member), ("issue_token", &app.client)]
    {
        let records = tenant.audit(&format!("method={method}")).await;
        assert!(records.iter().any(|record| text(record, "actor") == *actor), "{method}: {records:?}");
    }
    let mut conn = PgConnection::connect(&gateway.database_url).await.unwrap();
    for table in ["authorization_codes", "refresh_tokens"] {
        let rows = format!("SELECT t::text FROM {table} t");
        let rows: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(rows)).fetch_all(&mut conn).await.unwrap();
        let leaked = rows.iter().any(|row| row.contains("pcc_") || row.contains("pcr_"));
        assert!(!rows.is_empty() && !leaked, "{table}: {rows:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_sent_to_where_the_client_has_not_said() {
    let (_gateway, _tenant, app, ann) = acme().await;
    for other in [
        "https://app.example/callback/",
        "https://app.example/callback/more",
        "https://app.example/Callback",
        "https://app.example/callback?x=1",
        "https://app.example/callback#x",
        "https://app.example/%63allback",
        "https://app.example:443/callback",
        "https://user@app.example/callback",
        "https://app.example@evil.example/callback",
        "https://app.example.evil.example/callback",
        "https://evil.example/",
        "//evil.example/callback",
        "http://app.example/callback",
        "javascript:alert(1)",
        "",
    ] {
        // Also what else is wrong is not told anybody there.
        for more in [("state", "s"), ("response_type", "token"), ("prompt", "none")] {
            let refused = ann.get(&app.ask(RESOURCE, &[("redirect_uri", other), more])).await;
            assert_eq!((refused.status, refused.code().as_str()), (400, "authorization_refused"), "{other}");
            assert_eq!(refused.location(), "", "{other}");
        }
    }
    for client in ["", "cl_00000000000000000000000000", "nobody", "https://app.example/client.json"] {
        let refused = ann.get(&app.ask(RESOURCE, &[("client_id", client)])).await;
        assert_eq!(
            (refused.code().as_str(), refused.location().as_str()),
            ("authorization_refused", ""),
            "{client}"
        );
    }
    // A form that was posted leads nowhere else either.
    let path = app.ask(RESOURCE, &[]);
    let page = ann.get(&path).await;
    let elsewhere = path.replace("app.example", "evil.example");
    assert_eq!(ann.submit(&elsewhere, &page, &[("act", "allow")]).await.code(), "form_refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parameter_that_is_said_twice_is_refused() {
    let (_gateway, _tenant, app, ann) = acme().await;
    let path = app.ask(RESOURCE, &[]);
    for twice in
        ["client_id", "redirect_uri", "state", "scope", "resource", "code_challenge", "response_type"]
    {
        let refused = ann.get(&format!("{path}&scope=x&{twice}=y&{twice}=z")).await;
        assert_eq!(
            (refused.code().as_str(), refused.location().as_str()),
            ("authorization_refused", ""),
            "{twice}"
        );
    }
    let code = ann.code(&app, RESOURCE, &[]).await;
    let refused = app.exchange(&code, &[("code", &code), ("code", &code)]).await;
    assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_request"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_is_told_the_client_with_who_says_so() {
    let (gateway, tenant, app, ann) = acme().await;
    tenant.post("/endpoints", json!({"slug": "other", "name": "n"})).await;
    let stranger = Person::new(&gateway, "nobody@example.com");
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("response_type", "token")], "unsupported_response_type"),
        (&[("response_type", "code token")], "unsupported_response_type"),
        (&[("response_type", "id_token")], "unsupported_response_type"),
        (&[("response_type", "")], "invalid_request"),
        (&[("response_mode", "fragment")], "invalid_request"),
        (&[("request", "eyJhbGciOiJub25lIn0.e30.")], "invalid_request"),
        (&[("request_uri", "https://app.example/request")], "invalid_request"),
        (&[("prompt", "none login")], "invalid_request"),
        (&[("prompt", "create")], "invalid_request"),
        (&[("scope", "no_such_scope")], "invalid_scope"),
        (&[("resource", "http://127.0.0.1:3/acme/other/mcp")], "invalid_target"),
        (&[("resource", "http://127.0.0.1:3/acme/tools/mcp/")], "invalid_target"),
        (&[("resource", "https://elsewhere.example/mcp")], "invalid_target"),
        (&[("prompt", "none")], "consent_required"),
    ];
    for (more, error) in cases {
        let answer = told(&ann.get(&app.ask(RESOURCE, more)).await);
        assert_eq!(answer["error"], *error, "{more:?}: {answer:?}");
        assert_eq!((answer["state"].as_str(), answer["iss"].as_str()), ("the state", ISSUER), "{more:?}");
        assert!(!answer.contains_key("code"));
    }
    let answer = told(&stranger.get(&app.ask(RESOURCE, &[("prompt", "none")])).await);
    assert_eq!((answer["error"].as_str(), answer["iss"].as_str()), ("login_required", ISSUER));
    let long = "s".repeat(2_000);
    assert_eq!(told(&ann.get(&app.ask(RESOURCE, &[("state", &long)])).await)["error"], "invalid_request");
    let huge = "s".repeat(10_000);
    assert_eq!(ann.get(&app.ask(RESOURCE, &[("state", &huge)])).await.code(), "authorization_refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_challenge_is_needed_and_plain_is_none() {
    let (_gateway, _tenant, app, ann) = acme().await;
    for more in [
        &[("code_challenge", "")][..],
        &[("code_challenge_method", "")],
        &[("code_challenge_method", "plain")],
        &[("code_challenge_method", "s256")],
        &[("code_challenge", "short")],
        &[("code_challenge", &CHALLENGE[1..])],
        &[("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-c=")],
        &[("code_challenge", ""), ("code_challenge_method", "")],
    ] {
        let answer = told(&ann.get(&app.ask(RESOURCE, more)).await);
        assert_eq!(answer["error"], "invalid_request", "{more:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_refuses_or_may_not_agree_gives_nothing() {
    let (gateway, tenant, app, ann) = acme().await;
    let path = app.ask(RESOURCE, &[]);
    let page = ann.get(&path).await;
    let answer = told(&ann.submit(&path, &page, &[("act", "deny")]).await);
    assert_eq!((answer["error"].as_str(), answer["iss"].as_str()), ("access_denied", ISSUER));
    let refused = tenant.audit("method=authorize&decision=refused&code=access_denied").await;
    assert_eq!(text(&refused[0], "actor"), ann.member);

    // A member of another tenant.
    let other = gateway.tenant("other").await;
    let bob = Person::join(&gateway, &other, "bob@example.com").await;
    let page = bob.get(&path).await;
    assert!(page.status == 403 && page.page.contains("bob@example.com"), "{page:?}");
    for act in ["allow", "deny"] {
        assert_eq!(told(&bob.submit(&path, &page, &[("act", act)]).await)["error"], "access_denied", "{act}");
    }
    assert_eq!(told(&bob.get(&app.ask(RESOURCE, &[("prompt", "none")])).await)["error"], "access_denied");

    let client = format!("{}/clients/{}", tenant.base, app.client);
    let kill = json!({"level": "client", "target": app.client, "reason": "exercise"});
    let made = tenant.post("/kills", kill).await;
    harness::eventually("it is killed", async || ann.get(&path).await.status == 303).await;
    assert_eq!(told(&ann.get(&path).await)["error"], "temporarily_unavailable");
    let lift = format!("{}/kills/{}/lift", tenant.base, text(&made, "id"));
    tenant.admin.post(&lift, json!({"reason": "over", "epoch": made["epoch"]})).await.unwrap();
    tenant.admin.patch(&client, json!({"enabled": false})).await.unwrap();
    assert_eq!(ann.get(&path).await.code(), "authorization_refused", "it is switched off");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_not_signed_in_does_so_first_and_again_when_that_is_asked() {
    let (gateway, _tenant, app, _ann) = acme().await;
    let mut person = Person::new(&gateway, "ann@example.com");
    let path = app.ask(RESOURCE, &[]);
    let page = person.get(&path).await;
    assert!(page.page.contains("name=\"password\"") && page.page.contains("Helper"), "{page:?}");
    assert!(!page.page.contains("value=\"allow\""));
    person.password = "a wrong password".to_owned();
    let wrong = person.sign_in(&path).await;
    assert_eq!((wrong.status, wrong.code().as_str()), (401, "sign_in_refused"));
    person.password = harness::person::PASSWORD.to_owned();
    let signed_in = person.sign_in(&path).await;
    assert_eq!(signed_in.status, 303);
    assert!(signed_in.location().starts_with("/t/acme/authorize?"), "{}", signed_in.location());
    assert!(person.get(&signed_in.location()).await.page.contains("value=\"allow\""));

    let again = app.ask(RESOURCE, &[("prompt", "login")]);
    let before = person.cookie("portcullis");
    assert!(person.get(&again).await.page.contains("name=\"password\""), "asked to again");
    let signed_in = person.sign_in(&again).await;
    assert_ne!(person.cookie("portcullis"), before);
    assert!(person.get(&signed_in.location()).await.page.contains("value=\"allow\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_is_good_for_the_request_that_it_was_shown_for() {
    let (gateway, tenant, app, ann) = acme().await;
    let evil = App::public(&gateway, &tenant, "Evil", &[&endpoint(&tenant).await]).await;
    let page = ann.get(&app.ask(RESOURCE, &[])).await;
    let refused = ann.submit(&evil.ask(RESOURCE, &[]), &page, &[("act", "allow")]).await;
    assert_eq!(refused.code(), "form_refused", "agreed to one, and sent for another");
    let refused = ann.submit(&app.ask(RESOURCE, &[("state", "other")]), &page, &[("act", "allow")]).await;
    assert_eq!(refused.code(), "form_refused");
    let consents = tenant.admin.get(&format!("{}/consents", tenant.base)).await.unwrap();
    assert_eq!(consents["items"], json!([]));
}
