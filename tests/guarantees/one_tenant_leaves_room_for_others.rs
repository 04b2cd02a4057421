//! What waits costs the database next to nothing, however many wait.

use std::time::Duration;

use futures_util::{StreamExt as _, future::join_all};
use harness::{Gateway, eventually, member::Member};
use portcullis_cli::up::demo;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use wire::v1::{self, config_client::ConfigClient, proxy_message};

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
