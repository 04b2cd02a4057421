//! `--database-url` and `--redis-url`, and the variables of the same meaning.

use harness::servers::Servers;
use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::run::Place;

/// A new, empty database on the run's Postgres.
async fn database() -> String {
    Servers::of_this_run().new_database().await
}

#[tokio::test(flavor = "multi_thread")]
async fn given_servers_are_used_and_the_flag_wins() {
    let (place, wanted, other) = (Place::new(), database().await, database().await);
    let redis = Servers::of_this_run().redis_url;
    let mut up = place.up(&["--database-url", &wanted, "--proxies", "2"]);
    up.env("DATABASE_URL", &other).env("REDIS_URL", &redis);
    let running = place.wait_for(up);
    let result = place.result();
    assert_eq!((result.text("database_url"), result.text("redis_url")), (wanted.clone(), redis.clone()));
    let names: Vec<_> = place.processes().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["control", "demo-server", "proxy-0", "proxy-1"], "no private server");
    assert!(!place.dir.join("data").exists());
    assert!(result.paste_curl().contains(r#""text":"5""#));
    let key = result.text("api_key");
    assert!(running.stop().success);

    // By variable, and in the background; the state in the database is found again.
    let mut up = place.up(&["--detach"]);
    up.env("DATABASE_URL", &wanted).env("REDIS_URL", "");
    let up = place.finish(up);
    assert!(up.success, "{up:?}");
    assert_eq!(
        (place.result().text("api_key"), place.result().0["redis_url"].is_null()),
        (key.clone(), true)
    );
    assert!(place.down().success);

    // The private state is another one, and does not disturb the other.
    let private = place.start(&[]);
    assert_ne!(place.result().text("api_key"), key);
    assert!(private.stop().success);
    let back = place.start(&["--database-url", &wanted]);
    assert_eq!(place.result().text("api_key"), key);
    assert!(place.result().paste_curl().contains(r#""text":"5""#));
    assert!(back.stop().success);
}

#[tokio::test(flavor = "multi_thread")]
async fn fresh_makes_the_demo_anew_on_a_given_database_and_keeps_the_rest() {
    let (place, url) = (Place::new(), database().await);
    let first = place.start(&["--database-url", &url, "--fresh"]);
    let old = place.result();
    let kept = serde_json::json!({"slug": "kept", "name": "Kept"});
    old.operator().post("/v1/tenants", kept).await.unwrap();
    assert!(first.stop().success);
    let running = place.start(&["--database-url", &url, "--fresh"]);
    let new = place.result();
    assert_ne!(old.text("api_key"), new.text("api_key"));
    assert_eq!(old.caller().call("echo").await.status, 401);
    assert!(new.paste_curl().contains(r#""text":"5""#));
    let tenants = new.operator().get("/v1/tenants").await.unwrap();
    assert!(tenants["items"].as_array().unwrap().iter().any(|tenant| tenant["slug"] == "kept"), "{tenants}");
    assert!(running.stop().success);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_made_anew_is_set_up_anew() {
    let (place, url) = (Place::new(), database().await);
    assert!(place.start(&["--database-url", &url]).stop().success);
    let name = url.split('?').next().unwrap().rsplit('/').next().unwrap();
    let mut admin = PgConnection::connect(&Servers::of_this_run().database("postgres")).await.unwrap();
    for statement in [format!("DROP DATABASE {name} WITH (FORCE)"), format!("CREATE DATABASE {name}")] {
        admin.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
    }
    let running = place.start(&["--database-url", &url]);
    assert!(running.said().contains("is not of this installation any more"), "{}", running.said());
    assert!(place.result().paste_curl().contains(r#""text":"5""#));
    assert!(running.stop().success);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_directory_is_refused_with_the_reason() {
    let (place, other, url) = (Place::new(), Place::new(), database().await);
    assert!(place.start(&["--database-url", &url]).stop().success);
    let up = other.finish(other.up(&["--database-url", &url]));
    assert!(!up.success && up.text.contains("another master key"), "{up:?}");
    assert!(up.text.contains("control.log"), "{up:?}");
    assert!(place.start(&["--database-url", &url]).stop().success, "it was not damaged");
}

#[test]
fn servers_that_cannot_be_used_are_named_without_their_passwords() {
    let place = Place::new();
    let nobody = format!("127.0.0.1:{}", place.base + 29);
    for (option, url, expected) in [
        ("--database-url", format!("postgres://u:hidden@{nobody}/d"), "database cannot be used"),
        ("--database-url", "mysql://u:hidden@h/d".to_owned(), "must begin with postgres://"),
        ("--redis-url", format!("redis://:hidden@{nobody}/"), "no Redis answers at"),
        ("--redis-url", "http://:hidden@h/".to_owned(), "must begin with redis://"),
    ] {
        let up = place.finish(place.up(&[option, &url]));
        assert!(!up.success && up.text.contains(expected), "{url}: {up:?}");
        assert!(!up.text.contains("hidden"), "{up:?}");
    }
}
