//! `Idempotency-Key`: a repeated write is done once and answered alike, at any replica.

use std::time::Duration;

use futures_util::future::join_all;
use harness::{Gateway, Tenant, eventually, text};
use reqwest::{Method, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::{Answer, JSON, api, get, post, send};

async fn keyed(gateway: &Gateway, tenant: &Tenant, path: &str, key: &str, body: &Value) -> Answer {
    keyed_as(gateway, &tenant.admin_token, &format!("{}{path}", tenant.base), key, body).await
}

async fn keyed_as(gateway: &Gateway, token: &SecretString, path: &str, key: &str, body: &Value) -> Answer {
    let headers = [JSON, ("idempotency-key", key)];
    send(gateway, Some(token), Method::POST, path, &headers, body.to_string()).await
}

async fn names(gateway: &Gateway, tenant: &Tenant) -> Vec<String> {
    let clients = get(gateway, tenant, "/clients").await.body;
    clients["items"].as_array().unwrap().iter().map(|client| text(client, "name")).collect()
}

async fn database(gateway: &Gateway) -> PgConnection {
    PgConnection::connect(&gateway.database_url).await.unwrap()
}

async fn run(conn: &mut PgConnection, sql: &str) -> u64 {
    sqlx::query(AssertSqlSafe(sql.to_owned())).execute(conn).await.unwrap().rows_affected()
}

/// Holds the tenant's row, so that no write of it can go on.
async fn stop_writes(gateway: &Gateway, tenant: &Tenant) -> PgConnection {
    let mut conn = database(gateway).await;
    run(&mut conn, "BEGIN").await;
    assert_eq!(
        run(&mut conn, &format!("SELECT FROM tenants WHERE slug = '{}' FOR NO KEY UPDATE", tenant.slug))
            .await,
        1
    );
    conn
}

async fn claimed(gateway: &Gateway) {
    let mut conn = database(gateway).await;
    eventually("the key is claimed", async || {
        let held: i64 = sqlx::query_scalar("SELECT count(*) FROM stored_answers WHERE NOT answered")
            .fetch_one(&mut conn)
            .await
            .unwrap();
        held == 1
    })
    .await;
}

#[tokio::test]
async fn a_repeated_write_is_answered_as_the_first_by_every_replica_and_after_a_restart() {
    let (mut gateway, tenant) = api().await;
    let replica = gateway.replica().await;
    let client = text(&post(&gateway, &tenant, "/clients", json!({"name": "one"})).await.body, "id");
    let (keys, body) = (format!("/clients/{client}/keys?wait=applied"), json!({"name": "first"}));
    let first = keyed(&gateway, &tenant, &keys, "\"k-1\"", &body).await;
    assert_eq!((first.status, first.header("portcullis-replayed")), (StatusCode::CREATED, None));
    let secret = text(&first.body, "key");
    let alike = |again: &Answer| {
        assert_eq!((again.status, &again.bytes), (first.status, &first.bytes));
        assert_eq!(again.header("portcullis-replayed"), Some("true"));
        for name in ["content-type", "cache-control", "portcullis-revision", "portcullis-convergence"] {
            assert!(first.header(name).is_some(), "{name}");
            assert_eq!(again.header(name), first.header(name), "{name}");
        }
    };
    alike(&keyed(&gateway, &tenant, &keys, "\"k-1\"", &body).await);
    alike(&keyed(&replica, &tenant, &keys, "k-1", &body).await);
    gateway.stop_control().await;
    gateway.start_control().await;
    alike(&keyed(&gateway, &tenant, &keys, "k-1", &body).await);

    let made = get(&gateway, &tenant, &format!("/clients/{client}/keys")).await.body;
    assert_eq!(made["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        post(&gateway, &tenant, "/roles", json!({"name": "next"})).await.revision(),
        first.revision() + 1
    );
    // The database alone does not show it.
    let hidden = secret.rsplit('_').next().unwrap();
    let like = format!(
        "SELECT FROM stored_answers t WHERE t::text LIKE '%{}%' OR t::text LIKE '%{hidden}%'",
        hex::encode(hidden)
    );
    assert_eq!(run(&mut database(&gateway).await, &like).await, 0);
}

#[tokio::test]
async fn a_key_stands_for_one_request_of_one_token() {
    let (gateway, tenant) = api().await;
    let other = gateway.tenant("other").await;
    let body = json!({"name": "one"});
    assert_eq!(keyed(&gateway, &tenant, "/clients", "k", &body).await.status, StatusCode::CREATED);
    for (path, body) in [
        ("/clients", json!({"name": "two"})),
        ("/roles", body.clone()),
        ("/clients?wait=applied", body.clone()),
    ] {
        let refused = keyed(&gateway, &tenant, path, "k", &body).await;
        assert_eq!(
            (refused.status, refused.code()),
            (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"),
            "{path}"
        );
    }
    let path = format!("{}/clients", tenant.base);
    let by_operator = keyed_as(&gateway, gateway.operator_token(), &path, "k", &json!({"name": "two"})).await;
    assert_eq!((by_operator.status, by_operator.header("portcullis-replayed")), (StatusCode::CREATED, None));
    let theirs = keyed(&gateway, &other, "/clients", "k", &body).await;
    assert_eq!((theirs.status, theirs.header("portcullis-replayed")), (StatusCode::CREATED, None));
    let wrong = SecretString::from("pat_000000000000_00000000000000000000000000000000000000");
    assert_eq!(keyed_as(&gateway, &wrong, &path, "k", &body).await.code(), "unauthenticated");
    for key in ["a b", "\"", &"x".repeat(256)] {
        let refused = keyed(&gateway, &tenant, "/clients", key, &json!({"name": "three"})).await;
        assert_eq!((refused.status, refused.code()), (StatusCode::BAD_REQUEST, "bad_request"), "{key}");
    }
    assert_eq!(names(&gateway, &tenant).await, ["one", "two"]);
}

#[tokio::test]
async fn what_was_refused_is_not_kept_and_a_body_over_the_limit_is_not_read() {
    let (gateway, tenant) = api().await;
    let refused = keyed(&gateway, &tenant, "/clients", "k", &json!({"name": ""})).await;
    assert_eq!(refused.code(), "validation_failed");
    let large = keyed(&gateway, &tenant, "/clients", "k", &json!({"name": "x".repeat(1 << 20)})).await;
    assert_eq!(large.code(), "request_too_large");
    let made = keyed(&gateway, &tenant, "/clients", "k", &json!({"name": "one"})).await;
    assert_eq!((made.status, made.header("portcullis-replayed")), (StatusCode::CREATED, None));
    let again = keyed(&gateway, &tenant, "/clients", "k2", &json!({"name": "one"})).await;
    assert_eq!((again.code(), again.places()), ("conflict", vec!["/name"]), "another key, another request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twins_at_two_replicas_one_works() {
    let (gateway, tenant) = api().await;
    let replica = gateway.replica().await;
    let body = json!({"name": "one"});
    let twins = (0..12).map(|n| {
        let at = if n % 2 == 0 { &gateway } else { &replica };
        keyed(at, &tenant, "/clients", "k", &body)
    });
    let answers = join_all(twins).await;
    let first: Vec<_> = answers
        .iter()
        .filter(|a| a.status == StatusCode::CREATED && a.header("portcullis-replayed").is_none())
        .collect();
    assert_eq!(first.len(), 1);
    for answer in &answers {
        match answer.code() {
            "idempotency_in_progress" => {
                assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::CONFLICT, Some("1")));
            }
            _ => assert_eq!((answer.status, &answer.bytes), (first[0].status, &first[0].bytes)),
        }
    }
    assert_eq!(names(&gateway, &tenant).await, ["one"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_claim_was_taken_over_does_not_happen() {
    let (gateway, tenant) = api().await;
    let replica = gateway.replica().await;
    let body = json!({"name": "one"});
    let lock = stop_writes(&gateway, &tenant).await;
    let slow = async { keyed(&gateway, &tenant, "/clients", "k", &body).await };
    let rest = async {
        claimed(&gateway).await;
        let twin = keyed(&replica, &tenant, "/clients", "k", &body).await;
        assert_eq!(twin.code(), "idempotency_in_progress");
        // As if its control plane had died long ago.
        let expire = "UPDATE stored_answers SET claimed_until = now() - interval '1 second'";
        assert_eq!(run(&mut database(&gateway).await, expire).await, 1);
        let taken = keyed(&replica, &tenant, "/clients", "k", &body);
        let release = async {
            let mut conn = database(&gateway).await;
            eventually("the claim is another's", async || {
                run(&mut conn, "SELECT FROM stored_answers WHERE claimed_until > now()").await == 1
            })
            .await;
            drop(lock);
        };
        tokio::join!(taken, release).0
    };
    let (slow, taken) = tokio::join!(slow, rest);
    // Both waited for the tenant's row; whichever had it first, the claim decided.
    assert_eq!(slow.status, StatusCode::CONFLICT);
    assert!(["idempotency_in_progress", "conflict"].contains(&slow.code()), "{}", slow.body);
    assert_eq!(taken.status, StatusCode::CREATED, "{}", taken.body);
    assert_eq!(names(&gateway, &tenant).await, ["one"]);
    let again = keyed(&gateway, &tenant, "/clients", "k", &body).await;
    assert_eq!((&again.bytes, again.header("portcullis-replayed")), (&taken.bytes, Some("true")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_away_finds_the_answer_later() {
    let (gateway, tenant) = api().await;
    let body = json!({"name": "one"});
    let lock = stop_writes(&gateway, &tenant).await;
    tokio::select! {
        _ = keyed(&gateway, &tenant, "/clients", "k", &body) => panic!("it cannot have been written"),
        () = claimed(&gateway) => {}
    }
    drop(lock);
    eventually("the write has ended", async || names(&gateway, &tenant).await == ["one"]).await;
    let again = keyed(&gateway, &tenant, "/clients", "k", &body).await;
    assert_eq!((again.status, again.header("portcullis-replayed")), (StatusCode::CREATED, Some("true")));
}

#[tokio::test]
async fn answers_are_forgotten_after_a_day() {
    let (mut gateway, tenant) = api().await;
    keyed(&gateway, &tenant, "/clients", "k", &json!({"name": "one"})).await;
    let mut conn = database(&gateway).await;
    let left = "SELECT FROM stored_answers WHERE expires_at > now() + interval '23 hours'
        AND expires_at <= now() + interval '24 hours'";
    assert_eq!(run(&mut conn, left).await, 1);
    let expire = "UPDATE stored_answers SET expires_at = now() - interval '1 second'";
    run(&mut conn, expire).await;
    let new = keyed(&gateway, &tenant, "/clients", "k", &json!({"name": "two"})).await;
    assert_eq!((new.status, new.header("portcullis-replayed")), (StatusCode::CREATED, None));
    run(&mut conn, expire).await;
    gateway.stop_control().await;
    gateway.start_control().await;
    eventually("it is deleted", async || run(&mut conn, "SELECT FROM stored_answers").await == 0).await;
    // Kills do not wait for any of it.
    let kill = json!({"level": "tenant", "reason": "exercise", "drill": true});
    for _ in 0..2 {
        let made = keyed(&gateway, &tenant, "/kills", "k", &kill).await;
        assert_eq!((made.status, made.header("portcullis-replayed")), (StatusCode::CREATED, None));
    }
    tokio::time::timeout(Duration::from_secs(30), conn.close()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_tenant_keeps_its_newest_answers_and_no_more_than_so_many() {
    let (gateway, tenant) = api().await;
    let other = gateway.tenant("other").await;
    let mut conn = database(&gateway).await;
    // As if they had been written before this replica started; one is another tenant's. The oldest are claims that somebody
    // abandoned, more than a batch of them.
    let fill = format!(
        "INSERT INTO stored_answers (lookup, tenant_id, ticket, claimed_until, answered, sealed, expires_at)
         SELECT sha256(n::text::bytea), (SELECT id FROM tenants WHERE slug = CASE n WHEN 0 THEN '{}' ELSE '{}' END),
           substr(sha256(n::text::bytea), 1, 16), now(), n > -1500, '\\x00',
           now() + interval '1 hour' + n * interval '1 second'
         FROM generate_series(-3000, 23000) n WHERE n >= 0 OR n < -1500",
        other.slug, tenant.slug
    );
    assert_eq!(run(&mut conn, &fill).await, 24_501);
    let body = json!({"name": "one"});
    assert_eq!(keyed(&gateway, &tenant, "/clients", "k", &body).await.status, StatusCode::CREATED);
    let mut watching = database(&gateway).await;
    eventually("the oldest are forgotten, in batches", async || {
        let of_tenant =
            "SELECT count(*) FROM stored_answers WHERE answered AND tenant_id = (SELECT id FROM tenants WHERE slug = $1)";
        let kept: i64 =
            sqlx::query_scalar(of_tenant).bind(&tenant.slug).fetch_one(&mut watching).await.unwrap();
        kept <= 20_000
    })
    .await;
    let lookup = |n: u32| format!("SELECT FROM stored_answers WHERE lookup = sha256('{n}'::bytea)");
    for (n, kept) in [(1, 0), (2_000, 0), (4_000, 1), (23_000, 1), (0, 1)] {
        assert_eq!(run(&mut conn, &lookup(n)).await, kept, "{n}");
    }
    let again = keyed(&gateway, &tenant, "/clients", "k", &body).await;
    assert_eq!(again.header("portcullis-replayed"), Some("true"), "the newest is there");
}
