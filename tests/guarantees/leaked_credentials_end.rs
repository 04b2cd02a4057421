//! R2, R58, R59: whoever finds a credential where it should not be can end it by showing it, and nothing else of anybody's.

use crypto::key::{self, KeyKind};
use harness::{Caller, Gateway, Machine, Tenant, Upstream, eventually, text, tool};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

async fn report(gateway: &Gateway, body: &Value) -> (u16, Value) {
    let url = format!("{}/v1/leaks", gateway.control_url);
    let response = reqwest::Client::new().post(url).json(body).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// What the tenant's log has of reports.
async fn reported(tenant: &Tenant) -> Vec<Value> {
    let records = tenant.audit("limit=200").await;
    records.into_iter().filter(|record| record["method"] == "report_leak").collect()
}

async fn outcomes(gateway: &Gateway, tokens: &[&str]) -> Vec<String> {
    let body: Vec<_> = tokens.iter().map(|token| json!({"token": token})).collect();
    let (status, answer) = report(gateway, &json!(body)).await;
    assert_eq!(status, 200, "{answer}");
    answer["outcomes"].as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_key_that_is_found_dies_everywhere_and_the_log_says_where_it_was() {
    let gateway = Gateway::with_proxies(2).await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let (acme, other) = (gateway.tenant("acme").await, gateway.tenant("other").await);
    let endpoint = acme.endpoint("tools", &upstream).await;
    acme.grant(&endpoint, &["echo"]).await;
    let second = acme
        .post(&format!("/clients/{}/keys?wait=applied", endpoint.client), json!({"name": "second"}))
        .await;
    let spared = Caller::new(&endpoint.url, &text(&second, "key"));
    assert_eq!((endpoint.caller().call("echo").await.status, spared.call("echo").await.status), (200, 200));

    let found = json!([{"token": endpoint.key.expose_secret(), "type": "portcullis_api_key",
        "url": "https://git.example/acme/app/blob/main/.env#L3\u{202e}\n", "source": "content"}]);
    let (status, answer) = report(&gateway, &found).await;
    assert_eq!((status, &answer["outcomes"]), (200, &json!(["revoked"])));
    eventually("every proxy refuses it", async || {
        let mut refused = true;
        for proxy in 0..2 {
            let url = format!("{}{}", gateway.url(proxy), endpoint.path);
            let seen = Caller::new(&url, endpoint.key.expose_secret()).call("echo").await;
            refused &= (seen.status, seen.code().as_str()) == (401, "credential_invalid");
        }
        refused
    })
    .await;
    assert_eq!(spared.call("echo").await.status, 200, "another key of the client");
    let records = reported(&acme).await;
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["actor"], "stranger");
    let target = records[0]["target"].as_str().unwrap();
    assert_eq!(target, format!("{} https://git.example/acme/app/blob/main/.env#L3", endpoint.key_id));
    assert!(reported(&other).await.is_empty());
    // Whoever finds it again is told the same, and nothing is done.
    assert_eq!(outcomes(&gateway, &[endpoint.key.expose_secret()]).await, ["revoked"]);
    assert_eq!(reported(&acme).await.len(), 1);
}

#[tokio::test]
async fn secrets_and_tokens_end_with_what_they_were_good_for() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    let machine = Machine::new(&gateway, &tenant, "machine", &[&endpoint.id]).await;
    let grant = json!({"subject": {"client": machine.client}, "actions":
        [{"action": "call_tool", "upstream": endpoint.upstream, "tools": {"names": ["echo"]}}]});
    tenant.post("/grants?wait=applied", grant).await;
    let caller = Caller::new(&endpoint.url, &machine.token().await);
    assert_eq!(caller.call("echo").await.status, 200);

    assert_eq!(outcomes(&gateway, &[&machine.secret]).await, ["revoked"]);
    assert_eq!(machine.ask(&[]).await.status, 401, "the secret gets no more tokens");
    eventually("the tokens that it got are dead", async || caller.call("echo").await.status == 401).await;

    let initial = text(&tenant.post("/registration/tokens", json!({"name": "first"})).await, "token");
    let automation = json!({"name": "ci", "scopes": ["keys:read"]});
    let admin = text(&tenant.post("/admin-tokens", automation).await, "token");
    let list = format!("{}{}/clients/{}/keys", gateway.control_url, tenant.base, endpoint.client);
    let sees = async || {
        reqwest::Client::new().get(&list).bearer_auth(&admin).send().await.unwrap().status().as_u16()
    };
    assert_eq!(sees().await, 200);
    assert_eq!(outcomes(&gateway, &[&initial, &admin]).await, ["revoked", "revoked"]);
    assert_eq!(sees().await, 401);
    let tokens = tenant.admin.get(&format!("{}/registration/tokens", tenant.base)).await.unwrap();
    assert_eq!(tokens["items"], json!([]));
    // An operator's is told of, and stays: an installation without any could not be mended.
    assert_eq!(outcomes(&gateway, &[gateway.operator_token().expose_secret()]).await, ["operators_told"]);
    gateway.operator.get("/v1/tenants").await.unwrap();
}

