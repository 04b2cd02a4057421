use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use ids::{TenantId, UpstreamId};
use seams::{Monotonic, SeededEntropy, SystemClock};
use tokio::task::LocalSet;

use super::{Discovery, watch::Schedule, watch::drifts};
use crate::upstream::{
    Noticed, SystemResolver,
    testing::{Answer, Seen, Server, empty, events, json, world},
};
use wire::v1::CatalogueReport;

fn reply(seen: &Seen, result: &str) -> Answer {
    let id =
        seen.body.split("\"id\":").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or("0").to_owned();
    json(200, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
}

fn discovery() -> Discovery {
    Discovery::new(Arc::new(SystemResolver), Arc::new(SystemClock), Arc::new(SeededEntropy::new(1)))
}

async fn look(address: SocketAddr) -> CatalogueReport {
    let world = world(&format!("http://{address}/mcp"), Some(address), |upstream| {
        upstream.first_byte_timeout_ms = 300;
        upstream.total_timeout_ms = 500;
    });
    let tenant = world.tenant();
    let upstream = tenant.upstreams.values().next().unwrap().clone();
    discovery().look(&tenant, &upstream).await
}

fn names(report: &CatalogueReport) -> Vec<&str> {
    report.tools.iter().map(|tool| &*tool.name).collect()
}

#[tokio::test]
async fn a_modern_server_is_asked_in_its_own_way_page_by_page() {
    let case = async {
        let server = Server::start(|seen: Seen| async move {
            assert_eq!(seen.headers["mcp-protocol-version"], "2026-07-28");
            assert!(seen.body.contains("io.modelcontextprotocol/clientCapabilities"));
            assert!(!seen.headers.contains_key("mcp-session-id"));
            match seen.headers["mcp-method"].to_str().unwrap() {
                "server/discover" => reply(
                    &seen,
                    r#"{"supportedVersions":["2026-07-28"],"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"S","version":"3"}}}"#,
                ),
                "tools/list" if seen.body.contains("\"cursor\":\"p\\\"2\"") => {
                    reply(&seen, r#"{"tools":[{"name":"c"},{"name":"a","again":1}]}"#)
                }
                "tools/list" => reply(
                    &seen,
                    r#"{"tools":[{ "name" : "a" },{"name":"b","n":123456789012345678901},{"x":1}],"nextCursor":"p\"2"}"#,
                ),
                other => panic!("{other}"),
            }
        })
        .await;
        let report = look(server.address).await;
        assert_eq!((&*report.error_code, report.complete), ("", true), "{}", report.error_detail);
        assert_eq!((&*report.server_name, &*report.server_version), ("S", "3"));
        assert_eq!(report.protocol_version, "2026-07-28");
        assert_eq!(names(&report), ["a", "c"]);
        assert_eq!(&*report.tools[0].definition, br#"{ "name" : "a" }"#);
        assert_eq!(server.last().headers["authorization"], crate::snapshot::samples::HEADER_VALUE);
    };
    LocalSet::new().run_until(case).await;
}

async fn legacy(revision: &'static str, streams: bool) -> (Server, CatalogueReport) {
    let server = Server::start(move |seen: Seen| async move {
        let session = seen.headers.get("mcp-session-id").is_some_and(|id| id == "s-1");
        if seen.method == http::Method::DELETE {
            return empty(if session { 204 } else { 400 });
        }
        let mut answer = if seen.body.contains("\"initialize\"") {
            assert!(!seen.headers.contains_key("mcp-protocol-version"));
            let result = format!(
                r#"{{"protocolVersion":"{revision}","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"L","version":"1"}}}}"#
            );
            reply(&seen, &result)
        } else if !session {
            json(400, r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"no session"}}"#)
        } else if seen.body.contains("notifications/initialized") {
            empty(202)
        } else {
            assert_eq!(seen.headers["mcp-protocol-version"], revision);
            reply(&seen, r#"{"tools":[{"name":"t"}]}"#)
        };
        if answer.status() == 200 {
            answer.headers_mut().insert("mcp-session-id", http::HeaderValue::from_static("s-1"));
        }
        if streams && answer.status() == 200 {
            use http_body_util::BodyExt as _;
            let (head, body) = answer.into_parts();
            let data = body.collect().await.unwrap().to_bytes();
            let (sender, streamed) = events(&Arc::default());
            sender.send("id: 1\ndata:\n\n: hi\n\n".to_owned()).unwrap();
            sender.send(format!("event: message\ndata: {}\n\n", String::from_utf8_lossy(&data))).unwrap();
            let (mut streamed_head, streamed) = streamed.into_parts();
            streamed_head.headers.insert("mcp-session-id", head.headers["mcp-session-id"].clone());
            return Answer::from_parts(streamed_head, streamed);
        }
        answer
    })
    .await;
    let report = look(server.address).await;
    (server, report)
}

#[tokio::test]
async fn an_older_server_is_initialized_listed_and_left() {
    for (revision, streams) in [("2025-11-25", false), ("2025-06-18", true)] {
        let case = async {
            let (server, report) = legacy(revision, streams).await;
            assert_eq!(report.error_code, "", "{}", report.error_detail);
            assert_eq!(
                (names(&report), &*report.protocol_version, &*report.server_name),
                (vec!["t"], revision, "L")
            );
            assert_eq!(server.last().method, http::Method::DELETE);
        };
        LocalSet::new().run_until(case).await;
    }
}

#[tokio::test]
async fn failures_are_reported_not_thrown() {
    type Case = (fn(Seen) -> Answer, &'static str);
    let cases: [Case; 5] = [
        (|_| empty(500), "upstream_protocol"),
        (|_| empty(401), "upstream_unauthorized"),
        (|seen| reply(&seen, r#"{"protocolVersion":"2024-11-05"}"#), "upstream_protocol"),
        (
            |seen| match &seen.headers.get("mcp-method").map(|method| method.to_str().unwrap()) {
                Some("server/discover") => reply(&seen, r#"{"supportedVersions":["2026-07-28"]}"#),
                _ => reply(&seen, r#"{"tools":7}"#),
            },
            "upstream_protocol",
        ),
        (
            |seen| match &seen.headers.get("mcp-method").map(|method| method.to_str().unwrap()) {
                Some("server/discover") => reply(&seen, r#"{"supportedVersions":["2026-07-28"]}"#),
                // Another cursor each time, for ever.
                _ => reply(&seen, &format!(r#"{{"tools":[],"nextCursor":"{}"}}"#, seen.body.len())),
            },
            "response_too_large",
        ),
    ];
    for (answer, code) in cases {
        let case = async {
            let numbers = Arc::new(parking_lot::Mutex::new(0_u32));
            let server = Server::start(move |mut seen: Seen| {
                let mut number = numbers.lock();
                *number += 1;
                // The handler tells pages apart by the length of what it is shown.
                seen.body.push_str(&" ".repeat(*number as usize));
                let answer = answer(seen);
                async move { answer }
            })
            .await;
            let report = look(server.address).await;
            assert_eq!((&*report.error_code, report.complete), (code, false), "{}", report.error_detail);
            assert!(report.tools.is_empty());
        };
        LocalSet::new().run_until(case).await;
    }
    let world = world("http://127.0.0.1:9/", None, |_| {});
    let tenant = world.tenant();
    let upstream = tenant.upstreams.values().next().unwrap();
    let report = discovery().look(&tenant, upstream).await;
    assert_eq!(report.error_code, "upstream_address_refused");
    assert_eq!(report.upstream_id, upstream.id.uuid().as_bytes());
}

#[test]
fn looks_are_gathered_and_kept_apart() {
    let at = |millis: u64| Monotonic::from_nanos(millis * 1_000_000);
    let place = |n: u8| (TenantId::from_parts(1, [n; 10]), UpstreamId::from_parts(1, [n; 10]));
    let mut schedule = Schedule::default();
    for millis in [0, 100, 900] {
        schedule.ask(place(1), at(millis));
    }
    assert_eq!(schedule.wait(at(400)), Some(Duration::from_millis(600)));
    assert_eq!(schedule.take(at(999), 4), []);
    assert_eq!(schedule.take(at(1000), 4), [place(1)]);
    assert_eq!(schedule.wait(at(1000)), None);
    schedule.ask(place(1), at(1500));
    schedule.ask(place(2), at(1500));
    assert_eq!(schedule.take(at(2500), 4), [place(2)]);
    assert_eq!(schedule.take(at(10_999), 4), []);
    assert_eq!(schedule.take(at(11_000), 0), []);
    assert_eq!(schedule.take(at(11_000), 4), [place(1)]);
}

#[test]
fn changed_definitions_are_reported_together_the_last_one_counts() {
    let (tenant, upstream) = (TenantId::from_parts(1, [1; 10]), UpstreamId::from_parts(1, [2; 10]));
    let drift = |name: &str, text: &'static str| Noticed::Drift {
        tenant,
        upstream,
        name: name.into(),
        definition: bytes::Bytes::from_static(text.as_bytes()),
    };
    let mut notices =
        vec![drift("a", "1"), Noticed::ListChanged { tenant, upstream }, drift("b", "2"), drift("a", "3")];
    let mut asked = BTreeSet::new();
    let reports = drifts(&mut notices, |place| {
        asked.insert(place);
    });
    assert_eq!(asked.into_iter().collect::<Vec<_>>(), [(tenant, upstream)]);
    assert_eq!(reports.len(), 1);
    assert!(!reports[0].complete);
    let tools: Vec<_> = reports[0].tools.iter().map(|tool| (&*tool.name, &*tool.definition)).collect();
    assert_eq!(tools, [("b", b"2".as_slice()), ("a", b"3".as_slice())]);
}
