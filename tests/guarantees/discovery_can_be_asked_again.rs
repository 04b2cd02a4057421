//! A discovery that no proxy took in time does not stand in the way of the next one.

use harness::{Gateway, text};
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

#[tokio::test]
async fn a_command_that_was_given_up_is_not_waited_for() {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let upstream = json!({"slug": "tools", "name": "tools", "url": "https://mcp.example.com/mcp"});
    let discover = format!("/upstreams/{}/discover", text(&tenant.post("/upstreams", upstream).await, "id"));
    let first = tenant.post(&discover, json!({})).await;
    assert_eq!(tenant.post(&discover, json!({})).await["id"], first["id"], "asked twice, done once");

    let mut database = PgConnection::connect(&gateway.database_url).await.unwrap();
    let age = "UPDATE commands SET created_at = created_at - interval '1 hour'";
    sqlx::query(age).execute(&mut database).await.unwrap();
    let second = tenant.post(&discover, json!({})).await;
    assert_ne!(second["id"], first["id"], "nobody will take the first any more");

    // The tenant moves to other proxies, which do not see what was asked of the former ones.
    gateway.operator.post("/v1/pools", json!({"slug": "apart"})).await.unwrap();
    gateway.operator.patch(&tenant.base, json!({"pool": "apart"})).await.unwrap();
    assert_ne!(tenant.post(&discover, json!({})).await["id"], second["id"]);
}

#[tokio::test]
async fn a_command_is_forgotten_after_a_day() {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let mut database = PgConnection::connect(&gateway.database_url).await.unwrap();
    let mut ids = Vec::new();
    for (slug, age) in [("old", "25 hours"), ("recent", "23 hours")] {
        let upstream = json!({"slug": slug, "name": slug, "url": "https://mcp.example.com/mcp"});
        let upstream = text(&tenant.post("/upstreams", upstream).await, "id");
        let made = tenant.post(&format!("/upstreams/{upstream}/discover"), json!({})).await;
        let id: ids::CommandId = text(&made, "id").parse().unwrap();
        sqlx::query(
            "UPDATE commands SET created_at = created_at - $2::interval, finished_at = now() WHERE id = $1",
        )
        .bind(id.uuid())
        .bind(age)
        .execute(&mut database)
        .await
        .unwrap();
        ids.push(id.uuid());
    }
    // A control plane looks when it starts, and every few hours.
    let _replica = gateway.replica().await;
    harness::eventually("the old one is gone", async || {
        let left: Vec<ids::Uuid> =
            sqlx::query_scalar("SELECT id FROM commands").fetch_all(&mut database).await.unwrap();
        left == ids[1..]
    })
    .await;
}

/// An upstream that shows another definition each time leaves the last one and the approved one.
#[tokio::test]
async fn definitions_that_nobody_refers_to_are_forgotten() {
    use harness::{Upstream, eventually, tool};
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "as approved")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    let mut database = PgConnection::connect(&gateway.database_url).await.unwrap();
    for round in 0..3 {
        upstream.set_tools(vec![tool("echo", &format!("another {round}"))]);
        let before =
            tenant.admin.get(&format!("{}/tools", tenant.base)).await.unwrap()["items"][0]["seen_digest"]
                .clone();
        tenant.post(&format!("/upstreams/{}/discover", endpoint.upstream), json!({})).await;
        eventually("the change is seen", async || {
            tenant.admin.get(&format!("{}/tools", tenant.base)).await.unwrap()["items"][0]["seen_digest"]
                != before
        })
        .await;
    }
    let kept: i64 =
        sqlx::query_scalar("SELECT count(*) FROM tool_definitions").fetch_one(&mut database).await.unwrap();
    assert_eq!(kept, 2);
}
