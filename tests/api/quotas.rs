//! How much of the API may be used, and what its answers say about that.

use control_plane::config::ApiLimits;
use crypto::key;
use limits::Rate;
use portcullis_cli::rest::Rest;
use reqwest::{Method, StatusCode, header::HeaderMap};
use seams::SystemEntropy;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::listeners;

/// So little flows back that a test sees none of it.
const fn rate(burst: u32) -> Rate {
    Rate { per_minute: 1, burst }
}

async fn ask(url: &str, token: &SecretString, method: Method, body: Value) -> (StatusCode, HeaderMap, Value) {
    let request = reqwest::Client::new().request(method, url).bearer_auth(token.expose_secret());
    let response = request.json(&body).send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    (status, headers, response.json().await.unwrap_or_default())
}

#[tokio::test]
async fn a_token_and_its_tenant_have_limits_and_kills_their_own() {
    let operator = key::mint(key::KeyKind::OperatorToken, &SystemEntropy).text;
    let limits = ApiLimits {
        operator: rate(100),
        token: rate(3),
        tenant: rate(5),
        kills: rate(2),
        ..ApiLimits::default()
    };
    let mut database_url = SecretString::default();
    let running = listeners::start(|config| {
        config.operator_token = Some(operator.clone());
        config.api_limits = limits;
        database_url = config.database_url.clone();
    })
    .await
    .unwrap();
    let origin = format!("http://{}", running.api_addr);
    let rest = Rest::new(&origin, operator, None).unwrap();
    let mut tenants = Vec::new();
    for slug in ["acme", "other"] {
        rest.post("/v1/tenants", json!({"slug": slug, "name": slug})).await.unwrap();
        let mut tokens = Vec::new();
        for name in ["one", "two"] {
            let made = rest
                .post(&format!("/v1/tenants/{slug}/admin-tokens"), json!({"name": name, "scopes": ["*"]}))
                .await
                .unwrap();
            tokens.push(SecretString::from(harness::text(&made, "token")));
        }
        tenants.push((format!("{origin}/v1/tenants/{slug}"), tokens));
    }
    let (acme, tokens) = &tenants[0];
    let get = async |token: &SecretString| ask(acme, token, Method::GET, Value::Null).await;

    for left in [2, 1, 0] {
        let (status, headers, _) = get(&tokens[0]).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers["ratelimit-policy"], "\"token\";q=3;w=180, \"tenant\";q=5;w=300");
        let said = headers["ratelimit"].to_str().unwrap();
        let (token, tenant) = (format!("\"token\";r={left};t="), format!("\"tenant\";r={};t=", left + 2));
        assert!(said.starts_with(&token) && said.contains(&tenant), "{said}");
    }
    let (status, headers, body) = get(&tokens[0]).await;
    assert_eq!((status, &body["code"]), (StatusCode::TOO_MANY_REQUESTS, &json!("api_rate_limited")));
    assert!(headers["ratelimit"].to_str().unwrap().starts_with("\"token\";r=0;t="));
    let wait: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(body["retry_after_ms"].as_u64().unwrap().div_ceil(1000), wait);

    // The tenant's other token has two left of the tenant's.
    assert_eq!((get(&tokens[1]).await.0, get(&tokens[1]).await.0), (StatusCode::OK, StatusCode::OK));
    assert_eq!(get(&tokens[1]).await.2["code"], "api_rate_limited");
    let kill = json!({"level": "tenant", "reason": "exercise", "drill": true});
    let order = async || ask(&format!("{acme}/kills"), &tokens[0], Method::POST, kill.clone()).await;
    for left in [1, 0] {
        let (status, headers, _) = order().await;
        assert_eq!(status, StatusCode::CREATED, "a kill does not wait for what else the token has done");
        assert!(headers["ratelimit"].to_str().unwrap().starts_with(&format!("\"kills\";r={left};t=")));
    }
    // Refused before the database is asked: what would be counted there is not.
    let mut conn = PgConnection::connect(database_url.expose_secret()).await.unwrap();
    sqlx::query("ALTER TABLE admin_tokens RENAME TO hidden").execute(&mut conn).await.unwrap();
    for refused in [order().await, get(&tokens[0]).await] {
        assert_eq!(
            (refused.0, &refused.2["code"]),
            (StatusCode::TOO_MANY_REQUESTS, &json!("api_rate_limited"))
        );
    }
    sqlx::query("ALTER TABLE hidden RENAME TO admin_tokens").execute(&mut conn).await.unwrap();
    let (other, others) = &tenants[1];
    assert_eq!(ask(other, &others[0], Method::GET, Value::Null).await.0, StatusCode::OK);
    assert!(rest.get("/v1/tenants/acme").await.is_ok(), "operators have their own");
    running.shutdown().await;
}
