//! R62: a kill that was ordered while Postgres was away is in force and has its record in the end, whatever becomes of the control
//! plane that took the order, and of the caller that gave it.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use harness::{Endpoint, Gateway, Tenant, Upstream, eventually, redis::Redis, text, tool};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection};

struct World {
    gateway: Gateway,
    tenant: Tenant,
    endpoint: Endpoint,
}

async fn world(redis: Option<&Redis>) -> World {
    let gateway = Gateway::with_redis(1, redis.map(Redis::url).as_deref()).await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    World { gateway, tenant, endpoint }
}

impl World {
    fn order(&self) -> Value {
        json!({"level": "endpoint", "tenant_id": self.tenant.id, "target": self.endpoint.id, "reason": "an incident"})
    }

    async fn code(&self) -> String {
        self.endpoint.caller().call("echo").await.code()
    }
}

/// The kill as a control plane has it that has its row.
async fn stored(gateway: &Gateway, id: &str) -> Value {
    let mut found = Value::Null;
    eventually("the row is written", async || {
        found = gateway.operator.get(&format!("/v1/kills/{id}")).await.unwrap_or_default();
        found["epoch"].is_u64()
    })
    .await;
    found
}

/// Records of the act of ordering it.
async fn acts(gateway: &Gateway, id: &str) -> usize {
    let page = gateway.operator.get("/v1/audit-records?phase=act&limit=200").await.unwrap();
    let of_kill = |record: &&Value| {
        record["method"] == "create_any_kill"
            && record["target"].as_str().is_some_and(|target| target.contains(id))
    };
    page["items"].as_array().unwrap().iter().filter(of_kill).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_took_the_order_still_has_it_after_a_restart() {
    let mut world = world(None).await;
    world.gateway.postgres_goes_away().await;
    let kill = world.gateway.operator.post("/v1/kills?wait=applied", world.order()).await.unwrap();
    let id = text(&kill, "id");
    assert_eq!(kill["epoch"], Value::Null, "{kill}");
    let file = world.gateway.control_state_dir().join("unsaved-kills.bin");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    world.gateway.stop_control().await;
    world.gateway.start_control_in_vain().await;
    assert!(file.exists(), "a start without Postgres costs it nothing");
    assert_eq!(world.code().await, "killed");
    world.gateway.postgres_comes_back().await;
    world.gateway.start_control().await;
    let kill = stored(&world.gateway, &id).await;
    assert_eq!(kill["reason"], "an incident");
    assert_eq!(acts(&world.gateway, &id).await, 1);
    assert_eq!(world.code().await, "killed");
    eventually("nothing waits any more", async || !file.exists()).await;

    let lift = json!({"reason": "over", "epoch": kill["epoch"]});
    let path = format!("/v1/kills/{id}/lift?wait=applied&timeout=30s");
    eventually("the proxy is connected again and has lifted it", async || {
        world.gateway.operator.post(&path, lift.clone()).await.unwrap();
        world.code().await.is_empty()
    })
    .await;
}

/// Redis brings it to the other one, which stores it as if it had been asked itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_control_plane_stores_it_when_who_took_the_order_is_gone() {
    let redis = Redis::start();
    let mut world = world(Some(&redis)).await;
    let second = world.gateway.replica().await;
    world.gateway.postgres_goes_away().await;
    let kill = world.gateway.operator.post("/v1/kills?wait=applied", world.order()).await.unwrap();
    let id = text(&kill, "id");
    let path = format!("/v1/kills/{id}");
    eventually("the other one knows of it", async || second.operator.get(&path).await.is_ok()).await;
    world.gateway.stop_control().await;
    fs::remove_dir_all(world.gateway.control_state_dir()).unwrap();
    redis.stop();

    world.gateway.postgres_comes_back().await;
    let kill = stored(&second, &id).await;
    assert_eq!((&kill["reason"], &kill["by_operator"]), (&json!("an incident"), &json!(true)));
    assert_eq!(acts(&second, &id).await, 1);
    assert_eq!(world.code().await, "killed");
}

