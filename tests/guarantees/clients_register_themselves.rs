//! R3, R5, R66: clients register themselves (RFC 7591) where the tenant lets them, within bounds, and manage their registration
//! (RFC 7592); what they say of themselves is checked.

use std::time::Duration;

use crypto::key::KeyKind;
use harness::{
    Answered, App, Gateway, Machine, Person, Tenant,
    app::Tokens,
    eventually,
    machine::{FormBody as _, send},
    text,
};
use serde_json::{Value, json};

use crate::machines_prove_who_they_are::with_another_secret;

/// A tenant with an endpoint, where clients register as `by` says; gives the endpoint's id.
pub(crate) async fn acme(gateway: &Gateway, slug: &str, by: &str) -> (Tenant, String) {
    let tenant = gateway.tenant(slug).await;
    let tools = text(&tenant.post("/endpoints", json!({"slug": "tools", "name": "tools"})).await, "id");
    admit(&tenant, by, &tools).await;
    eventually("the issuer knows", async || {
        metadata(gateway, slug).await.get("registration_endpoint").is_some() == (by != "off")
    })
    .await;
    (tenant, tools)
}

async fn admit(tenant: &Tenant, by: &str, endpoint: &str) {
    let policy = json!({"dynamic": {"by": by, "endpoint_ids": [endpoint]}});
    tenant.admin.patch(&format!("{}/registration", tenant.base), policy).await.unwrap();
}

async fn metadata(gateway: &Gateway, slug: &str) -> Value {
    let url = format!("{}/.well-known/oauth-authorization-server/t/{slug}", gateway.auth_url);
    reqwest::get(url).await.unwrap().json().await.unwrap()
}

fn post(gateway: &Gateway, slug: &str, said: &Value) -> reqwest::RequestBuilder {
    reqwest::Client::new().post(format!("{}/t/{slug}/register", gateway.auth_url)).json(said)
}

async fn register(gateway: &Gateway, slug: &str, said: Value) -> Answered {
    send(post(gateway, slug, &said)).await
}

fn app() -> Value {
    json!({
        "client_name": "App", "redirect_uris": ["http://localhost:3000/callback"], "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
    })
}

fn is(answered: &Answered, status: u16, error: &str, code: &str) {
    let seen = (answered.status, answered.error(), answered.code());
    assert_eq!(seen, (status, error.to_owned(), code.to_owned()), "{answered:?}");
    assert_eq!(answered.headers["cache-control"], "no-store");
}

/// A request to where a registration is managed.
fn manage(gateway: &Gateway, made: &Value, method: &str, token: &str) -> reqwest::RequestBuilder {
    let path = text(made, "registration_client_uri").replace("http://127.0.0.1:2", &gateway.auth_url);
    reqwest::Client::new().request(method.parse().unwrap(), path).bearer_auth(token)
}