#[tokio::test]
async fn what_is_not_ours_changes_nothing_and_guessing_is_slowed() {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let client = text(&tenant.post("/clients", json!({"name": "c"})).await, "id");
    let keys = format!("/clients/{client}/keys");
    let good = text(&tenant.post(&keys, json!({"name": "first"})).await, "key");
    let secrets = format!("/clients/{client}/secrets");
    let secret = text(&tenant.post(&secrets, json!({"name": "first"})).await, "secret");
    let automation = json!({"name": "ci", "scopes": ["keys:read"]});
    let admin = text(&tenant.post("/admin-tokens", automation).await, "token");
    let initial = text(&tenant.post("/registration/tokens", json!({"name": "first"})).await, "token");
    // Public parts of good ones with another secret.
    let other = key::mint(KeyKind::ApiKey, &seams::SystemEntropy).text;
    let forged = [good, secret, admin, initial, gateway.operator_token().expose_secret().to_owned()]
        .map(|text| forge(&text, other.expose_secret()));
    let strangers: Vec<_> =
        forged.iter().map(String::as_str).chain([other.expose_secret(), "pck_short", "x", ""]).collect();
    assert_eq!(outcomes(&gateway, &strangers).await, ["unknown"; 9]);
    for list in [keys, secrets, "/admin-tokens".to_owned()] {
        let listed = tenant.admin.get(&format!("{}{list}", tenant.base)).await.unwrap();
        for item in listed["items"].as_array().unwrap() {
            assert_eq!(item["revoked_at"], Value::Null, "{list}");
        }
    }
    let tokens = tenant.admin.get(&format!("{}/registration/tokens", tenant.base)).await.unwrap();
    assert_eq!(tokens["items"].as_array().unwrap().len(), 1);

    for wrong in [json!([]), json!(vec![json!({"token": "x"}); 33]), json!([{"token": "x".repeat(4097)}])] {
        assert_eq!(report(&gateway, &wrong).await.0, 422);
    }
    assert_eq!(report(&gateway, &json!([{"token": "x", "password": "y"}])).await.0, 422);
    let many = json!(vec![json!({"token": "x"}); 32]);
    let mut refused = None;
    for _ in 0..64 {
        let (status, answer) = report(&gateway, &many).await;
        if status == 429 {
            refused = Some(answer);
            break;
        }
    }
    assert_eq!(refused.expect("guessing goes on for ever")["code"], "address_limited");
}

/// The first with the second's secret, and a checksum that fits: otherwise it would not even be looked for.
fn forge(key: &str, other: &str) -> String {
    let body = format!("{}{}", &key[..17], &other[17..49]);
    let sum = crc32fast::hash(body.as_bytes());
    let digits = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let digit = |place: u32| char::from(digits[(u64::from(sum) / 62u64.pow(place) % 62) as usize]);
    let sum: String = (0..6).rev().map(digit).collect();
    format!("{body}{sum}")
}

#[tokio::test]
async fn scanners_can_find_what_it_takes() {
    let gateway = Gateway::with_proxies(0).await;
    let url = format!("{}/v1/credential-format", gateway.control_url);
    let format: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
    let regex = regex::Regex::new(format["regex"].as_str().unwrap()).unwrap();
    let kinds = [
        KeyKind::ApiKey,
        KeyKind::ClientSecret,
        KeyKind::AdminToken,
        KeyKind::OperatorToken,
        KeyKind::JoinToken,
        KeyKind::InitialAccessToken,
        KeyKind::RegistrationToken,
        KeyKind::DeviceCode,
    ];
    for kind in kinds {
        let minted = key::mint(kind, &seams::SystemEntropy).text;
        let line = format!("export KEY=\"{}\";", minted.expose_secret());
        assert_eq!(regex.find(&line).unwrap().as_str(), minted.expose_secret());
        let described = format["kinds"].as_array().unwrap().iter().any(|one| one["prefix"] == kind.prefix());
        assert!(described, "{}", kind.prefix());
    }
    assert!(!regex.is_match("pck_tooshort_x and pat_0123456789ab"));
}
