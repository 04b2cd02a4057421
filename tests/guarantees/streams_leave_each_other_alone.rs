//! R48: of a proxy's streams only the newest is believed; and one that ends holds up no other.

use std::time::Duration;

use harness::{Gateway, Tenant, eventually, member::Member};
use ids::TenantId;
use portcullis_cli::up::demo;
use serde_json::json;
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use wire::v1::{self, config_client::ConfigClient, control_message, proxy_message};

/// A configuration stream spoken by hand.
struct Stream {
    says: mpsc::Sender<v1::ProxyMessage>,
    hears: Streaming<v1::ControlMessage>,
}

impl Stream {
    async fn open(gateway: &Gateway, member: &Member) -> Self {
        let (says, said) = mpsc::channel(8);
        let mut client = ConfigClient::new(member.channel(gateway));
        let stream = client.stream(ReceiverStream::new(said));
        Self { says, hears: stream.await.unwrap().into_inner() }
    }

    async fn say(&self, body: proxy_message::Body) {
        self.says.send(v1::ProxyMessage { body: Some(body) }).await.unwrap();
    }

    async fn greet(&self) {
        let hello = v1::Hello { boot: vec![1; 16], schema_min: 1, schema_max: 1, ..v1::Hello::default() };
        self.say(proxy_message::Body::Hello(hello)).await;
    }

    /// The next tenant that is sent.
    async fn replace(&mut self) -> v1::Replace {
        loop {
            if let Some(control_message::Body::Replace(replace)) =
                self.hears.message().await.unwrap().unwrap().body
            {
                return replace;
            }
        }
    }

    async fn ack(&self, of: &v1::Replace) {
        let ack = v1::Ack {
            nonce: of.nonce,
            tenant_id: of.tenant_id.clone(),
            rev: of.rev,
            digest: of.digest.clone(),
        };
        self.say(proxy_message::Body::Ack(ack)).await;
    }

    async fn end(mut self) -> Status {
        loop {
            match self.hears.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("ended without a word"),
                Err(status) => return status,
            }
        }
    }
}

async fn join(gateway: &Gateway) -> Member {
    Member::join(gateway, &demo::join_token(&gateway.operator).await.unwrap()).await
}

async fn applied(database: &mut PgConnection, tenant: &Tenant, member: &Member) -> Option<i64> {
    let tenant: TenantId = tenant.id.parse().unwrap();
    sqlx::query_scalar("SELECT applied_rev FROM proxy_revisions WHERE tenant_id = $1 AND proxy_id = $2")
        .bind(tenant.uuid())
        .bind(member.proxy.uuid())
        .fetch_optional(database)
        .await
        .unwrap()
}

/// Such as one whose connection broke without a word: what it still has to say came before what the newer one said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_late_on_an_older_stream_is_not_written_over_what_the_newest_said() {
    let gateway = Gateway::with_proxies(0).await;
    let replica = gateway.replica().await;
    let tenant = gateway.tenant("acme").await;
    let member = join(&gateway).await;
    let mut database = PgConnection::connect(&gateway.database_url).await.unwrap();

    let mut older = Stream::open(&gateway, &member).await;
    older.greet().await;
    let late = older.replace().await;
    eventually("the older stream has greeted", async || {
        let proxy = gateway.operator.get(&format!("/v1/proxies/{}", member.proxy)).await.unwrap();
        proxy["live"] == json!(true)
    })
    .await;
    tenant.post("/roles", json!({"name": "a change"})).await;
    let mut newer = Stream::open(&replica, &member).await;
    newer.greet().await;
    let mut newest = newer.replace().await;
    while newest.rev <= late.rev {
        // The other control plane had not looked yet.
        newer.ack(&newest).await;
        newest = newer.replace().await;
    }
    newer.ack(&newest).await;
    let rev = Some(i64::try_from(newest.rev).unwrap());
    eventually("the newest is believed", async || applied(&mut database, &tenant, &member).await == rev)
        .await;

    older.ack(&late).await;
    let told =
        tokio::time::timeout(Duration::from_secs(60), older.end()).await.expect("the older one goes on");
    assert_eq!((told.code(), told.message()), (Code::Aborted, "this proxy has a newer stream"));
    assert_eq!(applied(&mut database, &tenant, &member).await, rev);
}

/// Streams that want the same wait for one of them to read it. If that one is gone, and its last words have to wait for the
/// database, another reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_ends_while_it_reads_holds_up_no_other() {
    let gateway = Gateway::with_proxies(0).await;
    gateway.tenant("acme").await;
    let (leaving, staying) = (join(&gateway).await, join(&gateway).await);
    let mut database = PgConnection::connect(&gateway.database_url).await.unwrap();
    let (first, mut second) =
        (Stream::open(&gateway, &leaving).await, Stream::open(&gateway, &staying).await);
    // What it says takes almost as long as a query may.
    let slow = format!(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF NEW.id = '{}' THEN PERFORM pg_sleep(14); END IF; RETURN NEW; END $$;
         CREATE TRIGGER dawdle BEFORE UPDATE ON proxies FOR EACH ROW EXECUTE FUNCTION dawdle();",
        leaving.proxy.uuid()
    );
    database.execute(sqlx::AssertSqlSafe(slow)).await.unwrap();
    let mut sleeping = PgConnection::connect(&gateway.database_url).await.unwrap();
    let mut sleepers = async || -> i64 {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
        sqlx::query_scalar(count).fetch_one(&mut sleeping).await.unwrap()
    };

    database.execute("BEGIN; LOCK TABLE snapshots IN ACCESS EXCLUSIVE MODE").await.unwrap();
    first.greet().await;
    eventually("it is being stored that the first one lives", async || sleepers().await == 1).await;
    second.greet().await;
    drop(first);
    let greeted = second.hears.message().await.unwrap().unwrap();
    assert!(matches!(greeted.body, Some(control_message::Body::Welcome(_))));
    tokio::time::sleep(Duration::from_millis(200)).await;
    database.execute("ROLLBACK").await.unwrap();
    second.replace().await;
    assert_eq!(sleepers().await, 1, "the second one waited for the first one's last words");
}
