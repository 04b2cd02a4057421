//! Whole requests through every row, against a real server on loopback.

use std::{future::Future, net::SocketAddr, sync::Arc};

use errors::ErrorCode;
use http::{StatusCode, request::Builder};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;
use tokio::task::LocalSet;
use wire::v1::{Decision, Phase as RecordPhase, resource::Body as Resource};

mod configuration;
mod crowds;
mod guard;
mod latency;
mod timeouts;

use super::*;
use crate::{
    audit::testing::Log,
    testing::{self, ADDRESS, HOST, PATH, World},
    upstream::testing::{Answer, Seen, Server, result, world_of},
};

const ADD: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":1}}}"#;

/// A worker in front of a server.
struct Rig {
    worker: Rc<Worker>,
    world: World,
    server: Server,
    log: Log,
}

struct Got {
    status: StatusCode,
    headers: http::HeaderMap,
    body: Value,
}

impl Rig {
    async fn start(change: impl FnMut(&mut Resource)) -> Self {
        Self::answering(change, |_| async { result(r#"{"content":[]}"#) }).await
    }

    async fn answering<F, R>(change: impl FnMut(&mut Resource), answer: F) -> Self
    where
        F: Fn(Seen) -> R + 'static,
        R: Future<Output = Answer> + 'static,
    {
        let server = Server::start(answer).await;
        let mut world = world_of(&server);
        world.edit(change);
        let log = Log::new();
        let shared = testing::shared(&world, &log);
        Self { worker: Rc::new(Worker::new(Arc::new(shared))), world, server, log }
    }

    async fn send(&self, request: Builder, body: &str) -> Got {
        let request = request.header("host", HOST).body(Full::new(Bytes::copy_from_slice(body.as_bytes())));
        let peer = Peer { address: SocketAddr::new(ADDRESS, 40_000), tls: false, passed_on: false };
        let (head, body) = handle(&self.worker, peer, None, request.unwrap()).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Got { status: head.status, headers: head.headers, body }
    }

    fn post(&self) -> Builder {
        self.world.authorized(
            Request::post(PATH)
                .header("content-type", "application/json")
                .header("accept", "application/json, text/event-stream")
                .header("mcp-protocol-version", "2025-11-25"),
        )
    }

    async fn call(&self, body: &str) -> Got {
        self.send(self.post(), body).await
    }
}

impl Got {
    fn refusal(&self) -> &str {
        let slug = self.headers.get("portcullis-refusal").map_or("", |slug| slug.to_str().unwrap());
        let named = self.body["error"]["data"]["code"].as_str().or(self.body["code"].as_str());
        assert_eq!(named.unwrap_or_default(), slug);
        slug
    }
}

async fn local(case: impl Future<Output = ()>) {
    LocalSet::new().run_until(Box::pin(case)).await;
}

#[tokio::test]
async fn a_permitted_call_goes_through_as_it_came_and_is_recorded_twice() {
    local(async {
        let rig = Rig::start(|_| {}).await;
        let got = rig.call(ADD).await;
        assert_eq!((got.status, &got.body["result"]), (StatusCode::OK, &serde_json::json!({"content": []})));
        let seen = rig.server.last();
        assert_eq!(seen.body, ADD);
        assert_eq!(seen.headers["authorization"], crate::snapshot::samples::HEADER_VALUE);
        let records = rig.log.records();
        assert_eq!(records.len(), 2);
        assert_eq!((records[0].phase(), records[1].phase()), (RecordPhase::Intent, RecordPhase::Outcome));
        assert_eq!(records[0].call_id, records[1].call_id);
        assert_eq!((&*records[0].method, &*records[0].target), ("tools/call", "add"));
        assert_eq!(records[0].policies.len(), 1);
        assert_eq!((records[1].status, records[1].decision()), (200, Decision::Allowed));
    })
    .await;
}

#[tokio::test]
async fn an_anonymous_caller_reaches_nothing() {
    local(async {
        let rig = Rig::start(|_| {}).await;
        for request in [
            Request::post(PATH).header("content-type", "application/json"),
            Request::get(PATH).header("accept", "text/event-stream"),
        ] {
            let got = rig.send(request, ADD).await;
            assert_eq!((got.status, got.refusal()), (StatusCode::UNAUTHORIZED, "credential_missing"));
            assert_eq!(got.headers["www-authenticate"], "Bearer");
            assert_eq!(got.headers["content-type"], "application/problem+json");
        }
        let wrong = Request::post(PATH).header("authorization", "Bearer pck_x");
        assert_eq!(rig.send(wrong, ADD).await.refusal(), "credential_invalid");
        // Three failures were all this address had.
        let limited = rig.call(ADD).await;
        assert_eq!((limited.status.as_u16(), limited.refusal()), (429, "address_limited"));
        assert_eq!(rig.server.connections(), 0);
        assert!(rig.log.records().is_empty(), "counted, not recorded one by one");
    })
    .await;
}

#[tokio::test]
async fn a_refused_request_is_a_200_its_caller_can_read_and_is_recorded_once() {
    local(async {
        let rig = Rig::start(|_| {}).await;
        let got = rig.call(&ADD.replace("add", "sub")).await;
        assert_eq!((got.status, got.refusal()), (StatusCode::OK, "tool_not_granted"));
        assert_eq!(
            (&got.body["id"], got.body["error"]["code"].as_i64()),
            (&serde_json::json!(1), Some(1401))
        );
        assert_eq!(rig.server.connections(), 0);
        let records = rig.log.records();
        assert_eq!(records.len(), 1);
        assert_eq!((records[0].decision(), &*records[0].code), (Decision::Refused, "tool_not_granted"));
        assert_eq!((&*records[0].target, records[0].status), ("sub", 200));
        assert!(!records[0].sealed_arguments.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_prefix_is_taken_off_on_the_way_out() {
    local(async {
        let rig = Rig::start(|body| {
            if let Resource::Endpoint(endpoint) = body {
                endpoint.attachments[0].prefix = "calc_".to_owned();
            }
        })
        .await;
        let got = rig.call(&ADD.replace("add", "calc_add")).await;
        assert_eq!(got.status, StatusCode::OK);
        assert_eq!(rig.server.last().body, ADD);
        assert_eq!(rig.log.records()[0].target, "add");
    })
    .await;
}

#[tokio::test]
async fn limits_refuse_with_what_is_left_and_when() {
    local(async {
        let rig = Rig::start(|body| {
            if let Resource::Limit(limit) = body {
                limit.burst = 1;
            }
        })
        .await;
        assert_eq!(rig.call(ADD).await.status, StatusCode::OK);
        let got = rig.call(ADD).await;
        assert_eq!((got.status, got.refusal()), (StatusCode::OK, "rate_limited"));
        let data = &got.body["error"]["data"];
        assert_eq!((&data["limit"], &data["remaining"]), (&"client".into(), &0.into()));
        assert_eq!(data["retry_after_ms"], 1_000);
    })
    .await;
}

#[tokio::test]
async fn bodies_over_the_endpoints_cap_and_broken_ones_are_refused_before_anything_else_sees_them() {
    local(async {
        let rig = Rig::start(|body| {
            if let Resource::Endpoint(endpoint) = body {
                endpoint.max_request_bytes = 1_024;
            }
        })
        .await;
        let long = ADD.replace("\"a\":1", &format!("\"a\":\"{}\"", "x".repeat(1_024)));
        let got = rig.call(&long).await;
        assert_eq!((got.status.as_u16(), got.refusal()), (413, "request_too_large"));
        let twice = rig.call(r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#).await;
        assert_eq!((twice.status.as_u16(), twice.refusal()), (400, "parse_error"));
        let encoded = rig.send(rig.post().header("content-encoding", "gzip"), ADD).await;
        assert_eq!((encoded.status.as_u16(), encoded.refusal()), (415, "content_encoding_refused"));
        assert_eq!(rig.server.connections(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_browser_is_told_what_it_may_do_and_only_where_it_may() {
    local(async {
        let rig = Rig::start(|body| {
            if let Resource::Endpoint(endpoint) = body {
                endpoint.origins = vec!["https://app.example.com".to_owned()];
            }
        })
        .await;
        let preflight = |origin: &'static str| {
            Request::options(PATH)
                .header("origin", origin)
                .header("access-control-request-method", "POST")
                .header("access-control-request-headers", "authorization, mcp-param-region")
        };
        let got = rig.send(preflight("https://app.example.com"), "").await;
        assert_eq!(got.status, StatusCode::NO_CONTENT);
        assert_eq!(got.headers["access-control-allow-origin"], "https://app.example.com");
        assert!(got.headers["access-control-allow-headers"].to_str().unwrap().contains("mcp-param-region"));
        let refused = rig.send(preflight("https://evil.example"), "").await;
        assert_eq!((refused.status.as_u16(), refused.refusal()), (403, "origin_refused"));
        assert!(refused.headers.get("access-control-allow-origin").is_none());
        let called = rig.send(rig.post().header("origin", "https://app.example.com"), ADD).await;
        assert_eq!(called.headers["access-control-allow-origin"], "https://app.example.com");
    })
    .await;
}

#[tokio::test]
async fn a_failure_behind_is_the_outcome_of_the_recorded_call() {
    local(async {
        let rig = Rig::answering(|_| {}, |_| async { crate::upstream::testing::empty(503) }).await;
        let got = rig.call(ADD).await;
        assert_eq!((got.status, got.refusal()), (StatusCode::OK, "upstream_unreachable"));
        let records = rig.log.records();
        assert_eq!(records.len(), 2);
        assert_eq!((&*records[1].code, records[1].decision()), ("upstream_unreachable", Decision::Allowed));
        assert_eq!(ErrorCode::from_slug(&records[1].code), Some(ErrorCode::UpstreamUnreachable));
    })
    .await;
}

#[tokio::test]
async fn a_session_is_sealed_to_its_caller_on_the_way_back() {
    local(async {
        let rig = Rig::answering(|_| {}, |seen| async move {
            let mut answer = result(r#"{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"s","version":"1"}}"#);
            if seen.body.contains("initialize") {
                answer.headers_mut().insert("mcp-session-id", "theirs".parse().unwrap());
            }
            answer
        })
        .await;
        let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
        let got = rig.call(initialize).await;
        let sealed = got.headers["mcp-session-id"].to_str().unwrap().to_owned();
        assert_ne!(sealed, "theirs");
        let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        rig.send(rig.post().header("mcp-session-id", &sealed), ping).await;
        assert_eq!(rig.server.last().headers["mcp-session-id"], "theirs");
        let unknown = rig.send(rig.post().header("mcp-session-id", "theirs"), ping).await;
        assert_eq!((unknown.status.as_u16(), unknown.refusal()), (404, "session_not_found"));
        assert_eq!(unknown.body["id"], 1);
    })
    .await;
}

#[tokio::test]
async fn while_draining_calls_are_served_and_connections_end() {
    local(async {
        let rig = Rig::start(|_| {}).await;
        rig.worker.shared.drain.enter(Phase::Draining);
        let got = rig.call(ADD).await;
        assert_eq!(
            (got.status, &got.headers["connection"]),
            (StatusCode::OK, &HeaderValue::from_static("close"))
        );
        let stream = rig.world.authorized(Request::get(PATH).header("accept", "text/event-stream"));
        let refused = rig.send(stream, "").await;
        assert_eq!((refused.status.as_u16(), refused.refusal()), (503, "draining"));
    })
    .await;
}

#[tokio::test]
async fn a_request_id_is_echoed_and_a_refusal_always_has_one() {
    local(async {
        let rig = Rig::start(|_| {}).await;
        let got = rig.send(rig.post().header("x-request-id", "abc-1"), ADD).await;
        assert_eq!(got.headers["x-request-id"], "abc-1");
        assert_eq!(rig.log.records()[0].request_id, "abc-1");
        let refused = rig.send(Request::post("/nobody/here/mcp"), "").await;
        assert!(refused.headers["x-request-id"].to_str().unwrap().starts_with("call_"));
        assert_eq!(refused.body["request_id"].as_str(), refused.headers["x-request-id"].to_str().ok());
    })
    .await;
}

#[tokio::test]
async fn a_modern_call_mirrors_what_the_approved_definition_says() {
    local(async {
        let definition = br#"{"name":"add","inputSchema":{"type":"object","properties":{"a":{"type":"integer","x-mcp-header":"Amount"}}}}"#;
        let rig = Rig::start(|body| {
            if let Some(tool) = testing::tool(body) {
                tool.definition = Bytes::from_static(definition);
            }
        })
        .await;
        let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
        let text = ADD.replace(r#""arguments""#, &format!(r#"{meta},"arguments""#));
        let request = || {
            let request = Request::post(PATH).header("content-type", "application/json");
            rig.world
                .authorized(request.header("mcp-protocol-version", "2026-07-28"))
                .header("mcp-method", "tools/call")
                .header("mcp-name", "add")
        };
        let got = rig.send(request(), &text).await;
        assert_eq!((got.status.as_u16(), got.refusal()), (400, "header_mismatch"));
        assert_eq!(got.body["error"]["code"], -32020);
        let got = rig.send(request().header("mcp-param-amount", "2"), &text).await;
        assert_eq!(got.refusal(), "header_mismatch");
        let got = rig.send(request().header("mcp-param-amount", "1"), &text).await;
        assert_eq!((got.status, &got.body["id"]), (StatusCode::OK, &serde_json::json!(1)), "{}", got.body);
    })
    .await;
}

/// What no limit has been charged for is bounded all the same: a client must not fill its tenant's share of the spool,
/// which would close the tenant.
#[tokio::test]
async fn a_flood_of_refused_requests_of_a_known_client_is_counted_not_recorded_one_by_one() {
    local(async {
        let rig = Rig::start(|_| {}).await;
        let recorded = crate::snapshot::index::REFUSALS_RECORDED.burst as usize;
        let over = 20;
        for _ in 0..recorded + over {
            assert_eq!(rig.call("{").await.refusal(), "parse_error");
        }
        rig.log.recorder.shutdown();
        let records = rig.log.records();
        let alone = records.iter().filter(|record| record.phase() == RecordPhase::Outcome).count();
        let counted: u64 = records
            .iter()
            .filter(|record| record.phase() == RecordPhase::Aggregate && record.code == "parse_error")
            .map(|record| record.count)
            .sum();
        assert_eq!((alone, counted), (recorded, over as u64));
        // What a limit was charged for has its own record still.
        assert_eq!(rig.call(&ADD.replace("add", "sub")).await.refusal(), "tool_not_granted");
        assert_eq!(rig.log.last().code, "tool_not_granted");
    })
    .await;
}

#[tokio::test]
async fn bodies_of_a_client_are_held_up_to_a_bound() {
    let case = async {
        let rig = Rig::start(|_| {}).await;
        let tenant = rig.world.tenant();
        let client = tenant.clients.values().next().unwrap();
        let mut held = client.limit.buckets.body_bytes.lease();
        assert!(held.try_grow(rig.worker.shared.bounds.client_body_bytes, 0));
        let refused = rig.call(ADD).await;
        assert_eq!(
            (refused.status, refused.refusal()),
            (StatusCode::TOO_MANY_REQUESTS, "concurrency_limited")
        );
        drop(held);
        assert_eq!(rig.call(ADD).await.refusal(), "");
        assert_eq!(client.limit.buckets.body_bytes.running(), 0);
    };
    LocalSet::new().run_until(case).await;
}
