//! Every write that the API describes, with `dry_run=true`, is answered as if it were done, and nothing is.

use harness::{Gateway, Upstream, tool};
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::tenants_are_isolated::{Twin, body, fill, twin};

/// Every row of every table, as a digest for each.
async fn rows(gateway: &Gateway) -> Vec<(String, String)> {
    let mut conn = PgConnection::connect(&gateway.database_url).await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    let mut digests = Vec::new();
    for table in tables {
        let digest =
            format!("SELECT coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM \"{table}\" t");
        let digest = sqlx::query_scalar(AssertSqlSafe(digest)).fetch_one(&mut conn).await.unwrap();
        digests.push((table, digest));
    }
    digests
}

fn operators_body(operation: &str, twin: &Twin) -> Value {
    match operation {
        "create_tenant" => json!({"slug": "new", "name": "New"}),
        "create_pool" => json!({"slug": "new"}),
        "create_join_token" => json!({"pool": "shared"}),
        "update_global" => json!({"max_request_bytes": 65_536}),
        "update_global_rollout" => json!({"soak_seconds": 60}),
        "promote_global_rollout" | "halt_global_rollout" => json!({"target_rev": 0, "reason": "r"}),
        "revert_global" => json!({"target_rev": 0, "reason": "r", "rev": 1}),
        "create_any_kill" => json!({"level": "fleet", "reason": "r"}),
        "create_certificate_authority" => Value::Null,
        "lift_any_kill" => lifting(twin),
        other => body(other, &twin.ids),
    }
}

fn lifting(twin: &Twin) -> Value {
    json!({"reason": "r", "epoch": twin.kill_epoch})
}

#[tokio::test]
async fn nothing_of_a_dry_run_can_be_seen_afterwards() {
    let mut gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let a = twin(&gateway, "acme", &upstream).await;
    // Nothing but what is asked for here changes the database from here on.
    for proxy in gateway.proxies.drain(..) {
        proxy.shutdown().await;
    }
    let proxies = gateway.operator.get("/v1/proxies").await.unwrap();
    let authorities = gateway.operator.get("/v1/certificate-authorities").await.unwrap();
    let token = gateway.operator.post("/v1/join-tokens", json!({"pool": "shared"})).await.unwrap();
    let mut ids = a.ids.clone();
    for (name, found) in [
        ("proxy", &proxies["items"][0]["id"]),
        ("certificate_authority", &authorities["items"][0]["id"]),
        ("join_token", &token["id"]),
    ] {
        ids.insert(name, found.as_str().unwrap().to_owned());
    }
    let document: Value = serde_json::from_str(&control_plane::http::openapi::document()).unwrap();
    let http = reqwest::Client::new();
    let mut tried = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            if method == "get" {
                continue;
            }
            let id = operation["operationId"].as_str().unwrap();
            let before = rows(&gateway).await;
            let of_operator = operation["security"][0]["token"] == json!(["operator"]);
            let token = if of_operator { gateway.operator_token() } else { &a.tenant.admin_token };
            let url = format!("{}{}?dry_run=true", gateway.control_url, fill(path, &ids));
            let method: Method = method.to_uppercase().parse().unwrap();
            let patch = method == Method::PATCH;
            let mut request = http
                .request(method, url)
                .bearer_auth(token.expose_secret())
                .header("idempotency-key", id)
                .header("if-match", "*");
            if operation.get("requestBody").is_some() {
                let media = if patch { "application/merge-patch+json" } else { "application/json" };
                let given = if id == "lift_kill" { lifting(&a) } else { operators_body(id, &a) };
                request = request.header("content-type", media).body(given.to_string());
            }
            let response = request.send().await.unwrap();
            let (status, headers) = (response.status(), response.headers().clone());
            let text = response.text().await.unwrap();
            match id {
                // Of what there is in this test, nothing can be done so.
                "retire_certificate_authority"
                | "attach_upstream"
                | "delete_upstream"
                | "promote_global_rollout"
                | "halt_global_rollout" => assert_eq!(status, 409, "{id}: {text}"),
                "revert_global" => assert_eq!(status, 422, "{id}: {text}"),
                _ => {
                    assert!(status.is_success(), "{id}: {status} {text}");
                    assert_eq!(headers["portcullis-dry-run"], "true", "{id}");
                    assert!(headers.get("portcullis-replayed").is_none(), "{id}");
                    let documented = &operation["responses"][status.as_str()];
                    assert!(documented.is_object(), "{id}: {status} is not documented");
                    assert!(documented["headers"]["Portcullis-Dry-Run"].is_object(), "{id}");
                }
            }
            for secret in ["pck_", "pcs_", "pat_", "pjt_", "pit_", "http://127.0.0.1:2/invitations/pci_"] {
                assert!(!text.contains(&format!("\"{secret}")), "{id} shows a secret: {text}");
            }
            assert_eq!(rows(&gateway).await, before, "{id} left something");
            tried += 1;
        }
    }
    assert!(tried > 40, "only {tried} writes");
    let path = format!("{}{}/clients?dry_run=true", gateway.control_url, a.tenant.base);
    let long = http.post(path).bearer_auth(a.tenant.admin_token.expose_secret());
    let long = long.header("idempotency-key", "x".repeat(256)).json(&json!({"name": "n"})).send().await;
    assert_eq!(long.unwrap().status(), 400);
    // What would be refused is refused, and a value that is none is no dry run.
    let refused =
        a.tenant.admin.post(&format!("{}/clients?dry_run=yes", a.tenant.base), json!({"name": "n"})).await;
    assert!(refused.unwrap_err().to_string().contains("422"));
    let bad = json!({"slug": "one", "name": "One", "hosts": ["a b"]});
    let refused = a.tenant.admin.post(&format!("{}/endpoints?dry_run=true", a.tenant.base), bad).await;
    assert!(refused.unwrap_err().to_string().contains("422"), "it is compiled");
}
