//! What waits costs the database next to nothing, however many wait; and what one tenant kills or revokes leaves room for others.

use std::time::Duration;

use futures_util::{StreamExt as _, future::join_all};
use harness::{Gateway, Tenant, eventually, member::Member};
use ids::{KillId, TenantId, Uuid};
use portcullis_cli::rest::RestError;
use portcullis_cli::up::demo;
use prost::Message as _;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use tonic::Streaming;
use wire::{
    kill::MAX_REVOKED,
    v1::{self, config_client::ConfigClient, kill_client::KillClient, proxy_message},
};

async fn transactions(database: &mut PgConnection) -> i64 {
    let count = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    sqlx::query_scalar(count).fetch_one(database).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_proxies_does_not_load_the_database() {
    const WAITING: usize = 200;
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    // A proxy that lives and says nothing of what it was sent.
    let member = Member::join(&gateway, &demo::join_token(&gateway.operator).await.unwrap()).await;
    let hello = v1::Hello { boot: vec![1; 16], schema_min: 1, schema_max: 1, ..v1::Hello::default() };
    let hello = v1::ProxyMessage { body: Some(proxy_message::Body::Hello(hello)) };
    let open = futures_util::stream::iter([hello]).chain(futures_util::stream::pending());
    let _stream = ConfigClient::new(member.channel(&gateway)).stream(open).await.unwrap();
    eventually("the proxy lives", async || {
        let proxies = gateway.operator.get("/v1/proxies").await.unwrap();
        proxies["items"][0]["live"] == json!(true)
    })
    .await;

    let mut database = PgConnection::connect(&gateway.database_url).await.unwrap();
    let path = format!("{}/revisions/1?wait=6s", tenant.base);
    let waits = join_all((0..WAITING).map(|_| tenant.admin.get(&path)));
    let measure = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let before = transactions(&mut database).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        transactions(&mut database).await - before
    };
    let (answers, cost) = tokio::join!(waits, measure);
    for answer in answers {
        assert_eq!(answer.unwrap()["convergence"]["unreachable"], 1);
    }
    // At one look in half a second each, it is 1,200.
    assert!(cost < 2_400, "{cost} transactions in three seconds");
}

async fn kill(tenant: &Tenant) -> Result<serde_json::Value, RestError> {
    let order = json!({"level": "tenant", "reason": "an exercise", "drill": true});
    tenant.admin.post(&format!("{}/kills", tenant.base), order).await
}

fn is_full(answer: Result<serde_json::Value, RestError>) -> bool {
    match answer {
        Err(RestError::Refused { status, problem, .. }) => {
            let detail = problem["detail"].as_str().unwrap_or_default();
            status == 409
                && problem["code"] == "conflict"
                && detail.starts_with("too many kills are in force")
        }
        other => panic!("{other:?}"),
    }
}

