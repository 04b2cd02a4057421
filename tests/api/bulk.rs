//! Many changes as one.

use harness::{Gateway, Upstream, text, tool};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{Answer, JSON, api, get, post, send};

async fn put(
    gateway: &Gateway,
    tenant: &harness::Tenant,
    path: &str,
    if_match: Option<&str>,
    body: Value,
) -> Answer {
    let mut headers = vec![JSON];
    headers.extend(if_match.map(|tag| ("if-match", tag)));
    let path = format!("{}{path}", tenant.base);
    send(gateway, Some(&tenant.admin_token), Method::PUT, &path, &headers, body.to_string()).await
}

#[tokio::test]
async fn many_tools_are_reviewed_as_one_revision_or_none_is() {
    let gateway = Gateway::start().await;
    let tenant = gateway.tenant("acme").await;
    let tools = vec![tool("a", "A"), tool("b", "B"), tool("c", "C")];
    let upstream = Upstream::start(tools).await;
    tenant.endpoint("tools", &upstream).await;
    let listed = get(&gateway, &tenant, "/tools").await.body["items"].clone();
    let ids: Vec<_> = listed.as_array().unwrap().iter().map(|tool| text(tool, "id")).collect();
    let seen: Vec<_> = listed.as_array().unwrap().iter().map(|tool| text(tool, "seen_digest")).collect();
    let before = post(&gateway, &tenant, "/clients", json!({"name": "x"})).await.revision();

    let nowhere = "tool_01hzy3v5d1f4m8q2w6x9c0b7ka";
    let wrong = json!({"decisions": [
        {"tool_id": ids[0], "verdict": "reject"},
        {"tool_id": nowhere, "verdict": "approve"},
        {"tool_id": ids[1], "verdict": "approve", "digest": "00".repeat(32)},
        {"tool_id": ids[2], "verdict": "reject", "class": "read"},
        {"tool_id": ids[0], "verdict": "approve"},
    ]});
    let refused = post(&gateway, &tenant, "/tools/review", wrong).await;
    assert_eq!(refused.code(), "validation_failed");
    let places =
        ["/decisions/1/tool_id", "/decisions/2/digest", "/decisions/3/verdict", "/decisions/4/tool_id"];
    assert_eq!(refused.places(), places);
    assert_eq!(get(&gateway, &tenant, "/tools").await.body["items"], listed, "all or nothing");
    for (body, place) in [
        (json!({"decisions": []}), "/decisions"),
        (json!({"decisions": vec![json!({"tool_id": ids[0], "verdict": "reject"}); 201]}), "/decisions"),
        (json!({"decisions": [{"tool_id": ids[0], "verdict": "maybe"}]}), "/decisions/0/verdict"),
        // What was reviewed has to be named: a definition may have come since.
        (json!({"decisions": [{"tool_id": ids[0], "verdict": "approve"}]}), "/decisions/0/digest"),
    ] {
        assert_eq!(post(&gateway, &tenant, "/tools/review", body).await.places(), [place]);
    }

    let review = json!({"decisions": [
        {"tool_id": ids[2], "verdict": "approve", "class": "destructive", "digest": seen[2]},
        {"tool_id": ids[0], "verdict": "reject"},
        {"tool_id": ids[1], "verdict": "approve", "digest": seen[1]},
    ]});
    let done = post(&gateway, &tenant, "/tools/review", review).await;
    assert_eq!((done.status, done.revision()), (StatusCode::OK, before + 1));
    let states: Vec<_> =
        done.body["items"].as_array().unwrap().iter().map(|tool| text(tool, "state")).collect();
    assert_eq!(states, ["approved", "rejected", "approved"]);
    assert_eq!(done.body["items"][0]["class"], "destructive");
    let reviewed = json!({"decisions": [{"tool_id": ids[0], "verdict": "approve", "digest": seen[0]}]});
    assert_eq!(post(&gateway, &tenant, "/tools/review", reviewed).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_grants_of_a_role_are_replaced_as_one_revision_or_none_is() {
    let (gateway, tenant) = api().await;
    let upstream = json!({"slug": "one", "name": "Up", "url": "https://mcp.example.com/mcp"});
    let upstream = text(&post(&gateway, &tenant, "/upstreams", upstream).await.body, "id");
    let role = post(&gateway, &tenant, "/roles", json!({"name": "readers"})).await;
    let (before, role) = (role.revision(), text(&role.body, "id"));
    let path = format!("/roles/{role}/grants");
    let call = |name: &str| json!({"actions": [{"action": "call_tool", "upstream": upstream, "tools": {"names": [name]}}]});

    let empty = get(&gateway, &tenant, &path).await;
    assert_eq!(empty.body, json!({"grants": []}));
    let tag = empty.header("etag").unwrap();
    let missing = put(&gateway, &tenant, &path, None, json!({"grants": []})).await;
    assert_eq!(
        (missing.status, missing.code()),
        (StatusCode::PRECONDITION_REQUIRED, "precondition_required")
    );
    let two = put(&gateway, &tenant, &path, Some(tag), json!({"grants": [call("a"), call("b")]})).await;
    assert_eq!((two.status, two.revision()), (StatusCode::OK, before + 1), "{}", two.body);
    assert_eq!(get(&gateway, &tenant, &path).await.header("etag"), two.header("etag"));
    let stale = put(&gateway, &tenant, &path, Some(tag), json!({"grants": []})).await;
    assert_eq!(stale.code(), "precondition_failed");

    let kept =
        two.body["grants"].as_array().unwrap().iter().find(|g| g["actions"] == call("b")["actions"]).unwrap();
    let changed = json!({"grants": [call("c"), call("b")]});
    let changed = put(&gateway, &tenant, &path, two.header("etag"), changed).await;
    assert_eq!(changed.revision(), before + 2);
    let grants = changed.body["grants"].as_array().unwrap();
    assert!(grants.len() == 2 && grants.contains(kept), "what says the same stays the same: {grants:?}");

    let nowhere = json!([{"action": "complete", "upstream": "ups_01hzy3v5d1f4m8q2w6x9c0b7ka"}]);
    let wrong = json!({"grants": [call("a"), {"actions": nowhere}, {"actions": []}]});
    let refused = put(&gateway, &tenant, &path, Some("*"), wrong).await;
    assert_eq!(refused.code(), "validation_failed");
    assert_eq!(refused.places(), ["/grants/1/actions/0/upstream", "/grants/2/actions"], "{}", refused.body);
    let many = json!({"grants": vec![call("a"); 101]});
    assert_eq!(put(&gateway, &tenant, &path, Some("*"), many).await.places(), ["/grants"]);
    assert_eq!(get(&gateway, &tenant, &path).await.body, changed.body);
    let nobody = "/roles/rol_01hzy3v5d1f4m8q2w6x9c0b7ka/grants";
    assert_eq!(get(&gateway, &tenant, nobody).await.status, StatusCode::NOT_FOUND);
}
