//! Watches of revisions and audit records: nothing is left out or comes twice, at any replica.

use std::time::Duration;

use harness::{Gateway, Tenant, eventually, text};
use reqwest::{Method, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{api, post, send};

/// A time that only a defect needs.
const PATIENCE: Duration = Duration::from_secs(60);

struct Events {
    response: Response,
    buffer: String,
}

#[derive(Debug)]
struct Event {
    kind: String,
    id: String,
    data: Value,
}

impl Events {
    async fn open(gateway: &Gateway, token: &SecretString, path: &str, last: Option<&str>) -> Self {
        let mut request = reqwest::Client::new()
            .get(format!("{}{path}", gateway.control_url))
            .bearer_auth(token.expose_secret());
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Self { response, buffer: String::new() }
    }

    /// The next event; `None`: the watch is over.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let field =
                    |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let event = field("event: ").map(|kind| Event {
                    kind,
                    id: field("id: ").unwrap(),
                    data: serde_json::from_str(&field("data: ").unwrap()).unwrap(),
                });
                self.buffer = rest.to_owned();
                if event.is_some() {
                    return event;
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("a sign of life");
            match chunk {
                Ok(Some(chunk)) => self.buffer.push_str(std::str::from_utf8(&chunk).unwrap()),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    async fn acts(&mut self, count: usize) -> Vec<(String, String)> {
        let mut acts = Vec::new();
        while acts.len() < count {
            let event = self.next().await.unwrap();
            assert_eq!(event.kind, "record");
            acts.push((text(&event.data, "method"), event.id));
        }
        acts
    }
}

async fn revisions(gateway: &Gateway, tenant: &Tenant, last: Option<&str>) -> Events {
    Events::open(gateway, &tenant.admin_token, &format!("{}/revisions/watch", tenant.base), last).await
}

async fn records(gateway: &Gateway, tenant: &Tenant, last: Option<&str>) -> Events {
    Events::open(gateway, &tenant.admin_token, &format!("{}/audit-records/watch", tenant.base), last).await
}

async fn client(gateway: &Gateway, tenant: &Tenant, name: &str) -> u64 {
    post(gateway, tenant, "/clients", json!({"name": name})).await.revision()
}

#[tokio::test]
async fn revisions_are_seen_at_every_replica_and_a_watch_goes_on_where_it_broke_off() {
    let (gateway, tenant) = api().await;
    let replica = gateway.replica().await;
    let first = client(&gateway, &tenant, "one").await;
    let mut events = revisions(&replica, &tenant, None).await;
    let now = events.next().await.unwrap();
    assert_eq!((now.kind.as_str(), now.id.as_str()), ("revision", first.to_string().as_str()));
    assert_eq!(client(&gateway, &tenant, "two").await, first + 1);
    let news = events.next().await.unwrap();
    assert_eq!((&news.data["rev"], news.data["digest"].as_str().unwrap().len()), (&json!(first + 1), 64));
    drop(events);
    client(&replica, &tenant, "three").await;
    client(&gateway, &tenant, "four").await;
    let mut events = revisions(&gateway, &tenant, Some(&news.id)).await;
    for rev in [first + 2, first + 3] {
        assert_eq!(events.next().await.unwrap().id, rev.to_string());
    }
}

#[tokio::test]
async fn audit_records_come_once_and_a_watch_goes_on_where_it_broke_off() {
    let (gateway, tenant) = api().await;
    let replica = gateway.replica().await;
    client(&gateway, &tenant, "before").await;
    let mut events = records(&replica, &tenant, None).await;
    client(&gateway, &tenant, "one").await;
    post(&replica, &tenant, "/roles", json!({"name": "two"})).await;
    let mut acts = events.acts(2).await;
    acts.sort();
    assert_eq!([acts[0].0.as_str(), acts[1].0.as_str()], ["create_client", "create_role"]);
    post(&gateway, &tenant, "/endpoints", json!({"slug": "three", "name": "three"})).await;
    let third = events.acts(1).await;
    assert_eq!(third[0].0, "create_endpoint");
    drop(events);
    client(&gateway, &tenant, "four").await;
    let again = records(&gateway, &tenant, Some(&third[0].1)).await.acts(1).await;
    assert_eq!(again[0].0, "create_client", "what was seen does not come again");

    let other = gateway.tenant("other").await;
    for (of, path, id) in [
        (&other, "/audit-records/watch", third[0].1.as_str()),
        (&tenant, "/audit-records/watch", "x"),
        (&tenant, "/revisions/watch", "x"),
        (&tenant, "/revisions/watch", "-1"),
    ] {
        let path = format!("{}{path}", of.base);
        let headers = [("last-event-id", id)];
        let refused = send(&gateway, Some(&of.admin_token), Method::GET, &path, &headers, "").await;
        assert_eq!((refused.status, refused.code()), (StatusCode::BAD_REQUEST, "bad_request"), "{id}");
    }
}

#[tokio::test]
async fn a_record_whose_transaction_is_slow_is_not_left_out() {
    let (gateway, tenant) = api().await;
    client(&gateway, &tenant, "before").await;
    let mut events = records(&gateway, &tenant, None).await;
    let mut slow = PgConnection::connect(&gateway.database_url).await.unwrap();
    for sql in [
        "BEGIN".to_owned(),
        "INSERT INTO audit_records (tenant_id, at, proxy_id, boot, seq, phase, decision, actor, method, target, code, body,
           leaf_hash, stored_at)
         SELECT tenant_id, at, gen_random_uuid(), boot, seq, phase, decision, actor, method, 'slow', code, body, leaf_hash,
           stored_at FROM audit_records WHERE method = 'create_client'"
            .to_owned(),
    ] {
        sqlx::query(AssertSqlSafe(sql)).execute(&mut slow).await.unwrap();
    }
    post(&gateway, &tenant, "/roles", json!({"name": "quick"})).await;
    let early = tokio::time::timeout(Duration::from_secs(3), events.next()).await;
    assert!(early.is_err(), "it waits for what may come before: {early:?}");
    sqlx::query("COMMIT").execute(&mut slow).await.unwrap();
    let acts = events.acts(2).await;
    assert_eq!([acts[0].0.as_str(), acts[1].0.as_str()], ["create_client", "create_role"]);
}

#[tokio::test]
async fn a_watch_ends_with_its_token() {
    let (gateway, tenant) = api().await;
    let replica = gateway.replica().await;
    let made = json!({"name": "watcher", "scopes": ["revisions:read", "audit:read"]});
    let made = post(&gateway, &tenant, "/admin-tokens", made).await.body;
    let token = SecretString::from(text(&made, "token"));
    let mut open = Vec::new();
    for path in ["revisions", "audit-records"] {
        open.push(Events::open(&replica, &token, &format!("{}/{path}/watch", tenant.base), None).await);
    }
    assert!(open[0].next().await.is_some());
    let path = format!("{}/admin-tokens/{}", tenant.base, text(&made, "id"));
    let revoked = send(&gateway, Some(&tenant.admin_token), Method::DELETE, &path, &[], "").await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    for mut events in open {
        while events.next().await.is_some() {}
    }
    let path = format!("{}/revisions/watch", tenant.base);
    assert_eq!(send(&replica, Some(&token), Method::GET, &path, &[], "").await.code(), "unauthenticated");
}

#[tokio::test]
async fn watches_are_bounded_and_hold_no_connection() {
    let (gateway, tenant) = api().await;
    // More than there are connections for any kind of work.
    let mut open = Vec::new();
    for _ in 0..16 {
        let mut events = revisions(&gateway, &tenant, None).await;
        assert!(events.next().await.is_some());
        open.push(events);
    }
    let path = format!("{}/revisions/watch", tenant.base);
    let refused = send(&gateway, Some(&tenant.admin_token), Method::GET, &path, &[], "").await;
    assert_eq!((refused.status, refused.code()), (StatusCode::TOO_MANY_REQUESTS, "watches_limited"));
    let other = gateway.tenant("other").await;
    assert!(revisions(&gateway, &other, None).await.next().await.is_some());
    client(&gateway, &tenant, "one").await;
    for events in &mut open {
        assert!(events.next().await.is_some());
    }
    open.pop();
    eventually("the place is free", async || {
        let request = reqwest::Client::new().get(format!("{}{path}", gateway.control_url));
        request.bearer_auth(tenant.admin_token.expose_secret()).send().await.unwrap().status()
            == StatusCode::OK
    })
    .await;
}

/// A client that opens a watch and then reads nothing, with little room for what it does not read.
async fn deaf(gateway: &Gateway, tenant: &Tenant, token: &str) -> tokio::net::TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let address = gateway.control_url.strip_prefix("http://").unwrap().parse().unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let request = format!(
        "GET {}/audit-records/watch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n",
        tenant.base
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    stream
}

#[tokio::test]
async fn a_watch_that_is_not_read_ends_with_its_token() {
    let (gateway, tenant) = api().await;
    client(&gateway, &tenant, "one").await;
    let made = json!({"name": "watcher", "scopes": ["audit:read"]});
    let made = post(&gateway, &tenant, "/admin-tokens", made).await.body;
    let stream = deaf(&gateway, &tenant, &text(&made, "token")).await;
    // More than any buffer on the way holds.
    let mut conn = PgConnection::connect(&gateway.database_url).await.unwrap();
    sqlx::query(
        "INSERT INTO audit_records (tenant_id, at, proxy_id, boot, seq, phase, decision, actor, method, target, code, body,
           leaf_hash, stored_at)
         SELECT tenant_id, at, gen_random_uuid(), boot, seq, phase, decision, actor, method, target, code, body, leaf_hash,
           stored_at FROM audit_records, generate_series(1, 30000) WHERE method = 'create_client'",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    // Which it has not read: other watches of the tenant have come to all of them by then.
    let mut others = Vec::new();
    for number in 1..16 {
        let mut events = records(&gateway, &tenant, None).await;
        client(&gateway, &tenant, &format!("client {number}")).await;
        events.acts(1).await;
        others.push(events);
    }
    let path = format!("{}/audit-records/watch", tenant.base);
    let open = async || {
        let request = reqwest::Client::new().get(format!("{}{path}", gateway.control_url));
        request.bearer_auth(tenant.admin_token.expose_secret()).send().await.unwrap().status()
    };
    assert_eq!(open().await, StatusCode::TOO_MANY_REQUESTS, "it has its place");
    let token = format!("{}/admin-tokens/{}", tenant.base, text(&made, "id"));
    let revoked = send(&gateway, Some(&tenant.admin_token), Method::DELETE, &token, &[], "").await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    eventually("its place is free", async || open().await == StatusCode::OK).await;
    drop(stream);
}

#[tokio::test]
async fn a_watch_of_a_quiet_tenant_does_not_go_through_what_others_store() {
    let (gateway, quiet) = api().await;
    let busy = gateway.tenant("busy").await;
    client(&gateway, &busy, "one").await;
    let mut conn = PgConnection::connect(&gateway.database_url).await.unwrap();
    // Before what they store, so that all of it could be of its tenant.
    let mut events = records(&gateway, &quiet, None).await;
    for sql in [
        "INSERT INTO audit_records (tenant_id, at, proxy_id, boot, seq, phase, decision, actor, method, target, code, body,
           leaf_hash, stored_at)
         SELECT tenant_id, at, gen_random_uuid(), boot, seq, phase, decision, actor, method, target, code, body, leaf_hash,
           stored_at FROM audit_records, generate_series(1, 20000) WHERE method = 'create_client'",
        "ANALYZE audit_records",
    ] {
        sqlx::query(sql).execute(&mut conn).await.unwrap();
    }
    // Rows and entries of indexes that have been gone through.
    let read = async |conn: &mut PgConnection| -> i64 {
        sqlx::query("SELECT pg_stat_clear_snapshot()").execute(&mut *conn).await.unwrap();
        sqlx::query_scalar(
            "SELECT (SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname LIKE 'audit_records%')::bigint
               + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname LIKE 'audit_records%')::bigint",
        )
        .fetch_one(conn)
        .await
        .unwrap()
    };
    // One look at least is over that has seen all of it.
    client(&gateway, &quiet, "first").await;
    events.acts(1).await;
    let before = read(&mut conn).await;
    for number in 0..5 {
        client(&gateway, &quiet, &format!("client {number}")).await;
        events.acts(1).await;
    }
    // What is counted is told within a second after a connection has nothing to do; another look tells it.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let gone_through = read(&mut conn).await - before;
    assert!(gone_through < 20_000, "{gone_through} for five records");
}
