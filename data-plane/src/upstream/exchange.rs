//! One request and its response on one connection, within the upstream's time-outs.

use std::{
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::{
    error::{Fault, UpstreamError, Waiting},
    pool::{Lease, Pool},
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

/// How long an exchange may take: until its answer is held whole, or known to be a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time {
    begun: Instant,
    until: Instant,
}

impl Time {
    /// From now on as long as a call to this upstream may take.
    pub(super) fn of(upstream: &UpstreamIndex) -> Self {
        let begun = Instant::now();
        Self { begun, until: begun + upstream.total_timeout }
    }

    /// Waits for this, at most so long from `from` on, and never past the end. One timer for both, and none for what is
    /// ready: most frames are.
    async fn wait<F>(
        self,
        from: Option<Instant>,
        most: Duration,
        what: Waiting,
        work: F,
    ) -> Result<F::Output, UpstreamError>
    where
        F: Future,
    {
        let mut work = std::pin::pin!(work);
        if let Poll::Ready(done) = once(work.as_mut()).await {
            return Ok(done);
        }
        let end = from.unwrap_or_else(Instant::now) + most;
        let (end, what) = if end < self.until { (end, what) } else { (self.until, Waiting::Total) };
        tokio::time::timeout_at(end, work).await.map_err(|_| UpstreamError::Timeout(what))
    }
}

/// Polls once.
async fn once<F: Future>(mut work: Pin<&mut F>) -> Poll<F::Output> {
    std::future::poll_fn(|cx: &mut Context<'_>| Poll::Ready(work.as_mut().poll(cx))).await
}

/// Sends a request and waits for the response's head. It is sent again, on a new connection, only when nothing of it was
/// written: a server that has closed an idle connection is no failure, but whatever it may have read is not repeated.
pub(super) async fn exchange(
    pool: &Rc<Pool>,
    upstream: &UpstreamIndex,
    rules: &egress::Rules,
    outgoing: Outgoing,
    time: Time,
) -> Result<(Response<Incoming>, Lease), UpstreamError> {
    let Outgoing { method, headers, body, sticky } = outgoing;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.headers_mut() = headers;
    let mut fresh = false;
    loop {
        let (mut lease, from) = match pool.idle(upstream, rules, sticky, fresh)? {
            Ok(lease) => (lease, Some(time.begun)),
            Err(origin) => {
                let connecting = Box::pin(pool.connect(upstream, rules, origin, sticky));
                (time.wait(None, upstream.total_timeout, Waiting::Total, connecting).await??, None)
            }
        };
        lease.name(&mut request);
        let sent =
            time.wait(from, upstream.first_byte_timeout, Waiting::FirstByte, lease.send(request)).await;
        let failed = match sent {
            Ok(Ok(response)) => return Ok((response, lease)),
            Ok(Err(failed)) => failed,
            Err(error) => {
                // Whichever time was over: no head came.
                lease.discard();
                return Err(error);
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

/// Reads a body to its end, at most `cap` bytes, and gives the connection back.
pub(super) async fn collect(
    response: Response<Incoming>,
    lease: Lease,
    cap: usize,
    upstream: &UpstreamIndex,
    time: Time,
) -> Result<Bytes, UpstreamError> {
    let (head, mut body) = response.into_parts();
    if usize::try_from(body.size_hint().lower()).map_or(true, |announced| announced > cap) {
        return Err(UpstreamError::TooLarge);
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    loop {
        let frame = time.wait(None, upstream.idle_timeout, Waiting::Idle, body.frame()).await?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(UpstreamError::Broken)?;
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
