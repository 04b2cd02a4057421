//! R48: several control planes on one database are one: a write at any is enforced by the proxies of all, and each knows
//! how far all proxies are.

use harness::{Gateway, Upstream, tool};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

async fn convergence(control: &Gateway, path: &str, token: &str, body: &Value) -> (String, Value) {
    let request =
        reqwest::Client::new().post(format!("{}{path}", control.control_url)).bearer_auth(token).json(body);
    let response = request.send().await.unwrap();
    assert!(response.status().is_success(), "{response:?}");
    let header = response.headers()["portcullis-convergence"].to_str().unwrap().to_owned();
    (header, response.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_at_one_reaches_the_proxies_of_the_other_and_both_see_it() {
    let first = Gateway::with_proxies(1).await;
    let mut second = first.replica().await;
    second.add_proxy().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = first.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    let token = tenant.admin_token.expose_secret();
    let grant = json!({
        "subject": {"client": endpoint.client},
        "actions": [{"action": "call_tool", "upstream": endpoint.upstream, "tools": {"names": ["echo"]}}]
    });
    for at in [&first, &second] {
        let path = format!("{}/grants?wait=applied&timeout=20s", tenant.base);
        let (header, made) = convergence(at, &path, token, &grant).await;
        assert!(header.ends_with("applied=2, rejected=0, unreachable=0"), "{header}");
        let rev = header.trim_start_matches("rev=").split(',').next().unwrap();
        for seen_by in [&first, &second] {
            let path = format!("{}/revisions/{rev}", tenant.base);
            let report = seen_by.operator.get(&path).await.unwrap();
            assert_eq!(report["convergence"], json!({"applied": 2, "rejected": 0, "unreachable": 0}));
            let caller = endpoint.caller().at(&format!("{}{}", seen_by.url(0), endpoint.path));
            assert_eq!(caller.call("echo").await.tool_text(), "ok: echo");
        }
        let revoke = format!("{}/grants/{}?wait=applied", tenant.base, made["id"].as_str().unwrap());
        at.operator.delete(&revoke).await.unwrap();
        for proxy in [&first, &second] {
            let caller = endpoint.caller().at(&format!("{}{}", proxy.url(0), endpoint.path));
            assert_eq!(caller.call("echo").await.code(), "tool_not_granted");
        }
    }
}

/// The revision is raised under the tenant's row lock, so writes at two control planes never share or skip one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_at_both_at_once_get_one_revision_each() {
    let first = Gateway::with_proxies(0).await;
    let second = first.replica().await;
    let tenant = first.tenant("acme").await;
    let before = first.operator.get(&format!("{}/revisions", tenant.base)).await.unwrap();
    let before = before["items"][0]["rev"].as_u64().unwrap();
    let writes = (0..20).map(|n| {
        let control = if n % 2 == 0 { &first } else { &second };
        let path = format!("{}/roles", tenant.base);
        async move { control.operator.post(&path, json!({"name": format!("role {n}")})).await.unwrap() }
    });
    futures_util::future::join_all(writes).await;
    let revisions = second.operator.get(&format!("{}/revisions?limit=20", tenant.base)).await.unwrap();
    let revs: Vec<_> =
        revisions["items"].as_array().unwrap().iter().map(|item| item["rev"].as_u64().unwrap()).collect();
    let expected: Vec<_> = (before + 1..=before + 20).rev().collect();
    assert_eq!(revs, expected);
}

/// Revisions sent so far in this process: whole, and as what changed.
async fn sent(gateway: &Gateway) -> (u64, u64) {
    let url = format!("http://{}/metrics", gateway.proxies[0].admin_addr());
    let metrics = reqwest::get(url).await.unwrap().text().await.unwrap();
    let count = |kind| {
        let name = format!("portcullis_config_sent_total{{kind=\"{kind}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.parse().unwrap())
    };
    assert!(!metrics.lines().any(|line| line.starts_with("portcullis_config_resyncs_total{")), "{metrics}");
    (count("whole"), count("delta"))
}

/// What changed is stored with the revision, so that any control plane can send it to a proxy that holds the one before,
/// whoever sent that; and what proxies make of it is the snapshot that was stored, or they would not acknowledge.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxies_of_both_are_sent_what_changed_at_either() {
    let first = Gateway::with_proxies(1).await;
    let mut second = first.replica().await;
    second.add_proxy().await;
    let tenant = first.tenant("acme").await;
    let token = tenant.admin_token.expose_secret();
    let clients = format!("{}/clients?wait=applied&timeout=20s", tenant.base);
    convergence(&first, &clients, token, &json!({"name": "before"})).await;
    let (whole, delta) = sent(&first).await;
    for n in 0..6 {
        let at = if n % 2 == 0 { &first } else { &second };
        let (header, _) = convergence(at, &clients, token, &json!({"name": format!("client {n}")})).await;
        assert!(header.ends_with("applied=2, rejected=0, unreachable=0"), "{header}");
    }
    assert_eq!(sent(&first).await, (whole, delta + 12));
}

/// R59: one key of many is revoked with a few bytes.
#[tokio::test]
async fn a_revoked_key_is_a_small_change() {
    use sqlx::Connection as _;
    let gateway = Gateway::with_proxies(1).await;
    let tenant = gateway.tenant("acme").await;
    let client = harness::text(&tenant.post("/clients", json!({"name": "agent"})).await, "id");
    let mut keys = Vec::new();
    for n in 0..30 {
        let key = tenant.post(&format!("/clients/{client}/keys"), json!({"name": format!("key {n}")})).await;
        keys.push(harness::text(&key, "id"));
    }
    let revoke = format!("{}/clients/{client}/keys/{}?wait=applied", tenant.base, keys[11]);
    tenant.admin.delete(&revoke).await.unwrap();
    let mut database = sqlx::PgConnection::connect(&gateway.database_url).await.unwrap();
    let (change, whole): (i32, i32) = sqlx::query_as(
        "SELECT octet_length(deltas.body), octet_length(snapshots.body) FROM deltas JOIN snapshots USING (tenant_id, rev)
         ORDER BY rev DESC LIMIT 1",
    )
    .fetch_one(&mut database)
    .await
    .unwrap();
    assert!(change < 64 && whole > 30 * 64, "{change} of {whole} bytes");
    let (_, delta) = sent(&gateway).await;
    assert!(delta > 0);
}

/// A proxy whose revision is not kept any more, or was never made here, is given the whole tenant.
#[tokio::test]
async fn what_is_not_kept_is_sent_whole() {
    use sqlx::Connection as _;
    let gateway = Gateway::with_proxies(1).await;
    let tenant = gateway.tenant("acme").await;
    let token = tenant.admin_token.expose_secret();
    let clients = format!("{}/clients?wait=applied&timeout=20s", tenant.base);
    convergence(&gateway, &clients, token, &json!({"name": "before"})).await;
    let mut database = sqlx::PgConnection::connect(&gateway.database_url).await.unwrap();
    // What leads from there on leads from another content.
    sqlx::query("UPDATE snapshots SET digest = sha256(digest)").execute(&mut database).await.unwrap();
    let (whole, _) = sent(&gateway).await;
    let (header, _) = convergence(&gateway, &clients, token, &json!({"name": "after"})).await;
    assert!(header.ends_with("applied=1, rejected=0, unreachable=0"), "{header}");
    assert_eq!(sent(&gateway).await.0, whole + 1);
}

/// Polls are the truth and notifications only bring them forward: without any, nothing is missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_arrives_where_no_notification_does() {
    use sqlx::Connection as _;
    let first = Gateway::with_proxies(0).await;
    let mut second = first.deaf_replica().await;
    second.add_proxy().await;
    let tenant = first.tenant("acme").await;
    let clients = format!("{}/clients?wait=applied&timeout=20s", tenant.base);
    let (header, _) =
        convergence(&first, &clients, tenant.admin_token.expose_secret(), &json!({"name": "agent"})).await;
    assert!(header.ends_with("applied=1, rejected=0, unreachable=0"), "{header}");
    let mut database = sqlx::PgConnection::connect(&first.database_url).await.unwrap();
    let listening: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE 'LISTEN %'",
    )
    .fetch_one(&mut database)
    .await
    .unwrap();
    assert_eq!(listening, 1, "the first listens, the second does not");
}
