//! Secrets are answered once, and kept as hashes or sealed.

use harness::text;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::{api, get, post};

#[tokio::test]
async fn a_secret_is_in_one_answer_and_nowhere_else() {
    let (gateway, tenant) = api().await;
    let client = text(&post(&gateway, &tenant, "/clients", json!({"name": "one"})).await.body, "id");
    let keys = format!("/clients/{client}/keys");
    let key = post(&gateway, &tenant, &keys, json!({"name": "first"})).await;
    let token = post(&gateway, &tenant, "/admin-tokens", json!({"name": "t", "scopes": ["*"]})).await;
    for made in [&key, &token] {
        assert_eq!(made.status, StatusCode::CREATED);
        assert_eq!((made.header("cache-control"), made.header("etag")), (Some("no-store"), None));
    }
    let upstream = json!({"slug": "one", "name": "Up", "url": "https://mcp.example.com/mcp"});
    let upstream = text(&post(&gateway, &tenant, "/upstreams", upstream).await.body, "id");
    let value = "Bearer sk-live-0123456789abcdef";
    let credentials = format!("/upstreams/{upstream}/credentials");
    let credential =
        post(&gateway, &tenant, &credentials, json!({"header": "Authorization", "value": value})).await;
    assert_eq!(credential.status, StatusCode::CREATED);
    assert!(credential.body["fingerprint"].is_string() && credential.body.get("value").is_none());

    let (key, token) = (text(&key.body, "key"), text(&token.body, "token"));
    // The part after the public look-up.
    let hidden = [key.rsplit('_').next().unwrap(), token.rsplit('_').next().unwrap(), value];
    for path in
        [keys.as_str(), "/admin-tokens", &credentials, &format!("/upstreams/{upstream}"), "/audit-records"]
    {
        let read = String::from_utf8(get(&gateway, &tenant, path).await.bytes).unwrap();
        for secret in hidden {
            assert!(!read.contains(secret), "{path} shows a secret");
        }
    }
    let mut conn = PgConnection::connect(&gateway.database_url).await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    for table in tables {
        for secret in hidden {
            // Rows as text show bytes in hexadecimal.
            let rows = format!(
                "SELECT count(*) FROM \"{table}\" t WHERE t::text LIKE '%{secret}%' OR t::text LIKE '%{}%'",
                hex::encode(secret)
            );
            let found: i64 = sqlx::query_scalar(AssertSqlSafe(rows)).fetch_one(&mut conn).await.unwrap();
            assert_eq!(found, 0, "{table} holds a secret in the clear");
        }
    }
}

#[tokio::test]
async fn a_rotated_key_overlaps_and_ends() {
    let (gateway, tenant) = api().await;
    let client = text(&post(&gateway, &tenant, "/clients", json!({"name": "one"})).await.body, "id");
    let keys = format!("/clients/{client}/keys");
    let old = text(&post(&gateway, &tenant, &keys, json!({"name": "first"})).await.body, "id");
    let rotate = format!("{keys}/{old}/rotate");
    let made = post(&gateway, &tenant, &rotate, json!({"overlap_seconds": 3600})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let before = get(&gateway, &tenant, &format!("{keys}/{old}")).await.body;
    assert_eq!(before["rotated_to"], made.body["id"]);
    assert!(before["not_after"].is_string() && before["revoked_at"].is_null());
    assert_eq!(made.body["not_after"], Value::Null);
    assert_eq!(post(&gateway, &tenant, &rotate, json!({})).await.code(), "conflict", "once");
    let past = json!({"name": "late", "not_after": "2020-01-01T00:00:00Z"});
    assert_eq!(post(&gateway, &tenant, &keys, past).await.places(), ["/not_after"]);
    let long = post(&gateway, &tenant, &rotate, json!({"overlap_seconds": 2_592_001})).await;
    assert_eq!(long.places(), ["/overlap_seconds"]);
}