/// As if so many kills had been made by tenants.
async fn killed(database: &mut PgConnection, by: &Tenant, kills: usize) {
    let by: TenantId = by.id.parse().unwrap();
    sqlx::query(
        "INSERT INTO kills (id, tenant_id, level, drill, reason, actor, created_at, epoch)
         SELECT gen_random_uuid(), $1, 'tenant', true, 'many', 'test', now(), 1 FROM generate_series(1, $2)",
    )
    .bind(by.uuid())
    .bind(i32::try_from(kills).unwrap())
    .execute(&mut *database)
    .await
    .unwrap();
    raise(database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_with_many_kills_leave_room_for_those_with_none() {
    let gateway = Gateway::with_proxies(0).await;
    let (many, few) = (gateway.tenant("many").await, gateway.tenant("few").await);
    let mut database = PgConnection::connect(&gateway.database_url).await.unwrap();
    killed(&mut database, &many, 255).await;
    let mut made = Vec::new();
    // Also where several are on their way at once.
    for answer in join_all((0..8).map(|_| kill(&many))).await {
        match answer {
            Ok(kill) => made.push(kill),
            refused => assert!(is_full(refused)),
        }
    }
    assert_eq!(made.len(), 1);
    kill(&few).await.unwrap();

    killed(&mut database, &many, 8_192).await;
    // The switch knows of them when this one has been made.
    kill(&few).await.unwrap();
    assert!(is_full(kill(&many).await));
    for _ in 2..8 {
        kill(&few).await.unwrap();
    }
    assert!(is_full(kill(&few).await), "its share of what is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_revokes_many_keys_leaves_room_for_those_of_others() {
    let gateway = Gateway::with_proxies(0).await;
    let (many, few) = (gateway.tenant("many").await, gateway.tenant("few").await);
    let (many, few): (TenantId, TenantId) = (many.id.parse().unwrap(), few.id.parse().unwrap());
    let member = Member::join(&gateway, &demo::join_token(&gateway.operator).await.unwrap()).await;
    let mut database = PgConnection::connect(&gateway.database_url).await.unwrap();
    for (tenant, keys, ago) in [(few, 1, 3_600), (many, MAX_REVOKED + 10, 0)] {
        sqlx::query(
            "INSERT INTO revocations SELECT $1, 'key', gen_random_uuid(), now() - make_interval(secs => $3), 1
             FROM generate_series(1, $2)",
        )
        .bind(tenant.uuid())
        .bind(i32::try_from(keys).unwrap())
        .bind(f64::from(ago))
        .execute(&mut database)
        .await
        .unwrap();
    }
    raise(&mut database).await;
    let body = present_body(&mut sets(&gateway, &member).await, &mut database).await;
    assert_eq!(body.revoked.len(), MAX_REVOKED);
    let of_few = body.revoked.iter().filter(|revoked| revoked.tenant_id == few.uuid().as_bytes());
    assert_eq!(of_few.count(), 1, "the oldest of all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_lifts_many_kills_leaves_room_for_lifts_of_others() {
    const TOLD: usize = 4_096;
    let gateway = Gateway::with_proxies(0).await;
    let (many, few) = (gateway.tenant("many").await, gateway.tenant("few").await);
    let member = Member::join(&gateway, &demo::join_token(&gateway.operator).await.unwrap()).await;
    let mut database = PgConnection::connect(&gateway.database_url).await.unwrap();
    let mut oldest = Vec::new();
    for (tenant, kills) in [(&few, 1), (&many, TOLD + 10)] {
        killed(&mut database, tenant, kills).await;
        oldest.extend(lifted(&mut database).await);
    }
    // An operator's, which no tenant has.
    let order = json!({"level": "fleet", "reason": "an exercise", "drill": true});
    let kill = gateway.operator.post("/v1/kills", order).await.unwrap();
    let lift = format!("/v1/kills/{}/lift", kill["id"].as_str().unwrap());
    gateway.operator.post(&lift, json!({"reason": "it is over", "epoch": kill["epoch"]})).await.unwrap();
    killed(&mut database, &many, 10).await;
    lifted(&mut database).await;
    let body = present_body(&mut sets(&gateway, &member).await, &mut database).await;
    assert_eq!((body.lifted.len(), body.entries.len()), (TOLD, 0));
    let of_few = oldest[0].as_bytes().to_vec();
    let of_operator: KillId = kill["id"].as_str().unwrap().parse().unwrap();
    assert!(body.lifted.contains(&of_few), "the oldest of all");
    assert!(body.lifted.contains(&of_operator.uuid().as_bytes().to_vec()));
}

/// What it leaves unread becomes one set, and it is not sent away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_reads_late_is_sent_the_latest_set() {
    const CHANGES: usize = 12;
    let gateway = Gateway::with_proxies(0).await;
    let (many, few) = (gateway.tenant("many").await, gateway.tenant("few").await);
    let late = Member::join(&gateway, &demo::join_token(&gateway.operator).await.unwrap()).await;
    let prompt = Member::join(&gateway, &demo::join_token(&gateway.operator).await.unwrap()).await;
    let mut database = PgConnection::connect(&gateway.database_url).await.unwrap();
    // More than a connection takes in unread.
    killed(&mut database, &many, 15_000).await;
    let (mut late, mut prompt) = (sets(&gateway, &late).await, sets(&gateway, &prompt).await);
    let first = present_body(&mut late, &mut database).await;
    for change in 1..=CHANGES {
        killed(&mut database, &few, 1).await;
        // By this one's reading each is a set of its own.
        while next_body(&mut prompt).await.entries.len() < first.entries.len() + change {}
    }
    let (mut last, mut received) = (first.clone(), 0);
    while last.entries.len() < first.entries.len() + CHANGES {
        last = next_body(&mut late).await;
        received += 1;
    }
    assert!(received < CHANGES, "{received} sets for {CHANGES} changes");
}

async fn raise(database: &mut PgConnection) {
    sqlx::query("UPDATE kill_epochs SET epoch = epoch + 1").execute(database).await.unwrap();
}

/// Lifts every kill in force, in one more change; which they were.
async fn lifted(database: &mut PgConnection) -> Vec<Uuid> {
    let lift = "UPDATE kills SET lifted_at = now(), lift_reason = 'over', lift_actor = 'test',
                  lift_epoch = (SELECT epoch + 1 FROM kill_epochs)
                WHERE lifted_at IS NULL RETURNING id";
    let lifted = sqlx::query_scalar(lift).fetch_all(&mut *database).await.unwrap();
    raise(database).await;
    lifted
}

async fn sets(gateway: &Gateway, member: &Member) -> Streaming<v1::KillSet> {
    let acks = futures_util::stream::iter([v1::KillAck::default()]).chain(futures_util::stream::pending());
    let mut client = KillClient::new(member.channel(gateway)).max_decoding_message_size(wire::MAX_MESSAGE);
    client.watch(acks).await.unwrap().into_inner()
}

async fn next_body(sets: &mut Streaming<v1::KillSet>) -> v1::KillBody {
    let set = sets.message().await.unwrap().expect("the stream goes on");
    v1::KillBody::decode(set.body.as_slice()).unwrap()
}

/// Of the first set with all that is in the database by now.
async fn present_body(sets: &mut Streaming<v1::KillSet>, database: &mut PgConnection) -> v1::KillBody {
    let present: i64 = sqlx::query_scalar("SELECT epoch FROM kill_epochs").fetch_one(database).await.unwrap();
    loop {
        let body = next_body(sets).await;
        if body.epoch >= present.try_into().unwrap() {
            return body;
        }
    }
}
