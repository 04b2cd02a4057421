//! R22, R57: the caller's credential never reaches an upstream, the upstream's never leaves the gateway.

use harness::{Gateway, Upstream, tool};
use secrecy::ExposeSecret as _;
use serde_json::json;

#[tokio::test]
async fn the_callers_key_is_stripped_and_the_upstreams_credential_is_injected() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let secret = "canary-5f1d0c7e-upstream";
    let credentials = format!("/upstreams/{}/credentials?wait=applied", endpoint.upstream);
    let made = tenant
        .post(&credentials, json!({"header": "Authorization", "value": format!("Bearer {secret}")}))
        .await;
    assert!(!made.to_string().contains(secret), "a secret is answered as a fingerprint only");

    let caller =
        endpoint.caller().with_header("cookie", "session=1").with_header("x-forwarded-for", "9.9.9.9");
    assert_eq!(caller.call("echo").await.tool_text(), "ok: echo");
    let seen = upstream.calls().pop().unwrap();
    assert_eq!(seen.headers["authorization"], format!("Bearer {secret}"));
    assert!(seen.headers.get("cookie").is_none() && seen.headers.get("x-forwarded-for").is_none());
    assert_eq!(seen.headers["host"], upstream.addr().to_string());
    let key = endpoint.key.expose_secret();
    for received in upstream.received() {
        let text = format!("{:?} {:?}", received.headers, received.body);
        assert!(!text.contains(key), "the caller's key reached the upstream");
    }
}

#[tokio::test]
async fn neither_keys_nor_credentials_are_in_the_database() {
    use sqlx::{Connection as _, Row as _};
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    let secret = "canary-93ab44-upstream";
    let credentials = format!("/upstreams/{}/credentials", endpoint.upstream);
    tenant.post(&credentials, json!({"header": "X-Api-Key", "value": secret})).await;
    tenant.grant(&endpoint, &["echo"]).await;
    endpoint
        .caller()
        .request("tools/call", json!({"name": "echo", "arguments": {"text": "canary-argument"}}))
        .await;
    harness::eventually("the call is recorded", async || !tenant.audit("phase=outcome").await.is_empty())
        .await;

    let mut connection = sqlx::PgConnection::connect(&gateway.database_url).await.unwrap();
    let tables = sqlx::query("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert!(tables.len() > 20);
    let key_secret = endpoint.key.expose_secret().split('_').nth(2).unwrap()[..32].to_owned();
    let token_secret = tenant.admin_token.expose_secret().split('_').nth(2).unwrap()[..32].to_owned();
    for table in tables {
        let table: String = table.get(0);
        let query = format!("SELECT coalesce(string_agg(t::text, E'\\n'), '') FROM {table} t");
        let text: String =
            sqlx::query(sqlx::AssertSqlSafe(query)).fetch_one(&mut connection).await.unwrap().get(0);
        for canary in [secret, &key_secret, &token_secret, "canary-argument"] {
            // Columns of bytes print as hexadecimal.
            assert!(!text.contains(canary) && !text.contains(&hex::encode(canary)), "{table} holds a secret");
        }
    }
}
