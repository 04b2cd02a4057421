//! Which addresses are dialled, and what goes out.

use ::mcp::{Method, Revision};
use errors::ErrorCode;
use http::HeaderMap;
use tokio::task::LocalSet;

use super::super::{
    Dispatch, Pool, UpstreamError,
    forward::send,
    testing::{Scripted, Server, dispatch, pool, result, session, world},
};
use crate::{
    audit::testing::{Log, facts},
    testing::World,
};
use std::rc::Rc;

pub(super) async fn failed(pool: &Rc<Pool>, world: &World, dispatch: Dispatch) -> UpstreamError {
    let log = Log::new();
    let intent = log.pen().intent(facts(world, b""), false).await.unwrap();
    send(pool, dispatch, intent).await.unwrap_err().error
}

pub(super) async fn called(pool: &Rc<Pool>, world: &World, dispatch: Dispatch) {
    let log = Log::new();
    let intent = log.pen().intent(facts(world, b""), false).await.unwrap();
    assert_eq!(send(pool, dispatch, intent).await.unwrap().status(), 200);
}

fn ping(world: &World) -> Dispatch {
    dispatch(world, Revision::V2025_11_25, Method::Ping)
}

#[tokio::test]
async fn addresses_that_upstreams_may_not_have_are_not_dialled() {
    let case = async {
        let literal =
            ["http://127.0.0.1:1/", "http://[::1]/", "http://169.254.169.254/", "http://[::ffff:10.0.0.1]/"];
        let inside = pool(Scripted::new(&[&["10.0.0.1", "192.168.0.1"]]));
        for url in literal.into_iter().chain(["http://inside.example.com/", "https://inside.example.com/"]) {
            let world = world(url, None, |_| {});
            let error = failed(&inside, &world, ping(&world)).await;
            assert_eq!(error.code(), ErrorCode::UpstreamAddressRefused, "{url}");
        }
        let nowhere = pool(Scripted::new(&[&[]]));
        let world = world("http://nowhere.example.com/", None, |_| {});
        assert_eq!(failed(&nowhere, &world, ping(&world)).await.code(), ErrorCode::UpstreamUnreachable);
    };
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn a_name_is_looked_at_anew_after_a_while_and_only_its_good_addresses_are_used() {
    let local = LocalSet::new();
    local
        .run_until(async {
            let server = Server::start(|_| async { result("{}") }).await;
            // First a stray private address beside the allowed one, then only the private one.
            let resolver = Scripted::new(&[&["10.0.0.1", "127.0.0.1"], &["10.0.0.1"]]);
            let pool = pool(resolver);
            let url = format!("http://mcp.example.com:{}/", server.address.port());
            let world = world(&url, Some(server.address), |_| {});
            called(&pool, &world, ping(&world)).await;
            // The connection that is open leads where it was allowed to.
            called(&pool, &world, ping(&world)).await;
            assert_eq!(server.connections(), 1);
            server.close_connections();
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
            // For a few seconds the answer is used again, at the addresses of it that are still allowed.
            called(&pool, &world, ping(&world)).await;
            assert_eq!(server.connections(), 2);
            server.close_connections();
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
            tokio::time::pause();
            tokio::time::advance(std::time::Duration::from_secs(6)).await;
            tokio::time::resume();
            assert_eq!(failed(&pool, &world, ping(&world)).await.code(), ErrorCode::UpstreamAddressRefused);
            assert_eq!(server.connections(), 2);
        })
        .await;
}

#[tokio::test]
async fn a_connection_is_not_used_again_once_its_address_is_no_longer_allowed() {
    let local = LocalSet::new();
    local
        .run_until(async {
            let server = Server::start(|_| async { result("{}") }).await;
            let pool = pool(Scripted::new(&[&["127.0.0.1"]]));
            let url = format!("http://mcp.example.com:{}/", server.address.port());
            let mut world = world(&url, Some(server.address), |_| {});
            called(&pool, &world, ping(&world)).await;
            world.edit(|body| {
                if let wire::v1::resource::Body::Tenant(tenant) = body {
                    tenant.egress.clear();
                }
            });
            assert_eq!(failed(&pool, &world, ping(&world)).await.code(), ErrorCode::UpstreamAddressRefused);
        })
        .await;
}

#[tokio::test]
async fn of_what_the_caller_sent_only_the_list_goes_out_and_the_credential_is_ours() {
    let local = LocalSet::new();
    local
        .run_until(async {
            let server = Server::start(|_| async { result("{}") }).await;
            let pool = pool(Scripted::new(&[&["127.0.0.1"]]));
            let world = super::super::testing::world_of(&server);
            let mut call = dispatch(&world, Revision::V2026_07_28, Method::PromptsGet);
            let sent = [
                ("authorization", "Bearer caller-key"),
                ("cookie", "a=b"),
                ("host", "gateway.example.com"),
                ("forwarded", "for=192.0.2.1"),
                ("x-forwarded-for", "192.0.2.1"),
                ("x-real-ip", "192.0.2.1"),
                ("connection", "keep-alive, x-hop"),
                ("x-hop", "1"),
                ("keep-alive", "5"),
                ("te", "trailers"),
                ("upgrade", "websocket"),
                ("proxy-authorization", "Basic x"),
                ("origin", "https://evil.example.com"),
                ("accept-encoding", "gzip"),
                ("mcp-session-id", "stolen"),
                ("last-event-id", "stolen"),
                ("x-api-key", "caller"),
                ("user-agent", "agent/1"),
                ("accept", "application/json, text/event-stream"),
                ("content-type", "application/json; charset=utf-7"),
                ("mcp-protocol-version", "2026-07-28"),
                ("mcp-method", "prompts/get"),
                ("mcp-name", "prefixed_name"),
                ("mcp-param-region", "eu"),
                ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ];
            call.headers = HeaderMap::from_iter(
                sent.map(|(name, value)| (name.parse().unwrap(), http::HeaderValue::from_static(value))),
            );
            call.mcp_name = Some("naïve".to_owned());
            call.session = Some(session(None));
            called(&pool, &world, call).await;
            let seen = server.last();
            let mut names: Vec<_> = seen.headers.keys().map(http::HeaderName::as_str).collect();
            names.sort_unstable();
            assert_eq!(
                names,
                [
                    "accept",
                    "accept-encoding",
                    "authorization",
                    "content-length",
                    "content-type",
                    "host",
                    "mcp-method",
                    "mcp-name",
                    "mcp-param-region",
                    "mcp-protocol-version",
                    "mcp-session-id",
                    "traceparent",
                    "user-agent",
                ]
            );
            let value = |name: &str| seen.headers[name].to_str().unwrap().to_owned();
            assert_eq!(value("authorization"), crate::snapshot::samples::HEADER_VALUE);
            assert_eq!(value("host"), server.address.to_string());
            assert_eq!(value("accept-encoding"), "identity");
            assert_eq!(value("content-type"), "application/json");
            assert_eq!(value("mcp-session-id"), "upstream-session");
            assert_eq!(value("mcp-name"), "=?base64?bmHDr3Zl?=");
            assert!(value("user-agent").starts_with("portcullis/"));
            assert_eq!(seen.uri, "/mcp?x=1");
            assert_eq!(seen.body, r#"{"jsonrpc":"2.0","id":1,"method":"prompts/get"}"#);
        })
        .await;
}

/// Nor beside it: which of two values counts is for each server to say. Of what goes out, a credential may be named so.
#[tokio::test]
async fn what_the_credential_names_comes_from_the_credential_alone() {
    let case = async {
        let server = Server::start(|_| async { result("{}") }).await;
        let pool = pool(Scripted::new(&[&["127.0.0.1"]]));
        let url = format!("http://{}/", server.address);
        let world = world(&url, Some(server.address), |upstream| {
            "user-agent".clone_into(&mut upstream.headers[0].name);
        });
        let mut call = ping(&world);
        call.headers.insert("user-agent", http::HeaderValue::from_static("agent/1"));
        called(&pool, &world, call).await;
        let seen = server.last();
        let values: Vec<_> = seen.headers.get_all("user-agent").iter().collect();
        assert_eq!(values, [crate::snapshot::samples::HEADER_VALUE]);
    };
    LocalSet::new().run_until(case).await;
}

/// Nobody has compared them with the body there, so whoever believes them would be told something else.
#[tokio::test]
async fn headers_that_describe_the_body_go_out_only_where_they_were_compared_with_it() {
    let local = LocalSet::new();
    local
        .run_until(async {
            let server = Server::start(|_| async { result("{}") }).await;
            let pool = pool(Scripted::new(&[&["127.0.0.1"]]));
            let world = super::super::testing::world_of(&server);
            for (call, gone) in [
                (ping(&world), &["mcp-method", "mcp-name", "mcp-param-region"][..]),
                (dispatch(&world, Revision::V2026_07_28, Method::CompletionComplete), &["mcp-name"]),
            ] {
                let mut call = call;
                for name in ["mcp-method", "mcp-name", "mcp-param-region"] {
                    call.headers.insert(name, http::HeaderValue::from_static("tools/call"));
                }
                called(&pool, &world, call).await;
                let seen = server.last();
                assert!(gone.iter().all(|name| !seen.headers.contains_key(*name)), "{:?}", seen.headers);
            }
        })
        .await;
}

#[tokio::test]
async fn a_credential_that_does_not_open_refuses_the_call() {
    let pool = pool(Scripted::new(&[&["127.0.0.1"]]));
    let world = world("http://mcp.example.com/", None, |upstream| upstream.headers[0].sealed[20] ^= 1);
    let error = failed(&pool, &world, ping(&world)).await;
    assert_eq!(error.code(), ErrorCode::UpstreamCredentialUnavailable);
}
