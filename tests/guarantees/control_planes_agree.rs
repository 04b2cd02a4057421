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
