//! R46: a server is given no more calls at once than it was said to take; the others wait, or are told when to come again.

use std::time::Duration;

use harness::{Behaviour, Gateway, Upstream, tool};
use serde_json::json;

#[tokio::test]
async fn what_a_server_cannot_take_at_once_waits_or_is_refused() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let path = format!("{}/upstreams/{}", tenant.base, endpoint.upstream);
    let standard = tenant.admin.get(&path).await.unwrap()["concurrency"].clone();
    assert_eq!(standard, json!({"max": 0, "queue": 100, "wait_ms": 1000, "adaptive": false}));

    let late = |secs| {
        Behaviour::After(Duration::from_secs(secs), json!({"content": [{"type": "text", "text": "late"}]}))
    };
    let none = json!({"concurrency": {"max": 1, "queue": 0}});
    let changed = tenant.admin.patch(&format!("{path}?wait=applied"), none).await.unwrap();
    assert_eq!(changed["concurrency"], json!({"max": 1, "queue": 0, "wait_ms": 1000, "adaptive": false}));
    // Each call on a connection of its own, so on whichever worker takes it.
    upstream.next(late(2));
    let (first, second) = (endpoint.caller(), endpoint.caller());
    let crowded = async {
        while upstream.calls().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        second.call("echo").await
    };
    let (answered, refused) = tokio::join!(first.call("echo"), crowded);
    assert_eq!((answered.tool_text(), refused.code()), ("late".into(), "upstream_crowded".into()));
    assert_eq!(refused.json()["error"]["data"]["reason"], "queue_full");
    assert_eq!(upstream.calls().len(), 1);

    let some = json!({"concurrency": {"queue": 5, "wait_ms": 60_000}});
    tenant.admin.patch(&format!("{path}?wait=applied"), some).await.unwrap();
    upstream.next(late(1));
    let callers: Vec<_> = (0..4).map(|_| endpoint.caller()).collect();
    let answers = futures_util::future::join_all(callers.iter().map(|caller| caller.call("echo"))).await;
    let mut texts: Vec<_> = answers.iter().map(|answer| answer.tool_text()).collect();
    texts.sort_unstable();
    assert_eq!(texts, ["late", "ok: echo", "ok: echo", "ok: echo"]);

    for wrong in [json!({"max": 100_001}), json!({"queue": 10_001}), json!({"wait_ms": 0})] {
        assert!(tenant.admin.patch(&path, json!({"concurrency": wrong})).await.is_err(), "{wrong}");
    }
}
