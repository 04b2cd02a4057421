//! R2, R3, R57: client secrets are shown once, kept as argon2id hashes, several at a time, rotated with overlap, and revoked.

use harness::{Gateway, Tenant, text};
use serde_json::{Value, json};

async fn client(tenant: &Tenant) -> String {
    text(&tenant.post("/clients", json!({"name": "machine"})).await, "id")
}

async fn list(tenant: &Tenant, client: &str) -> Vec<Value> {
    let page = tenant.admin.get(&format!("{}/clients/{client}/secrets", tenant.base)).await.unwrap();
    page["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_secret_is_shown_once_and_kept_as_a_slow_hash() {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let client = client(&tenant).await;
    let path = format!("/clients/{client}/secrets");
    let made = tenant.post(&path, json!({"name": "first"})).await;
    let secret = text(&made, "secret");
    assert!(secret.starts_with(&format!("pcs_{}_", text(&made, "lookup"))), "{made}");
    let shown = tenant.admin.get(&format!("{}{path}/{}", tenant.base, text(&made, "id"))).await.unwrap();
    assert!(shown.get("secret").is_none() && shown["last_used_at"].is_null(), "{shown}");

    let database = sqlx::PgPool::connect(&gateway.database_url).await.unwrap();
    let row: String =
        sqlx::query_scalar("SELECT s::text FROM client_secrets s").fetch_one(&database).await.unwrap();
    assert!(row.contains("$argon2id$v=19$") && !row.contains(&secret[17..]), "{row}");
    let acts = tenant.audit("method=create_client_secret").await;
    assert_eq!(acts.len(), 1);
    assert!(!acts[0].to_string().contains(&secret[17..]));
    // With the first secret the issuer has a key to sign with.
    let keys = tenant.admin.get(&format!("{}/signing-keys", tenant.base)).await.unwrap();
    assert_eq!(keys["items"][0]["state"], "active", "{keys}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_of_a_client_rotate_with_overlap_and_are_bounded() {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let client = client(&tenant).await;
    let path = format!("/clients/{client}/secrets");
    let first = text(&tenant.post(&path, json!({"name": "first"})).await, "id");
    let second = tenant.post(&format!("{path}/{first}/rotate"), json!({"overlap_seconds": 60})).await;
    let all = list(&tenant, &client).await;
    assert_eq!((all.len(), &all[0]["rotated_to"]), (2, &second["id"]));
    assert!(!all[0]["not_after"].is_null() && all[1]["not_after"].is_null(), "{all:?}");
    let again = format!("{}{path}/{first}/rotate", tenant.base);
    let refused = tenant.admin.post(&again, json!({})).await.unwrap_err().to_string();
    assert!(refused.contains("409"), "rotated once: {refused}");
    tenant.admin.delete(&format!("{}{path}/{first}", tenant.base)).await.unwrap();
    assert!(!list(&tenant, &client).await[0]["revoked_at"].is_null());

    for _ in 0..15 {
        tenant.post(&path, json!({"name": "more"})).await;
    }
    let path = format!("{}{path}", tenant.base);
    let refused = tenant.admin.post(&path, json!({"name": "n"})).await.unwrap_err().to_string();
    assert!(refused.contains("409"), "sixteen are good: {refused}");
    let past = json!({"name": "n", "not_after": "2020-01-01T00:00:00Z"});
    assert!(tenant.admin.post(&path, past).await.unwrap_err().to_string().contains("422"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_long_tokens_live_is_chosen_within_bounds() {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let client = client(&tenant).await;
    let path = format!("{}/clients/{client}", tenant.base);
    assert_eq!(tenant.admin.get(&path).await.unwrap()["token_lifetime_seconds"], 900);
    for wrong in [899, 3601] {
        let refused = tenant.admin.patch(&path, json!({"token_lifetime_seconds": wrong})).await;
        assert!(refused.unwrap_err().to_string().contains("422"), "{wrong}");
    }
    tenant.admin.patch(&path, json!({"token_lifetime_seconds": 3600})).await.unwrap();
    assert_eq!(tenant.admin.get(&path).await.unwrap()["token_lifetime_seconds"], 3600);
}