/// Without Redis a proxy carries it: to a control plane that has heard nothing, on a disk that is empty.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_gives_it_back_when_nobody_else_is_left_that_heard_of_it() {
    let mut world = world(None).await;
    world.gateway.postgres_goes_away().await;
    let kill = world.gateway.operator.post("/v1/kills?wait=applied", world.order()).await.unwrap();
    let id = text(&kill, "id");
    world.gateway.stop_control().await;
    fs::remove_dir_all(world.gateway.control_state_dir()).unwrap();
    world.gateway.postgres_comes_back().await;
    world.gateway.start_control().await;
    let kill = stored(&world.gateway, &id).await;
    assert_eq!((&kill["reason"], &kill["by_operator"]), (&json!("an incident"), &json!(true)));
    assert_eq!(acts(&world.gateway, &id).await, 1);
    assert_eq!(world.code().await, "killed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_know_of_it_write_one_row_and_one_record() {
    let redis = Redis::start();
    let world = world(Some(&redis)).await;
    let second = world.gateway.replica().await;
    world.gateway.postgres_goes_away().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        let kill = world.gateway.operator.post("/v1/kills", world.order()).await.unwrap();
        ids.push(text(&kill, "id"));
    }
    for id in &ids {
        let path = format!("/v1/kills/{id}");
        eventually("the other one knows of it", async || second.operator.get(&path).await.is_ok()).await;
    }
    world.gateway.postgres_comes_back().await;
    for id in &ids {
        let (here, there) = (stored(&world.gateway, id).await, stored(&second, id).await);
        assert_eq!(here["epoch"], there["epoch"]);
        assert_eq!(acts(&second, id).await, 1);
    }
    for gateway in [&world.gateway, &second] {
        let file = gateway.control_state_dir().join("unsaved-kills.bin");
        eventually("nothing waits any more", async || !file.exists()).await;
    }
}

#[tokio::test]
async fn an_unreadable_file_is_an_alarm_and_stops_nothing() {
    let mut world = world(None).await;
    world.gateway.stop_control().await;
    let dir = world.gateway.control_state_dir().to_owned();
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("unsaved-kills.bin"), "noise").unwrap();
    world.gateway.start_control().await;
    assert_eq!(fs::read(dir.join("unsaved-kills.unreadable-1")).unwrap(), b"noise");
    let url = format!("http://{}/metrics", world.gateway.proxies[0].admin_addr());
    let metrics = reqwest::get(url).await.unwrap().text().await.unwrap();
    assert!(metrics.lines().any(|line| line == "portcullis_kill_files_unreadable 1"), "{metrics}");
    world.gateway.operator.get("/v1/kills").await.unwrap();
}

/// While Postgres does not answer a caller has to wait, and need not: neither where it is asked who calls, nor where the kill is
/// stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_is_in_force_although_its_caller_hung_up() {
    let world = world(None).await;
    let mut blocker = PgConnection::connect(&world.gateway.database_url).await.unwrap();
    let url = format!("{}/v1/kills", world.gateway.control_url);
    let token = world.gateway.operator_token().expose_secret();
    for table in ["operator_tokens", "kill_epochs"] {
        let lock = format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
        blocker.execute(sqlx::AssertSqlSafe(lock)).await.unwrap();
        let request = reqwest::Client::new().post(&url).bearer_auth(token).json(&world.order());
        let given_up = request.timeout(Duration::from_millis(400)).send().await;
        assert!(given_up.is_err_and(|error| error.is_timeout()), "{table} was not waited for");
        eventually("it is in force", async || world.code().await == "killed").await;
        blocker.execute("ROLLBACK").await.unwrap();
        let mut kills = Value::Null;
        eventually("it has its row", async || {
            kills = world.gateway.operator.get("/v1/kills").await.unwrap_or_default();
            kills["items"]
                .as_array()
                .is_some_and(|kills| kills.iter().any(|kill| kill["lifted_at"].is_null()))
        })
        .await;
        let kills = kills["items"].as_array().unwrap();
        let kill = kills.iter().find(|kill| kill["lifted_at"].is_null()).unwrap();
        let path = format!("/v1/kills/{}/lift?wait=applied", text(kill, "id"));
        world.gateway.operator.post(&path, json!({"reason": "over", "epoch": kill["epoch"]})).await.unwrap();
        assert_eq!(world.code().await, "", "lifted again");
    }
}
