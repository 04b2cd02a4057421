//! R47: a proxy drains without a failed call, and what it recorded is stored after a restart.

use futures_util::future::join_all;
use harness::{Behaviour, Gateway, Upstream, eventually, tool};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_draining_proxy_answers_what_it_began() {
    let mut gateway = Gateway::with_proxies(1).await;
    let upstream = Upstream::start(vec![tool("slow", "Waits")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["slow"]).await;
    for _ in 0..4 {
        let done = json!({"content": [{"type": "text", "text": "done"}]});
        upstream.next(Behaviour::After(Duration::from_secs(1), done));
    }
    let caller = endpoint.caller();
    let calls = async { join_all((0..4).map(|_| caller.call("slow"))).await };
    let restart = async {
        eventually("the calls are on their way", async || upstream.calls().len() == 4).await;
        gateway.restart_proxy(0).await;
    };
    let (answers, ()) = tokio::join!(calls, restart);
    for answer in &answers {
        assert_eq!((answer.status, answer.tool_text().as_str()), (200, "done"), "{answer:?}");
    }
    let again = endpoint.caller().at(&format!("{}{}", gateway.url(0), endpoint.path));
    assert_eq!(again.call("slow").await.tool_text(), "ok: slow", "the identity it kept serves it again");
    eventually("every call has its outcome", async || {
        tenant.audit("phase=outcome&method=tools/call").await.len() == 5
    })
    .await;
}

/// R47: under load, a proxy that is told to end fails no call: what it accepted it answers, and who comes later is refused
/// the connection, which every load balancer takes for "try the next".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_ends_under_load_without_a_failed_call() {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    };
    let mut gateway = Gateway::with_proxies(2).await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    let limit =
        json!({"subject": "every_client", "per_minute": 10_000_000, "burst": 1_000_000, "concurrency": 0});
    tenant.post("/limits", limit).await;
    tenant.grant(&endpoint, &["echo"]).await;

    let (stop, answered, moved) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let urls = [0, 1].map(|proxy| format!("{}{}", gateway.url(proxy), endpoint.path));
            let (stop, answered, moved) = (Arc::clone(&stop), Arc::clone(&answered), Arc::clone(&moved));
            let caller = endpoint.caller();
            tokio::task::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let answer = match caller.clone().at(&urls[0]).try_call("echo").await {
                        Err(error) if error.is_connect() => {
                            moved.fetch_add(1, Ordering::SeqCst);
                            caller.clone().at(&urls[1]).try_call("echo").await
                        }
                        answer => answer,
                    };
                    let answer = answer.unwrap_or_else(|error| panic!("a call failed: {error:?}"));
                    assert_eq!(answer.tool_text(), "ok: echo", "{answer:?}");
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    eventually("calls are answered", async || answered.load(Ordering::SeqCst) > 200).await;
    let proxy = gateway.proxies.remove(0);
    proxy.drain().await;
    proxy.shutdown().await;
    eventually("callers have moved on", async || moved.load(Ordering::SeqCst) > 20).await;
    stop.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    let total = answered.load(Ordering::SeqCst);
    assert_eq!(upstream.calls().len() as u64, total, "each answered call was made once");
    eventually("every call has intent and outcome", async || {
        let database = sqlx::PgPool::connect(&gateway.database_url).await.unwrap();
        let count = sqlx::query_as::<_, (i64,)>(
            "SELECT count(*) FROM audit_records WHERE phase IN (1, 2) AND method = 'tools/call'",
        );
        count.fetch_one(&database).await.unwrap().0 as u64 == 2 * total
    })
    .await;
}

#[tokio::test]
async fn a_control_plane_restart_keeps_everything() {
    let mut gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let before = tenant.admin.get(&format!("{}/grants", tenant.base)).await.unwrap();
    gateway.stop_control().await;
    gateway.start_control().await;
    assert_eq!(tenant.admin.get(&format!("{}/grants", tenant.base)).await.unwrap(), before);
    gateway.add_proxy().await;
    let second = endpoint.caller().at(&format!("{}{}", gateway.url(1), endpoint.path));
    assert_eq!(second.call("echo").await.tool_text(), "ok: echo", "a new proxy gets the stored snapshot");
}

#[tokio::test]
async fn without_its_database_the_control_plane_says_so_and_proxies_serve_on() {
    use sqlx::{Connection as _, Executor as _};
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let servers = harness::servers::Servers::of_this_run();
    let mut admin = sqlx::PgConnection::connect(&servers.database("postgres")).await.unwrap();
    let name = gateway.database_url.split('?').next().unwrap().rsplit('/').next().unwrap().to_owned();
    let close = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false");
    admin.execute(sqlx::AssertSqlSafe(close)).await.unwrap();
    let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    admin.execute(sqlx::AssertSqlSafe(end)).await.unwrap();

    let refused = tenant.admin.get(&format!("{}/grants", tenant.base)).await.unwrap_err();
    let portcullis_cli::rest::RestError::Refused { status, problem, .. } = refused else {
        panic!("not answered")
    };
    assert_eq!((status.as_u16(), problem["code"].as_str()), (503, Some("store_unavailable")));
    for _ in 0..5 {
        assert_eq!(endpoint.caller().call("echo").await.tool_text(), "ok: echo");
    }
    let open = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true");
    admin.execute(sqlx::AssertSqlSafe(open)).await.unwrap();
    eventually("the calls of the outage are stored", async || {
        let path = format!("{}/audit-records?phase=outcome&method=tools/call", tenant.base);
        tenant.admin.get(&path).await.is_ok_and(|page| page["items"].as_array().unwrap().len() == 5)
    })
    .await;
}
