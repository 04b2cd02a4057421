//! A server is given a bounded number of calls at once.

use std::{cell::Cell, time::Duration};

use tokio::sync::Notify;
use wire::v1::UpstreamConcurrency;

use super::*;

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

/// A server that answers a call when it is told to, and counts how many it has at once.
struct Slow {
    rig: Rig,
    go: Rc<Notify>,
    now: Rc<Cell<u32>>,
    most: Rc<Cell<u32>>,
}

impl Slow {
    async fn start(concurrency: UpstreamConcurrency) -> Self {
        let (go, now, most) = (Rc::new(Notify::new()), Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let seen = (Rc::clone(&go), Rc::clone(&now), Rc::clone(&most));
        let change = |body: &mut Resource| match body {
            Resource::Upstream(upstream) => upstream.concurrency = Some(concurrency),
            Resource::Limit(limit) => (limit.concurrency, limit.burst) = (0, 20),
            _ => {}
        };
        let rig = Rig::answering(change, move |request| {
            let (go, now, most) = seen.clone();
            async move {
                if request.body.contains("\"ping\"") {
                    return result("{}");
                }
                now.set(now.get() + 1);
                most.set(most.get().max(now.get()));
                go.notified().await;
                now.set(now.get() - 1);
                result(if request.body.contains("tools/call") {
                    r#"{"content":[]}"#
                } else {
                    r#"{"tools":[]}"#
                })
            }
        })
        .await;
        Self { rig, go, now, most }
    }

    /// Lets everything happen that can without anybody being told to go.
    async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    async fn has(&self, calls: u32) {
        while self.now.get() != calls {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn bound(max: u32, queue: u32, wait_ms: u32) -> UpstreamConcurrency {
    UpstreamConcurrency { max, queue, wait_ms, adaptive: false }
}

#[tokio::test]
async fn calls_wait_for_their_turn_and_all_are_answered() {
    local(async {
        let slow = Slow::start(bound(2, 10, 60_000)).await;
        let calls = async {
            let all = futures_util::future::join_all((0..6).map(|_| slow.rig.call(ADD))).await;
            assert!(all.iter().all(|got| got.body["result"].is_object()));
        };
        let server = async {
            slow.has(2).await;
            // What frees a server or asks whether it lives is not kept waiting.
            assert!(slow.rig.call(PING).await.body["result"].is_object());
            slow.settle().await;
            assert_eq!(slow.rig.server.seen.lock().len(), 3);
            loop {
                slow.go.notify_one();
                slow.settle().await;
            }
        };
        tokio::select! {
            () = calls => {}
            () = server => {}
        }
        assert_eq!(slow.most.get(), 2);
        assert_eq!(slow.rig.server.seen.lock().len(), 7);
    })
    .await;
}

#[tokio::test]
async fn a_crowded_server_is_not_called_and_who_may_not_wait_is_told_so() {
    local(async {
        let slow = Slow::start(bound(1, 1, 60_000)).await;
        let running = slow.rig.call(ADD);
        let crowd = async {
            slow.has(1).await;
            // A list waits; a call of a tool takes its place; another one finds the queue full of its equals.
            let list = slow.rig.call(LIST);
            let rest = async {
                slow.settle().await;
                let call = slow.rig.call(ADD);
                let last = async {
                    slow.settle().await;
                    let got = slow.rig.call(ADD).await;
                    assert_eq!((got.status, got.refusal()), (StatusCode::OK, "upstream_crowded"));
                    let data = &got.body["error"]["data"];
                    assert_eq!(data["reason"], "queue_full");
                    assert!(data["retry_after_ms"].as_u64().unwrap() >= 100, "{data}");
                    let refused = slow.rig.log.last();
                    assert_eq!((refused.decision(), &*refused.code), (Decision::Refused, "upstream_crowded"));
                    slow.go.notify_one();
                    slow.settle().await;
                    slow.go.notify_one();
                };
                tokio::join!(call, last).0
            };
            let (list, call) = tokio::join!(list, rest);
            assert_eq!(
                (list.refusal(), &list.body["error"]["data"]["reason"]),
                ("upstream_crowded", &"gave_way".into())
            );
            assert!(call.body["result"].is_object());
        };
        let (first, ()) = tokio::join!(running, crowd);
        assert!(first.body["result"].is_object());
        assert_eq!((slow.most.get(), slow.rig.server.seen.lock().len()), (1, 2));
    })
    .await;
}

#[tokio::test]
async fn who_has_waited_too_long_is_refused_and_who_hangs_up_leaves_the_queue() {
    local(async {
        let slow = Slow::start(bound(1, 1, 1_000)).await;
        let running = slow.rig.call(ADD);
        let crowd = async {
            slow.has(1).await;
            let got = slow.rig.call(ADD).await;
            assert_eq!(
                (got.refusal(), &got.body["error"]["data"]["reason"]),
                ("upstream_crowded", &"too_late".into())
            );
            // The only place in the queue is free again, and again after its caller has left.
            let left = tokio::time::timeout(Duration::from_millis(20), slow.rig.call(ADD)).await;
            assert!(left.is_err());
            let after = slow.rig.call(ADD);
            let server = async {
                slow.settle().await;
                slow.go.notify_one();
                slow.settle().await;
                slow.go.notify_one();
            };
            assert!(tokio::join!(after, server).0.body["result"].is_object());
        };
        tokio::join!(running, crowd);
        assert_eq!(slow.rig.server.seen.lock().len(), 2);
    })
    .await;
}

/// What was approved when a call came may be something else when its turn comes.
#[tokio::test]
async fn a_tool_that_changed_while_its_call_waited_is_not_called() {
    local(async {
        let slow = Slow::start(bound(1, 1, 60_000)).await;
        let running = slow.rig.call(ADD);
        let crowd = async {
            slow.has(1).await;
            let waits = slow.rig.call(ADD);
            let changes = async {
                slow.settle().await;
                let tenant = slow.rig.world.tenant();
                let upstream = tenant.upstreams.values().next().unwrap().id;
                slow.rig.worker.shared.watched.differs(
                    tenant.id,
                    upstream,
                    "add",
                    true,
                    Some([9; 32]),
                    b"{}",
                );
                slow.go.notify_one();
            };
            let (got, ()) = tokio::join!(waits, changes);
            assert_eq!(got.refusal(), "tool_quarantined");
        };
        let (first, ()) = tokio::join!(running, crowd);
        assert!(first.body["result"].is_object());
        assert_eq!(slow.rig.server.seen.lock().len(), 1);
        // Its place is free again.
        let list = slow.rig.call(LIST);
        let server = async {
            slow.has(1).await;
            slow.go.notify_one();
        };
        assert!(tokio::join!(list, server).0.body["result"].is_object());
    })
    .await;
}

#[tokio::test]
async fn who_waits_when_the_proxy_leaves_is_told_so_and_nothing_is_sent() {
    local(async {
        let slow = Slow::start(bound(1, 1, 60_000)).await;
        let running = slow.rig.call(ADD);
        let crowd = async {
            slow.has(1).await;
            let waits = slow.rig.call(ADD);
            let drain = &slow.rig.worker.shared.drain;
            let leaves = async {
                slow.settle().await;
                // There is time for it yet.
                drain.enter(crate::drain::Phase::Draining);
                slow.settle().await;
                drain.enter(crate::drain::Phase::Ending);
            };
            let (got, ()) = tokio::join!(waits, leaves);
            assert_eq!(got.refusal(), "draining");
            slow.go.notify_one();
        };
        tokio::join!(running, crowd);
        assert_eq!(slow.rig.server.seen.lock().len(), 1);
    })
    .await;
}
