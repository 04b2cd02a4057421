//! One request and its response on one connection, within the upstream's time-outs.

use std::{
    io::Write as _,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use telemetry::metric;
use tokio::time::Instant;

use super::{
    error::{UpstreamError, Waiting},
    headers::Fields,
    origin::Origin,
    pool::{Lease, Pool, Unanswered},
    received::{Inbound, Received},
    timeouts::Timeouts,
};
use crate::snapshot::index::UpstreamIndex;

/// Frames that are read without a look at the clock, if they are there already.
const FRAMES_UNTIMED: u64 = 64;

/// A request to an upstream, without what names the server.
#[derive(Debug)]
pub(super) struct Outgoing<'a> {
    pub(super) method: Method,
    pub(super) fields: Fields<'a>,
    pub(super) body: Bytes,
    /// The address to prefer.
    pub(super) sticky: Option<SocketAddr>,
    /// It may be sent again although the server may have read it.
    pub(super) repeatable: bool,
}

impl Outgoing<'_> {
    /// The head, as HTTP/1.1 writes it.
    pub(super) fn write(&self, origin: &Origin, head: &mut Vec<u8>) -> Result<(), UpstreamError> {
        head.extend_from_slice(self.method.as_str().as_bytes());
        head.extend_from_slice(origin.opening.as_bytes());
        self.fields.each(&self.body, |name, value| {
            for piece in [name.as_bytes(), b": ", value, b"\r\n"] {
                head.extend_from_slice(piece);
            }
        })?;
        if self.method == Method::POST || !self.body.is_empty() {
            // Writing to memory does not fail.
            let _ = write!(head, "content-length: {}\r\n", self.body.len());
        }
        head.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// The request as HTTP/2 wants it, whose target names the server.
    pub(super) fn request(&self, origin: &Origin) -> Result<Request<Full<Bytes>>, UpstreamError> {
        let mut headers = HeaderMap::with_capacity(12);
        self.fields.each(&self.body, |name, value| {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
        })?;
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = origin.absolute.clone();
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// How long an exchange may take: until its answer is held whole, or known to be a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time {
    begun: Instant,
    until: Instant,
    limits: Timeouts,
}

impl Time {
    /// From now on as long as a call with these time-outs may take.
    pub(super) fn of(limits: Timeouts) -> Self {
        let begun = Instant::now();
        Self { begun, until: begun + limits.total, limits }
    }

    /// What is always ready never waits, and its time is over all the same.
    fn check(self) -> Result<(), UpstreamError> {
        if Instant::now() < self.until { Ok(()) } else { Err(UpstreamError::Timeout(Waiting::Total)) }
    }

    /// Waits for this, at most so long from `from` on, and never past the end. One timer for both, and none for what is
    /// ready: most frames are.
    pub(super) async fn wait<F>(
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

/// Sends a request and waits for the response's head. It is sent again, once, on a new connection, when a server has closed the
/// idle one it was sent on: where nothing of it was written; or where nothing of a response came, if it changes nothing and
/// the upstream's budget has something left. What else a server may have read is not repeated.
pub(super) async fn exchange(
    pool: &Rc<Pool>,
    upstream: &UpstreamIndex,
    rules: &egress::Rules,
    outgoing: Outgoing<'_>,
    time: Time,
) -> Result<(Received, Inbound, Lease), UpstreamError> {
    let sticky = outgoing.sticky;
    // Nothing is dialled for a call that could not be sent.
    upstream.headers.as_ref().map_err(|error| *error)?;
    let mut fresh = false;
    loop {
        let (mut lease, from) = match pool.idle(upstream, rules, sticky, fresh)? {
            Ok(lease) => (lease, Some(time.begun)),
            Err(origin) => {
                // Not longer than the call may take: otherwise what does not connect would not be found out.
                let within = time.limits.connect.min(time.until.saturating_duration_since(Instant::now()));
                let connecting = Box::pin(pool.connect(upstream, rules, origin, sticky, within));
                (time.wait(None, time.limits.total, Waiting::Total, connecting).await??, None)
            }
        };
        let sent = time.wait(from, time.limits.first_byte, Waiting::FirstByte, lease.send(&outgoing)).await;
        match sent {
            Ok(Ok((received, body))) => {
                lease.answered();
                return Ok((received, body, lease));
            }
            Ok(Err(Unanswered::Unsent(_))) if lease.reused => {
                retried("unsent");
                fresh = true;
            }
            Ok(Err(Unanswered::Closed(_))) if lease.reused && outgoing.repeatable && lease.may_repeat() => {
                retried("closed");
                fresh = true;
            }
            Ok(Err(Unanswered::Unsent(broken))) => return Err(broken.into()),
            Ok(Err(Unanswered::Closed(broken))) => {
                lease.unanswered();
                return Err(broken.into());
            }
            Ok(Err(Unanswered::Failed(error))) => {
                if matches!(error, UpstreamError::Broken(_)) {
                    lease.unanswered();
                }
                return Err(error);
            }
            Err(error) => {
                // Whichever time was over: no head came.
                lease.discard();
                return Err(error);
            }
        }
    }
}

fn retried(reason: &'static str) {
    metrics::counter!(metric::UPSTREAM_RETRIES, "reason" => reason).increment(1);
}

/// Reads a body to its end, at most `cap` bytes, and gives the connection back, for `idle_for` as the server says.
pub(super) async fn collect(
    mut body: Inbound,
    lease: Lease,
    idle_for: Option<Duration>,
    cap: usize,
    time: Time,
) -> Result<Bytes, UpstreamError> {
    if usize::try_from(body.size_hint().lower()).map_or(true, |announced| announced > cap) {
        return Err(UpstreamError::TooLarge);
    }
    // An answer of known length is read into one piece, and not copied.
    if let Inbound::One(body) = &mut body {
        while !time.wait(None, time.limits.idle, Waiting::Idle, body.gather()).await?? {}
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    for frames in 1_u64.. {
        if frames % FRAMES_UNTIMED == 0 {
            time.check()?;
        }
        let frame = time.wait(None, time.limits.idle, Waiting::Idle, body.frame()).await?;
        let Some(frame) = frame else { break };
        let Ok(data) = frame?.into_data() else { continue };
        if first.len() + rest.len() + data.len() > cap {
            return Err(UpstreamError::TooLarge);
        }
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    lease.give_back(idle_for);
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}
