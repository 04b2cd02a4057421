//! R62: kill -9 of the control planes that know of a kill, while Postgres is away, loses neither the kill nor its record.

use std::{fs, net::SocketAddr};

use futures_util::StreamExt as _;
use harness::{Site, Upstream, eventually, member::Member, site::Plan, text, tool};
use portcullis_cli::private::postgres::Durability;
use portcullis_cli::rest::Rest;
use portcullis_cli::up::demo;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use wire::v1::{self, kill_client::KillClient};

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

/// The proxy's is the only copy that is left, and it comes after the stream has waited for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_that_a_proxy_gives_back_late_gets_its_row() {
    let plan = Plan { proxies: 0, durability: Durability::Full, ..Plan::default() };
    let mut site = Site::start(plan).await;
    let [_, enrolment, streams, _] =
        site.control_ports(0).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let member = Member::join_at(enrolment, &demo::join_token(&site.operator).await.unwrap()).await;
    let greeting =
        futures_util::stream::iter([v1::KillAck::default()]).chain(futures_util::stream::pending());
    let mut sets = KillClient::new(member.channel_at(streams)).watch(greeting).await.unwrap().into_inner();
    assert!(sets.message().await.unwrap().unwrap().unsaved.is_empty());

    site.stop_postgres();
    let order = json!({"level": "fleet", "reason": "an incident", "drill": true});
    let id = text(&site.operator.post("/v1/kills", order).await.unwrap(), "id");
    let told = sets.message().await.unwrap().unwrap();
    site.take_control(0).kill();
    fs::remove_dir_all(site.control_state_dir(0)).unwrap();
    site.start_postgres();
    site.start_control(0);
    site.control_ready(0).await;
    assert!(site.operator.get(&format!("/v1/kills/{id}")).await.is_err(), "nothing there knows of it");

    let (says, said) = mpsc::channel(1);
    let watching = KillClient::new(member.channel_at(streams)).watch(ReceiverStream::new(said)).await;
    let mut sets = watching.unwrap().into_inner();
    assert!(sets.message().await.unwrap().is_some(), "the first set, before a word was said");
    let v1::KillSet { unsaved, unsaved_signature, .. } = told;
    says.send(v1::KillAck { unsaved, unsaved_signature, ..v1::KillAck::default() }).await.unwrap();
    assert_eq!(row(&site.operator, &id).await["reason"], "an incident");
}
