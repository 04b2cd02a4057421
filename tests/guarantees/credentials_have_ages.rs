//! R58: every credential has an age, and a time by which it is to be replaced; what is overdue is found at once.

use std::time::Duration;

use control_plane::resources::credential_ages::uses;
use harness::{Gateway, Machine, Tenant, Upstream, eventually, text, tool};
use serde_json::{Value, json};

async fn ages(tenant: &Tenant, query: &str) -> Vec<Value> {
    let answer = tenant.admin.get(&format!("{}/credential-ages{query}", tenant.base)).await.unwrap();
    answer["items"].as_array().unwrap().clone()
}

fn kinds(ages: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<_> = ages.iter().map(|age| age["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    kinds
}

#[tokio::test]
async fn every_kind_is_listed_and_its_use_is_noted() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let machine = Machine::new(&gateway, &tenant, "machine", &[&endpoint.id]).await;
    machine.key(&tenant, crypto::jwt::Algorithm::EdDsa, "one").await;
    let credential = json!({"header": "X-Api-Key", "value": "v"});
    tenant.post(&format!("/upstreams/{}/credentials", endpoint.upstream), credential).await;
    let revoked = tenant.post(&format!("/clients/{}/keys", endpoint.client), json!({"name": "gone"})).await;
    let path = format!("{}/clients/{}/keys/{}", tenant.base, endpoint.client, text(&revoked, "id"));
    tenant.admin.delete(&path).await.unwrap();

    let all = ages(&tenant, "").await;
    let expected =
        ["admin_token", "api_key", "client_secret", "public_key", "signing_key", "upstream_credential"];
    assert_eq!(kinds(&all), expected, "{all:?}");
    let of_key = async || {
        let all = ages(&tenant, "").await;
        all.into_iter().find(|age| age["id"] == endpoint.key_id.as_str()).unwrap()
    };
    let key = of_key().await;
    assert_eq!((&key["client_id"], &key["name"]), (&json!(endpoint.client), &json!("first")));
    assert_eq!((&key["last_used_at"], &key["overdue"]), (&Value::Null, &json!(false)));

    assert_eq!(endpoint.caller().call("echo").await.status, 200);
    eventually("the use is noted", async || {
        uses::note_all(gateway.core()).await;
        of_key().await["last_used_at"].is_string()
    })
    .await;
    // Page by page the same, each once.
    let mut paged = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let page = tenant.admin.get(&format!("{}/credential-ages{query}", tenant.base)).await.unwrap();
        paged.extend(page["items"].as_array().unwrap().iter().map(|age| age["id"].clone()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query = format!("?limit=2&cursor={cursor}");
    }
    let ids: Vec<_> = ages(&tenant, "").await.iter().map(|age| age["id"].clone()).collect();
    assert_eq!(paged, ids);
}

#[tokio::test]
async fn what_is_older_than_the_tenant_wants_is_overdue_until_it_is_replaced() {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let client = text(&tenant.post("/clients", json!({"name": "c"})).await, "id");
    let keys = format!("/clients/{client}/keys");
    let key = text(&tenant.post(&keys, json!({"name": "first"})).await, "id");
    assert!(ages(&tenant, "?overdue=true").await.is_empty());

    gateway.control_clock().set_forward(Duration::from_secs(31 * 86_400));
    assert_eq!(kinds(&ages(&tenant, "?overdue=true").await), ["admin_token"], "monthly");
    let schedule = format!("{}/rotation-schedule", tenant.base);
    assert_eq!(tenant.admin.get(&schedule).await.unwrap()["api_key_days"], 90);
    let changed = tenant.admin.patch(&schedule, json!({"api_key_days": 31, "admin_token_days": 60})).await;
    assert_eq!(changed.unwrap()["api_key_days"], 31);
    let overdue = ages(&tenant, "?overdue=true").await;
    assert_eq!(kinds(&overdue), ["api_key"]);
    assert_eq!((&overdue[0]["id"], &overdue[0]["overdue"]), (&json!(key), &json!(true)));

    // Its successor is young, and it is listed until its overlap ends.
    tenant.post(&format!("{keys}/{key}/rotate"), json!({"overlap_seconds": 0})).await;
    assert!(ages(&tenant, "?overdue=true").await.is_empty());
    for wrong in [json!({"api_key_days": 0}), json!({"api_key_days": 3651}), json!({"other_days": 5})] {
        let refused = tenant.admin.patch(&schedule, wrong).await.unwrap_err().to_string();
        assert!(refused.contains("422"), "{refused}");
    }
}
