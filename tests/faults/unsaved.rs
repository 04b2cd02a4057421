//! R62: kill -9 of the control planes that know of a kill, while Postgres is away, loses neither the kill nor its record.

use std::fs;

use harness::{Site, Upstream, eventually, site::Plan, text, tool};
use portcullis_cli::private::postgres::Durability;
use portcullis_cli::rest::Rest;
use secrecy::SecretString;
use serde_json::{Value, json};

async fn row(operator: &Rest, id: &str) -> Value {
    let mut found = Value::Null;
    eventually("the row is written", async || {
        found = operator.get(&format!("/v1/kills/{id}")).await.unwrap_or_default();
        found["epoch"].is_u64()
    })
    .await;
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_outlives_the_processes_that_know_of_it() {
    let plan = Plan { controls: 2, redis: true, durability: Durability::Full, ..Plan::default() };
    let mut site = Site::start(plan).await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = site.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let token = SecretString::from(fs::read_to_string(site.operator_token_file()).unwrap());
    let second = Rest::new(&format!("http://127.0.0.1:{}", site.control_ports(1)[0]), token, None).unwrap();

    site.stop_postgres();
    let order = json!({"level": "tenant", "tenant_id": tenant.id, "reason": "an incident"});
    let id = text(&site.operator.post("/v1/kills?wait=applied", order).await.unwrap(), "id");
    let path = format!("/v1/kills/{id}");
    eventually("the other one knows of it", async || second.get(&path).await.is_ok()).await;
    site.take_control(0).kill();
    site.take_control(1).kill();
    site.stop_redis();

    // One of the two has lost its disk; the other one cannot start yet, and goes on trying as its supervisor tells it.
    fs::remove_dir_all(site.control_state_dir(0)).unwrap();
    for _ in 0..2 {
        site.start_control(1);
        let mut process = site.take_control(1);
        eventually("it gives up", async || !process.is_running()).await;
    }
    assert!(site.control_state_dir(1).join("unsaved-kills.bin").exists());
    assert_eq!(endpoint.caller().call("echo").await.code(), "killed");

    site.start_postgres();
    site.start_control(1);
    site.control_ready(1).await;
    assert_eq!(row(&second, &id).await["reason"], "an incident");
    assert_eq!(endpoint.caller().call("echo").await.code(), "killed");
    site.start_control(0);
    site.control_ready(0).await;
    assert!(row(&site.operator, &id).await["lifted_at"].is_null());
}
