//! The upstream of `make bench`: the least an MCP server can be, so that it is never the bottleneck. One thread; answers
//! `tools/call` with about 170 bytes under the request's id, and what a gateway needs to discover fifty tools.
//!
//! `bench-echo PORT` binds 127.0.0.1. `GET /calls` says how many calls it answered, so that a run can check that every
//! counted request arrived here, and was not refused on the way. `initialize` opens a session, so that the older revisions
//! can be measured too, and `GET` a stream on which nothing ever comes.

use std::{
    cell::Cell,
    convert::Infallible,
    io::Write,
    pin::Pin,
    rc::Rc,
    task::{Context as Task, Poll},
};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Frame, Incoming},
    header::{ACCEPT, CONTENT_TYPE, HeaderValue},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{json, value::RawValue};

/// Tools it lists, as the conditions of the benchmark say.
const TOOLS: usize = 50;

/// Media type of a stream.
const EVENTS: &str = "text/event-stream";

type Answer = Either<Full<Bytes>, Silence>;

/// A stream without events.
struct Silence;

impl Body for Silence {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Task<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: &'a str,
}

fn main() -> anyhow::Result<()> {
    let port: u16 = std::env::args().nth(1).context("usage: bench-echo PORT")?.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, serve(port))
}

async fn serve(port: u16) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    writeln!(std::io::stdout(), "http://{}/mcp", listener.local_addr()?)?;
    let calls = Rc::new(Cell::new(0_u64));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let calls = Rc::clone(&calls);
        let service = service_fn(move |request| answer(request, Rc::clone(&calls)));
        tokio::task::spawn_local(async move {
            // A client that goes away is no news.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(request: Request<Incoming>, calls: Rc<Cell<u64>>) -> Result<Response<Answer>, Infallible> {
    if request.method() == Method::GET {
        let counted = request.uri().path() == "/calls";
        if !counted && request.headers().get(ACCEPT).is_some_and(|accepts| accepts == EVENTS) {
            let mut response = Response::new(Either::Right(Silence));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(EVENTS));
            return Ok(response);
        }
        let status = if counted { StatusCode::OK } else { StatusCode::METHOD_NOT_ALLOWED };
        return Ok(reply(status, if counted { calls.get().to_string() } else { String::new() }));
    }
    if request.method() == Method::DELETE {
        return Ok(reply(StatusCode::NO_CONTENT, String::new()));
    }
    let Ok(body) = request.into_body().collect().await else {
        return Ok(reply(StatusCode::BAD_REQUEST, String::new()));
    };
    let body = body.to_bytes();
    let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(&body) else {
        return Ok(reply(StatusCode::BAD_REQUEST, String::new()));
    };
    // A notification or a response.
    let Some(id) = envelope.id else { return Ok(reply(StatusCode::ACCEPTED, String::new())) };
    let id = id.get();
    if envelope.method == "tools/call" {
        calls.set(calls.get() + 1);
        return Ok(reply(
            StatusCode::OK,
            format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"complete","content":[{{"type":"text","text":"A result of about the length that a short tool answer has, no more."}}]}}}}"#
            ),
        ));
    }
    let mut response = reply(StatusCode::OK, other(id, envelope.method));
    if envelope.method == "initialize" {
        response.headers_mut().insert("mcp-session-id", HeaderValue::from_static("one-session-for-all"));
    }
    Ok(response)
}

/// The handshakes of both eras and the list.
fn other(id: &str, method: &str) -> String {
    let server = json!({"name": "bench-echo", "version": env!("CARGO_PKG_VERSION")});
    let capabilities = json!({"tools": {}});
    let result = match method {
        "initialize" => {
            json!({"protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": server})
        }
        "server/discover" => json!({
            "resultType": "complete", "supportedVersions": ["2025-11-25", "2026-07-28"], "capabilities": capabilities,
            "ttlMs": 0, "cacheScope": "private", "_meta": {"io.modelcontextprotocol/serverInfo": server},
        }),
        "tools/list" => {
            let tool = |index: usize| {
                json!({
                    "name": format!("tool_{index:02}"), "description": "Answers with a constant text",
                    "inputSchema": {
                        "type": "object",
                        "properties": {"query": {"type": "string"}, "limit": {"type": "integer"}},
                        "required": ["query"],
                    },
                })
            };
            let tools: Vec<_> = (0..TOOLS).map(tool).collect();
            json!({"resultType": "complete", "tools": tools, "ttlMs": 0, "cacheScope": "private"})
        }
        "ping" => json!({}),
        _ => {
            return format!(
                r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"Method not found"}}}}"#
            );
        }
    };
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}

fn reply(status: StatusCode, body: String) -> Response<Answer> {
    let mut response = Response::new(Either::Left(Full::new(Bytes::from(body))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
