//! What a response's status, content type and body come to.

use std::{net::SocketAddr, time::Duration};

use ::mcp::{
    Method,
    envelope::{self, Message, Outcome},
};
use bytes::Bytes;
use crypto::{SealError, SessionSeal, UpstreamSession};
use errors::{ErrorCode, jsonrpc};
use http::{HeaderValue, StatusCode};

use super::{
    error::{Fault, UpstreamError},
    exchange,
    forward::{Call, Outgoing},
    pool::Lease,
    received::{Content, Fields, Inbound, Received},
};
use crate::mcp::{Request, Said};

/// Bytes of a body that nobody reads, up to which it is taken off the connection.
const MAX_IGNORED: usize = 64 * 1024;

/// What is passed on.
pub(super) enum Reply {
    /// Looked at already.
    Whole(Bytes),
    /// Looked at while it comes.
    Stream { body: Inbound, lease: Lease, idle_for: Option<Duration> },
}

/// Reads a response as far as it must be held, and decides what of it goes on.
pub(super) async fn read(
    call: &Call<'_>,
    received: &Received,
    body: Inbound,
    lease: Lease,
    request: Option<&Request>,
) -> Result<(StatusCode, Reply), UpstreamError> {
    let Received { status, ref fields } = *received;
    if matches!(status.as_u16(), 401 | 403 | 407) {
        return Err(UpstreamError::Unauthorized(status.as_u16()));
    }
    if status == StatusCode::NOT_FOUND && call.session.is_some() {
        return Err(UpstreamError::SessionNotFound);
    }
    if !fields.is_identity() {
        return Err(Fault::Encoding.into());
    }
    let (content, idle_for) = (fields.content(), fields.keep_alive);
    let cap = call.speaker.max_message;
    match (call.outgoing, status.is_success(), content) {
        (Outgoing::Request { .. } | Outgoing::Listen, true, Content::Events) => {
            body.slow_down();
            Ok((StatusCode::OK, Reply::Stream { body, lease, idle_for }))
        }
        (Outgoing::Request { .. }, true, Content::Json) => {
            let body = exchange::collect(body, lease, idle_for, cap, call.time).await?;
            match call.speaker.hear(request, &body)? {
                Said::Answer { rewritten, .. } => {
                    Ok((StatusCode::OK, Reply::Whole(rewritten.map_or(body, Bytes::from))))
                }
                _ => Err(Fault::NotTheResponse.into()),
            }
        }
        (Outgoing::Request { .. } | Outgoing::Listen, true, _) => Err(Fault::ContentType.into()),
        (Outgoing::Notification | Outgoing::Response, true, _) => {
            ignore(fields, body, lease, call).await;
            Ok((StatusCode::ACCEPTED, Reply::Whole(Bytes::new())))
        }
        (Outgoing::End, true, _) => {
            ignore(fields, body, lease, call).await;
            Ok((StatusCode::OK, Reply::Whole(Bytes::new())))
        }
        (Outgoing::Listen | Outgoing::End, false, _) if status == StatusCode::METHOD_NOT_ALLOWED => {
            ignore(fields, body, lease, call).await;
            Ok((status, Reply::Whole(Bytes::new())))
        }
        (_, false, Content::Json) => {
            let body = exchange::collect(body, lease, idle_for, cap, call.time).await?;
            if is_error_for(&body, request) {
                Ok((passed(status), Reply::Whole(body)))
            } else {
                unanswered(call.outgoing, status)
            }
        }
        (_, false, _) => {
            ignore(fields, body, lease, call).await;
            unanswered(call.outgoing, status)
        }
    }
}

/// An error status with no answer in it. An older server knows neither `server/discover` nor, it seems, how to say so;
/// told that the method does not exist, clients try `initialize`.
fn unanswered(outgoing: &Outgoing, status: StatusCode) -> Result<(StatusCode, Reply), UpstreamError> {
    const METHOD_NOT_FOUND: i64 = -32601;
    match outgoing {
        Outgoing::Request { id, method: Method::Discover } if status.is_client_error() => {
            let code = ErrorCode::MethodUnknown;
            let body = jsonrpc::response_with_code(Some(id), METHOD_NOT_FOUND, code, None, None, &[]);
            Ok((StatusCode::NOT_FOUND, Reply::Whole(body.into())))
        }
        _ => Err(failed(status)),
    }
}

/// Takes a body that nobody reads off the connection, if that is quickly done.
async fn ignore(fields: &Fields, body: Inbound, lease: Lease, call: &Call<'_>) {
    if fields.content() != Content::Events {
        let _ = exchange::collect(body, lease, fields.keep_alive, MAX_IGNORED, call.time).await;
    }
}

/// Whether a body is a JSON-RPC error for this request, or for one whose id could not be read.
fn is_error_for(body: &[u8], request: Option<&Request>) -> bool {
    let Ok(Message::Response(response)) = envelope::parse(body) else { return false };
    let same = |id: envelope::RawId<'_>| request.is_some_and(|request| *request.id == *id.as_bytes());
    matches!(response.outcome, Outcome::Error(_)) && response.id.is_none_or(same)
}

/// The status under which a server's JSON-RPC error is passed on. Clients drop what comes under a server error.
fn passed(status: StatusCode) -> StatusCode {
    if status.is_client_error() { status } else { StatusCode::OK }
}

fn failed(status: StatusCode) -> UpstreamError {
    match status.as_u16() {
        status @ (502..=504) => UpstreamError::Unavailable(status),
        status => Fault::Status(status).into(),
    }
}

/// Seals a session that an upstream has begun, to the endpoint and the client.
pub(super) fn seal_session(
    call: &Call<'_>,
    id: &HeaderValue,
    address: SocketAddr,
) -> Result<HeaderValue, UpstreamError> {
    // MCP: visible ASCII alone.
    let id = id.to_str().ok().filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic()));
    let speaker = call.speaker;
    let session = SessionSeal {
        endpoint: speaker.endpoint.id,
        principal: speaker.handles.holder(),
        created_micros: call.pool.parts.clock.now().micros(),
        upstreams: vec![UpstreamSession {
            upstream_id: speaker.upstream.id,
            session_id: id.ok_or(Fault::SessionId)?.to_owned(),
            address: address.to_string(),
        }],
    };
    let sealed = crypto::session::seal(speaker.tenant.crypto.session(), &session, &*speaker.entropy);
    let text = sealed.map_err(|error| match error {
        SealError::TooLarge => Fault::SessionId.into(),
        error => UpstreamError::Seal(error),
    })?;
    HeaderValue::from_str(&text).map_err(|_| Fault::SessionId.into())
}
