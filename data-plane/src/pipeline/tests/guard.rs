//! A server that fails is left alone.

use std::{cell::Cell, time::Duration};

use super::*;
use crate::upstream::testing::{empty, events, json};

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

fn breaking(failures: u32) -> impl FnMut(&mut Resource) {
    move |body| match body {
        Resource::Upstream(upstream) => {
            upstream.first_byte_timeout_ms = 50;
            upstream.idle_timeout_ms = 50;
            upstream.breaker =
                Some(wire::v1::Breaker { failures, failure_percent: 100, ..wire::v1::Breaker::DEFAULT });
        }
        Resource::Limit(limit) => limit.burst = 8,
        _ => {}
    }
}

#[tokio::test]
async fn a_tool_that_does_not_answer_is_left_alone_until_a_probe_is_answered() {
    local(async {
        let silent = Rc::new(Cell::new(true));
        let hangs = Rc::clone(&silent);
        let rig = Rig::answering(breaking(3), move |seen| {
            let (call, hangs) = (seen.body.contains("tools/call"), hangs.get());
            async move {
                if call && hangs {
                    std::future::pending::<()>().await;
                }
                result(if call { r#"{"content":[]}"# } else { r#"{"tools":[]}"# })
            }
        })
        .await;
        for _ in 0..3 {
            assert_eq!(rig.call(ADD).await.refusal(), "upstream_timeout");
        }
        // Twice as often as is left of the limit: what is refused here is not charged.
        for _ in 0..10 {
            let got = rig.call(ADD).await;
            assert_eq!((got.status, got.refusal()), (StatusCode::OK, "upstream_circuit_open"));
            let data = &got.body["error"]["data"];
            assert_eq!(data["of"], "tool");
            assert!((5_000..=6_250).contains(&data["retry_after_ms"].as_u64().unwrap()), "{data}");
        }
        assert_eq!(rig.server.seen.lock().iter().filter(|seen| seen.body == ADD).count(), 3);
        // What else it can is served.
        assert_eq!(rig.call(LIST).await.status, StatusCode::OK);
        assert!(rig.call(LIST).await.headers.get("portcullis-refusal").is_none());

        rig.world.clock.advance(Duration::from_secs(7));
        assert_eq!(rig.call(ADD).await.refusal(), "upstream_timeout", "the probe");
        assert_eq!(rig.call(ADD).await.refusal(), "upstream_circuit_open");
        silent.set(false);
        rig.world.clock.advance(Duration::from_secs(13));
        for _ in 0..2 {
            let got = rig.call(ADD).await;
            assert!(got.body["result"].is_object(), "{}", got.body);
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_counts_and_what_a_server_says_does_not() {
    local(async {
        let answers = Rc::new(Cell::new(0));
        let turn = Rc::clone(&answers);
        let rig = Rig::answering(breaking(2), move |_| {
            let n = turn.replace(turn.get() + 1);
            async move {
                match n {
                    0..4 => json(400, r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no"}}"#),
                    4 | 5 => empty(500),
                    _ => {
                        let (sender, answer) = events(&Arc::default());
                        // It ends, and nothing has come.
                        drop(sender);
                        answer
                    }
                }
            }
        })
        .await;
        for _ in 0..6 {
            let got = rig.call(ADD).await;
            assert!(got.headers.get("portcullis-refusal").is_none_or(|slug| slug == "upstream_protocol"));
        }
        rig.world.clock.advance(Duration::from_secs(60));
        for _ in 0..2 {
            assert_eq!(rig.call(ADD).await.status, StatusCode::OK, "a stream");
        }
        assert_eq!(rig.call(ADD).await.refusal(), "upstream_circuit_open");
        assert_eq!(rig.server.seen.lock().len(), 8);
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_gone_is_not_dialled_for_every_call() {
    local(async {
        let rig = Rig::answering(breaking(2), |_| async { empty(503) }).await;
        for _ in 0..2 {
            assert_eq!(rig.call(LIST).await.refusal(), "upstream_unreachable");
        }
        for body in [LIST, ADD] {
            let got = rig.call(body).await;
            assert_eq!(
                (got.refusal(), &got.body["error"]["data"]["of"]),
                ("upstream_circuit_open", &"upstream".into())
            );
        }
        assert_eq!(rig.server.seen.lock().len(), 2);
        let records = rig.log.records();
        assert_eq!((records.last().unwrap().decision(), records.len()), (Decision::Refused, 6));
    })
    .await;
}
