//! One request and its response on one connection, within the upstream's time-outs.

use std::{net::SocketAddr, rc::Rc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;

use super::{
    error::{Fault, UpstreamError, Waiting},
    origin::Origin,
    pool::{Lease, Outbound, Pool},
};
use crate::snapshot::index::UpstreamIndex;

/// A request to an upstream, without target and `Host`.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The address to prefer.
    pub(super) sticky: Option<SocketAddr>,
}

/// Sends a request and waits for the response's head. It is sent again, on a new connection, only when nothing of it was
/// written: a server that has closed an idle connection is no failure, but whatever it may have read is not repeated.
pub(super) async fn exchange(
    pool: &Rc<Pool>,
    upstream: &UpstreamIndex,
    rules: &egress::Rules,
    outgoing: Outgoing,
) -> Result<(Response<Incoming>, Lease), UpstreamError> {
    let Outgoing { method, headers, body, sticky } = outgoing;
    let origin = pool.origin(upstream)?;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.headers_mut() = headers;
    let mut fresh = false;
    loop {
        let mut lease = pool.lease(upstream, rules, sticky, fresh).await?;
        address(&mut request, &origin, lease.is_h2());
        let sent = tokio::time::timeout(upstream.first_byte_timeout, lease.send(request)).await;
        let failed = match sent {
            Ok(Ok(response)) => return Ok((response, lease)),
            Ok(Err(failed)) => failed,
            Err(_) => {
                lease.discard();
                return Err(UpstreamError::Timeout(Waiting::FirstByte));
            }
        };
        match failed.request {
            Some(unsent) if lease.reused => {
                request = unsent;
                fresh = true;
            }
            _ if failed.error.is_parse() => return Err(Fault::NotHttp.into()),
            _ => return Err(UpstreamError::Broken(failed.error)),
        }
    }
}

/// Names the server, in the form the connection's protocol wants.
fn address(request: &mut Request<Outbound>, origin: &Origin, h2: bool) {
    if h2 {
        *request.uri_mut() = origin.absolute.clone();
        request.headers_mut().remove(header::HOST);
    } else {
        *request.uri_mut() = origin.path.clone();
        request.headers_mut().insert(header::HOST, origin.authority.clone());
    }
}

/// Reads a body to its end, at most `cap` bytes, and gives the connection back.
pub(super) async fn collect(
    response: Response<Incoming>,
    lease: Lease,
    cap: usize,
    upstream: &UpstreamIndex,
) -> Result<Bytes, UpstreamError> {
    let (head, mut body) = response.into_parts();
    if usize::try_from(body.size_hint().lower()).map_or(true, |announced| announced > cap) {
        return Err(UpstreamError::TooLarge);
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    loop {
        let frame = tokio::time::timeout(upstream.idle_timeout, body.frame()).await;
        let frame = match frame {
            Err(_) => return Err(UpstreamError::Timeout(Waiting::Idle)),
            Ok(None) => break,
            Ok(Some(frame)) => frame.map_err(UpstreamError::Broken)?,
        };
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + rest.len() + data.len() > cap {
            return Err(UpstreamError::TooLarge);
        }
        // Most answers come in one piece, which is then not copied.
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    lease.give_back(keep_alive(&head.headers));
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}

/// How long the server keeps an idle connection, less a second for the way: `Keep-Alive: timeout=5` (RFC 2068 section
/// 19.7.1.1, still what servers send).
pub(super) fn keep_alive(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("keep-alive").map(HeaderValue::to_str)?.ok()?;
    let parameters = text.split(',').filter_map(|parameter| parameter.trim().split_once('='));
    let mut timeouts = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"));
    let seconds: u64 = timeouts.next()?.1.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.saturating_sub(1)))
}