async fn initial_token(tenant: &Tenant, max_uses: u32) -> (String, String) {
    let made = json!({"name": "for the deployment", "max_uses": max_uses});
    let made = tenant.post("/registration/tokens", made).await;
    (text(&made, "id"), text(&made, "token"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_registers_a_client_unless_the_tenant_says_so() {
    let gateway = Gateway::with_proxies(0).await;
    let (tenant, tools) = acme(&gateway, "acme", "off").await;
    is(&register(&gateway, "acme", app()).await, 403, "access_denied", "oauth_registration_closed");
    let shown = tenant.admin.get(&format!("{}/registration", tenant.base)).await.unwrap();
    assert_eq!((&shown["documents"]["from"], &shown["dynamic"]["by"]), (&json!("off"), &json!("off")));
    assert!(metadata(&gateway, "acme").await.get("client_id_metadata_document_supported").is_none());

    admit(&tenant, "token", &tools).await;
    eventually("it is announced", async || {
        metadata(&gateway, "acme").await["registration_endpoint"] == "http://127.0.0.1:2/t/acme/register"
    })
    .await;
    is(&register(&gateway, "acme", app()).await, 401, "invalid_token", "oauth_registration_token_invalid");
    let wrong = [
        "pit_000000000000_00000000000000000000000000000000000000".to_owned(),
        "x".to_owned(),
        // Of another tenant.
        {
            let (other, _) = acme(&gateway, "other", "token").await;
            initial_token(&other, 1).await.1
        },
    ];
    for token in wrong {
        let refused = send(post(&gateway, "acme", &app()).bearer_auth(&token)).await;
        is(&refused, 401, "invalid_token", "oauth_registration_token_invalid");
        assert_eq!(refused.headers["www-authenticate"], "Bearer error=\"invalid_token\"");
    }
    let (_, token) = initial_token(&tenant, 1).await;
    let guessed = with_another_secret(KeyKind::InitialAccessToken, &token);
    let refused = send(post(&gateway, "acme", &app()).bearer_auth(&guessed)).await;
    is(&refused, 401, "invalid_token", "oauth_registration_token_invalid");
    // One that is good makes as many clients as it was made for.
    let (id, token) = initial_token(&tenant, 2).await;
    for _ in 0..2 {
        let made = send(post(&gateway, "acme", &app()).bearer_auth(&token)).await;
        assert_eq!(made.status, 201, "{made:?}");
    }
    let refused = send(post(&gateway, "acme", &app()).bearer_auth(&token)).await;
    is(&refused, 401, "invalid_token", "oauth_registration_token_invalid");
    let tokens = tenant.admin.get(&format!("{}/registration/tokens", tenant.base)).await.unwrap();
    assert_eq!((&tokens["items"][1]["id"], &tokens["items"][1]["uses"]), (&json!(id), &json!(2)));
    assert!(!tokens.to_string().contains(&token), "shown once");
    // One that has ended, and one that was deleted, make none.
    let (id, token) = initial_token(&tenant, 1).await;
    tenant.admin.delete(&format!("{}/registration/tokens/{id}", tenant.base)).await.unwrap();
    let refused = send(post(&gateway, "acme", &app()).bearer_auth(&token)).await;
    is(&refused, 401, "invalid_token", "oauth_registration_token_invalid");
    let (_, token) = initial_token(&tenant, 1).await;
    gateway.control_clock().set_forward(Duration::from_secs(25 * 60 * 60));
    let refused = send(post(&gateway, "acme", &app()).bearer_auth(&token)).await;
    is(&refused, 401, "invalid_token", "oauth_registration_token_invalid");
    // Both are on record.
    let refused = tenant.audit("method=register_client&decision=refused").await;
    assert!(refused.iter().any(|record| record["code"] == "oauth_registration_closed"), "{refused:?}");
    assert!(refused.iter().all(|record| text(record, "actor") == "stranger"), "{refused:?}");
    let made = tenant.audit("method=register_client&decision=allowed").await;
    assert_eq!(made.len(), 2);
    assert!(text(&made[0], "target").contains(" by iat_"), "{made:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_registers_itself_is_a_client_like_any_other() {
    let gateway = Gateway::with_proxies(0).await;
    let (tenant, tools) = acme(&gateway, "acme", "open").await;
    let (_, token) = initial_token(&tenant, 5).await;
    let machine = json!({"client_name": "Batch", "grant_types": ["client_credentials"], "scope": "tools",
        "software_id": "batch", "software_version": "1", "client_uri": "https://app.example/"});
    let made = send(post(&gateway, "acme", &machine).bearer_auth(&token)).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.headers["cache-control"], "no-store");
    let body = &made.body;
    assert_eq!(body["token_endpoint_auth_method"], "client_secret_basic");
    assert_eq!((&body["response_types"], &body["client_secret_expires_at"]), (&json!([]), &json!(0)));
    assert_eq!((&body["scope"], &body["software_id"]), (&json!("tools"), &json!("batch")));
    let path = format!("{}/clients/{}", tenant.base, text(body, "client_id"));
    let client = tenant.admin.get(&path).await.unwrap();
    assert!(text(&client, "name").starts_with("Batch ("), "{client}");
    let endpoints = tenant.admin.get(&format!("{path}/endpoints")).await.unwrap();
    assert_eq!(endpoints["items"][0]["endpoint_id"], tools);
    // It gets tokens by what it has named, and by nothing else.
    let own = Machine {
        client: text(body, "client_id"),
        secret: text(body, "client_secret"),
        url: format!("{}/t/acme", gateway.auth_url),
        ..Machine::new(&gateway, &tenant, "made", &[&tools]).await
    };
    let asked = own.ask(&[]).await;
    assert_eq!(asked.status, 200, "{asked:?}");
    tenant.admin.patch(&path, json!({"enabled": false})).await.unwrap();
    assert_eq!(own.ask(&[]).await.error(), "invalid_client", "disabled like any other");

    // Whom nobody vouches for acts for users alone; so does whoever has said no more.
    let refused = register(&gateway, "acme", machine).await;
    is(&refused, 400, "invalid_client_metadata", "oauth_client_metadata_invalid");
    let said = json!({"redirect_uris": ["https://app.example/cb"], "token_endpoint_auth_method": "client_secret_post"});
    let made = register(&gateway, "acme", said).await;
    assert_eq!((made.status, &made.body["grant_types"]), (201, &json!(["authorization_code"])), "{made:?}");
    let own =
        Machine { client: text(&made.body, "client_id"), secret: text(&made.body, "client_secret"), ..own };
    let refused = own.ask(&[]).await;
    assert_eq!((refused.status, refused.error().as_str()), (400, "unauthorized_client"), "{refused:?}");
    // Keys by which it signs who it is.
    let key = crate::tenants_are_isolated::ed25519("one");
    let said = json!({"redirect_uris": ["https://app.example/cb"], "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [key]}});
    let made = register(&gateway, "acme", said).await;
    assert_eq!((made.status, made.body.get("client_secret")), (201, None), "{made:?}");
    let path = format!("{}/clients/{}/public-keys", tenant.base, text(&made.body, "client_id"));
    assert_eq!(tenant.admin.get(&path).await.unwrap()["items"][0]["key"]["kid"], "one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_says_of_itself_is_checked() {
    let gateway = Gateway::with_proxies(0).await;
    let (_, _) = acme(&gateway, "acme", "open").await;
    let with = |name: &str, value: Value| {
        let mut said = app();
        said[name] = value;
        said
    };
    for uri in [
        "http://app.example/cb",
        "javascript:alert(1)",
        "https://a@app.example/",
        "https://app.example/#x",
        "app:/cb",
    ] {
        let refused = register(&gateway, "acme", with("redirect_uris", json!([uri]))).await;
        is(&refused, 400, "invalid_redirect_uri", "oauth_redirect_uri_invalid");
    }
    for (name, value) in [
        ("grant_types", json!(["implicit"])),
        ("response_types", json!(["token"])),
        ("jwks_uri", json!("https://app.example/keys")),
    ] {
        let refused = register(&gateway, "acme", with(name, value)).await;
        is(&refused, 400, "invalid_client_metadata", "oauth_client_metadata_invalid");
    }
    // Several more, from another address.
    let http =
        reqwest::Client::builder().local_address(std::net::IpAddr::from([127, 0, 0, 2])).build().unwrap();
    let url = format!("{}/t/acme/register", gateway.auth_url);
    let form = send(http.post(&url).form(&[("client_name", "x")])).await;
    is(&form, 400, "invalid_client_metadata", "oauth_client_metadata_invalid");
    let long = send(http.post(&url).json(&json!({"client_name": "x".repeat(17 * 1024)}))).await;
    is(&long, 413, "invalid_request", "request_too_large");
    let twice = http.post(&url).header("content-type", "application/json");
    let twice = send(twice.body(r#"{"client_name": "a", "client_name": "b"}"#)).await;
    is(&twice, 400, "invalid_client_metadata", "oauth_client_metadata_invalid");
    let unknown = send(http.post(format!("{}/t/nobody/register", gateway.auth_url)).json(&app())).await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_is_managed_by_its_own_token_alone() {
    let gateway = Gateway::with_proxies(0).await;
    let (tenant, _) = acme(&gateway, "acme", "open").await;
    let one = register(&gateway, "acme", app()).await.body;
    let two = register(&gateway, "acme", app()).await.body;
    let token = text(&one, "registration_access_token");
    let read = send(manage(&gateway, &one, "GET", &token)).await;
    assert_eq!((read.status, &read.body["client_id"]), (200, &one["client_id"]), "{read:?}");
    assert!(read.body.get("registration_access_token").is_none());
    // Another client's token, another client, none that exists, and no token: answered alike.
    let mut unknown = one.clone();
    unknown["registration_client_uri"] = text(&one, "registration_client_uri")
        .replace(&text(&one, "client_id"), "cl_01hzy3v5d1f4m8q2w6x9c0b7ka")
        .into();
    let mut answers = Vec::new();
    let guessed = with_another_secret(KeyKind::RegistrationToken, &token);
    for (made, token) in [
        (&one, guessed.as_str()),
        (&two, token.as_str()),
        (&unknown, &token),
        (&one, "x"),
        (&one, &text(&two, "registration_access_token")),
    ] {
        for method in ["GET", "PUT", "DELETE"] {
            let refused = send(manage(&gateway, made, method, token).json(&app())).await;
            is(&refused, 401, "invalid_token", "oauth_registration_token_invalid");
            answers.push(refused.body);
        }
    }
    assert!(answers.windows(2).all(|two| two[0] == two[1]));

    // It is replaced whole, and takes effect.
    let put = async |said: Value| send(manage(&gateway, &one, "PUT", &token).json(&said)).await;
    let mut said = app();
    said["client_id"] = one["client_id"].clone();
    said["redirect_uris"] = json!(["https://app.example/cb"]);
    assert_eq!(put(said.clone()).await.status, 200);
    let path = format!("{}/clients/{}", tenant.base, text(&one, "client_id"));
    assert_eq!(tenant.admin.get(&path).await.unwrap()["redirect_uris"], json!(["https://app.example/cb"]));
    for (name, value) in [
        ("client_id", two["client_id"].clone()),
        ("client_id", Value::Null),
        ("client_secret", json!("x")),
        ("registration_access_token", json!(token)),
        ("token_endpoint_auth_method", json!("client_secret_basic")),
        ("grant_types", json!(["client_credentials"])),
    ] {
        let mut wrong = said.clone();
        wrong[name] = value;
        is(&put(wrong).await, 400, "invalid_client_metadata", "oauth_client_metadata_invalid");
    }
    let mut wrong = said.clone();
    wrong["redirect_uris"] = json!(["http://evil.example/"]);
    is(&put(wrong).await, 400, "invalid_redirect_uri", "oauth_redirect_uri_invalid");

    // An administrator's word counts more: who is disabled manages nothing.
    tenant.admin.patch(&path, json!({"enabled": false})).await.unwrap();
    is(
        &send(manage(&gateway, &one, "GET", &token)).await,
        401,
        "invalid_token",
        "oauth_registration_token_invalid",
    );
    tenant.admin.patch(&path, json!({"enabled": true})).await.unwrap();
    let gone = send(manage(&gateway, &one, "DELETE", &token)).await;
    assert_eq!(gone.status, 204, "{gone:?}");
    is(
        &send(manage(&gateway, &one, "GET", &token)).await,
        401,
        "invalid_token",
        "oauth_registration_token_invalid",
    );
    assert!(tenant.admin.get(&path).await.is_err());
    let acts = tenant.audit("method=delete_registered_client").await;
    assert_eq!(text(&acts[0], "actor"), text(&one, "client_id"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_register_a_bounded_number_of_clients_and_unused_ones_go_again() {
    let gateway = Gateway::with_proxies(0).await;
    let (tenant, _) = acme(&gateway, "acme", "open").await;
    let mut made = Vec::new();
    let refused = loop {
        let answered = register(&gateway, "acme", app()).await;
        match answered.status {
            201 => made.push(answered.body),
            _ => break answered,
        }
    };
    is(&refused, 429, "temporarily_unavailable", "token_requests_limited");
    assert!(refused.headers.contains_key("retry-after"));
    assert!((12..=14).contains(&made.len()), "{}", made.len());
    // Neither other addresses nor those with a token wait for them.
    let http =
        reqwest::Client::builder().local_address(std::net::IpAddr::from([127, 0, 0, 2])).build().unwrap();
    let url = format!("{}/t/acme/register", gateway.auth_url);
    assert_eq!(send(http.post(&url).json(&app())).await.status, 201);
    let (_, token) = initial_token(&tenant, 1).await;
    let vouched = send(post(&gateway, "acme", &app()).bearer_auth(&token)).await;
    assert_eq!(vouched.status, 201);

    // After a day without a token they are gone, but for the one that somebody vouched for.
    gateway.control_clock().set_forward(Duration::from_secs(25 * 60 * 60));
    let replica = gateway.replica().await;
    replica.control_clock().set_forward(Duration::from_secs(25 * 60 * 60));
    let mut later = replica;
    later.stop_control().await;
    later.start_control().await;
    let clients = format!("{}/clients?limit=100", tenant.base);
    eventually("the unused ones are gone", async || {
        tenant.admin.get(&clients).await.unwrap()["items"].as_array().unwrap().len() == 1
    })
    .await;
    let left = tenant.admin.get(&clients).await.unwrap();
    assert_eq!(left["items"][0]["id"], vouched.body["client_id"]);
    let acts = tenant.audit("method=delete_unused_clients").await;
    assert_eq!(text(&acts[0], "actor"), "system");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_registers_itself_acts_for_people_who_agree_and_for_nobody_else() {
    let gateway = Gateway::with_proxies(0).await;
    let (tenant, tools) = acme(&gateway, "acme", "open").await;
    let ann = Person::join(&gateway, &tenant, "ann@example.com").await;
    let resource = "http://127.0.0.1:3/acme/tools/mcp";
    let made = register(&gateway, "acme", app()).await;
    let app = App {
        client: text(&made.body, "client_id"),
        redirect_uri: "http://localhost:3000/callback".to_owned(),
        ..App::public(&gateway, &tenant, "other", &[&tools]).await
    };
    let page = ann.get(&app.ask(resource, &[])).await;
    assert!(page.page.contains("It has registered itself."), "{page:?}");
    let tokens = ann.authorize(&app, resource, &[]).await;
    Tokens::of(&app.refresh(&tokens.refresh, &[]).await);
    let own = app.post("token", &[("grant_type", "client_credentials")]).await;
    assert_eq!((own.status, own.error().as_str()), (400, "unauthorized_client"), "{own:?}");
    // Ended by itself, what it was given ends.
    let token = text(&made.body, "registration_access_token");
    assert_eq!(send(manage(&gateway, &made.body, "DELETE", &token)).await.status, 204);
    let refused = app.refresh(&tokens.refresh, &[]).await;
    assert_eq!((refused.status, refused.error().as_str()), (401, "invalid_client"), "{refused:?}");
}
