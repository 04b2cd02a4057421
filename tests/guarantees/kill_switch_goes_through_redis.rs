//! R62: through Redis a kill comes to proxies whose control plane is gone; and nothing that comes from there lifts one.

use harness::{Endpoint, Gateway, Tenant, Upstream, eventually, redis::Redis, text, tool};
use prost::Message as _;
use redis_link::redis as commands;
use serde_json::json;
use wire::{kill::REDIS_KEY, v1};

struct World {
    redis: Redis,
    gateway: Gateway,
    tenant: Tenant,
    endpoint: Endpoint,
}

async fn world() -> World {
    let redis = Redis::start();
    let gateway = Gateway::with_redis(1, Some(&redis.url())).await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    World { redis, gateway, tenant, endpoint }
}

impl World {
    /// What Redis has, by a connection of the test's own.
    async fn copy(&self) -> Option<Vec<u8>> {
        let client = commands::Client::open(self.redis.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        commands::cmd("GET").arg(REDIS_KEY).query_async(&mut connection).await.unwrap()
    }

    async fn put(&self, copy: &[u8]) {
        let client = commands::Client::open(self.redis.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let _: () = commands::cmd("SET").arg(REDIS_KEY).arg(copy).query_async(&mut connection).await.unwrap();
    }

    async fn copy_with(&self, kills: usize) -> Vec<u8> {
        let mut found = Vec::new();
        eventually("the copy has the kill", async || {
            found = self.copy().await.unwrap_or_default();
            let set = v1::KillSet::decode(found.as_slice()).unwrap();
            v1::KillBody::decode(set.body.as_slice()).is_ok_and(|body| body.entries.len() == kills)
        })
        .await;
        found
    }

    async fn code(&self) -> String {
        let caller = self.endpoint.caller().at(&format!("{}{}", self.gateway.url(0), self.endpoint.path));
        caller.call("echo").await.code()
    }
}

/// The proxy is connected to a control plane that dies; the kill is made at another one, which has no stream to it.
#[tokio::test]
async fn a_kill_comes_through_redis_when_the_proxys_control_plane_is_gone() {
    let mut world = world().await;
    let second = world.gateway.replica().await;
    world.gateway.stop_control().await;
    let order = json!({"level": "tenant", "tenant_id": world.tenant.id, "reason": "an incident"});
    let kill = second.operator.post("/v1/kills", order).await.unwrap();
    eventually("the kill has come through Redis", async || world.code().await == "killed").await;

    // Lifted at the same place: the copy is without it, and the proxy keeps it until its stream says so.
    let lift = json!({"reason": "over", "epoch": kill["epoch"]});
    second.operator.post(&format!("/v1/kills/{}/lift", text(&kill, "id")), lift).await.unwrap();
    world.copy_with(0).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    assert_eq!(world.code().await, "killed", "Redis lifts nothing");
    world.gateway.start_control().await;
    eventually("the stream has lifted it", async || world.code().await.is_empty()).await;
}

#[tokio::test]
async fn an_old_copy_and_a_forged_one_change_nothing_and_are_written_over() {
    let world = world().await;
    let order = json!({"level": "tenant", "reason": "an incident"});
    let kill = world.tenant.post("/kills?wait=applied", order).await;
    let old = world.copy_with(1).await;
    let lift = json!({"reason": "over", "epoch": kill["epoch"]});
    world.tenant.post(&format!("/kills/{}/lift?wait=applied", text(&kill, "id")), lift).await;
    let now = world.copy_with(0).await;
    assert_eq!(world.code().await, "");

    let mut forged = v1::KillSet::decode(old.as_slice()).unwrap();
    forged.signature[0] ^= 1;
    for wrong in [old, forged.encode_to_vec(), b"noise".to_vec()] {
        world.put(&wrong).await;
        eventually("the copy is right again", async || world.copy().await.as_ref() == Some(&now)).await;
        assert_eq!(world.code().await, "");
    }
}

/// Two replicas, neither of which has Postgres: Redis is all they have in common.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_postgres_a_kill_reaches_the_proxies_of_other_replicas_through_redis() {
    let world = world().await;
    let mut second = world.gateway.replica().await;
    second.add_proxy().await;
    world.gateway.postgres_goes_away().await;
    let order = json!({"level": "endpoint", "tenant_id": world.tenant.id, "target": world.endpoint.id, "reason": "r"});
    let kill = world.gateway.operator.post("/v1/kills?wait=applied", order).await.unwrap();
    let far = world.endpoint.caller().at(&format!("{}{}", second.url(0), world.endpoint.path));
    eventually("the other replica's proxy refuses", async || far.call("echo").await.code() == "killed").await;

    world.gateway.postgres_comes_back().await;
    let path = format!("/v1/kills/{}", text(&kill, "id"));
    eventually("the row is written", async || {
        second.operator.get(&path).await.is_ok_and(|kill| kill["epoch"].is_u64())
    })
    .await;
    let epoch = second.operator.get(&path).await.unwrap()["epoch"].clone();
    let lift = json!({"reason": "over", "epoch": epoch});
    second.operator.post(&format!("{path}/lift?wait=applied&timeout=30s"), lift).await.unwrap();
    for url in [world.gateway.url(0), second.url(0)] {
        let caller = world.endpoint.caller().at(&format!("{url}{}", world.endpoint.path));
        assert_eq!(caller.call("echo").await.tool_text(), "ok: echo");
    }
}
