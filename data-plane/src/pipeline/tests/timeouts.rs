//! R43: a tool's own time-outs, each against a server that is slow in its own way.

use std::{convert::Infallible, time::Duration};

use futures_util::stream;
use http::Response;
use http_body::Frame;
use http_body_util::StreamBody;
use wire::v1::Timeouts;

use super::*;

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

/// The tool has these; its server has those of the sample, which are seconds.
fn of_tool(timeouts: Timeouts) -> impl Fn(&mut Resource) {
    move |body| {
        if let Some(tool) = testing::tool(body) {
            tool.timeouts = Some(timeouts);
        }
    }
}

/// A JSON answer whose body comes in pieces, one after each pause, and does not end.
fn drip(pause: Duration) -> Answer {
    let pieces = stream::unfold((), move |()| async move {
        tokio::time::sleep(pause).await;
        Some((Ok(Frame::data(Bytes::from_static(b" "))), ()))
    });
    Response::builder()
        .header("content-type", "application/json")
        .body(StreamBody::new(pieces).boxed_unsync())
        .unwrap()
}

fn times_out(rig: &Rig, got: &Got, waited_for: &str) {
    assert_eq!((got.status, got.refusal()), (StatusCode::OK, "upstream_timeout"));
    assert_eq!(got.body["error"]["data"]["waited_for"], waited_for);
    let outcome = rig.log.last();
    assert_eq!((outcome.phase(), &*outcome.code), (RecordPhase::Outcome, "upstream_timeout"));
}

#[tokio::test]
async fn a_tool_that_does_not_begin_to_answer_is_waited_for_as_long_as_it_says() {
    local(async {
        let change = of_tool(Timeouts { first_byte_ms: 60, ..Timeouts::default() });
        let rig = Rig::answering(change, |seen| async move {
            if seen.body.contains("tools/call") {
                std::future::pending::<Infallible>().await;
            }
            // Longer than the tool may take, and not its call.
            tokio::time::sleep(Duration::from_millis(150)).await;
            result(r#"{"tools":[]}"#)
        })
        .await;
        times_out(&rig, &rig.call(ADD).await, "first_byte");
        assert!(rig.call(LIST).await.body["result"].is_object(), "waits as long as the server may take");
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_stops_in_its_middle_is_waited_for_as_long_as_its_tool_says() {
    local(async {
        let change = of_tool(Timeouts { idle_ms: 60, ..Timeouts::default() });
        let rig = Rig::answering(change, |_| async { drip(Duration::from_secs(600)) }).await;
        times_out(&rig, &rig.call(ADD).await, "idle");
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_never_ends_is_waited_for_as_long_as_its_tool_says() {
    local(async {
        let change = of_tool(Timeouts { total_ms: 150, ..Timeouts::default() });
        let rig = Rig::answering(change, |_| async { drip(Duration::from_millis(10)) }).await;
        times_out(&rig, &rig.call(ADD).await, "total");
    })
    .await;
}

#[tokio::test]
async fn a_server_that_does_not_shake_hands_is_waited_for_as_long_as_the_tool_says() {
    local(async {
        // Its kernel accepts; nobody answers the client's hello.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        let own = of_tool(Timeouts { connect_ms: 60, ..Timeouts::default() });
        let rig = Rig::start(|body| {
            own(body);
            match body {
                Resource::Upstream(upstream) => upstream.url = format!("https://{address}/mcp"),
                Resource::Tenant(tenant) => tenant.egress[0].port = address.port().into(),
                _ => {}
            }
        })
        .await;
        times_out(&rig, &rig.call(ADD).await, "connect");
    })
    .await;
}
