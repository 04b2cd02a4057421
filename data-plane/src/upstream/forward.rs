//! Forwarding: an admitted call goes out, what comes back is looked at and passed on.

use std::{any::Any, fmt, net::SocketAddr, pin::Pin, rc::Rc, sync::Arc};

use ::mcp::{Method, Revision};
use bytes::Bytes;
use crypto::Holder;
use errors::ErrorCode;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::{
    aside::Aside,
    body::Body,
    error::{UpstreamError, Waiting},
    exchange::Time,
    guard::{Outcome, Passage, is_repeatable},
    held::Held,
    pool::{Lease, Pool},
    proof::Stated,
    received::{Inbound, Received},
    reply::{self, Reply},
    timeouts::Timeouts,
};
use crate::{
    admitted::Admitted,
    audit::{End, IntentId},
    mcp::{Cut, Ending, Handles, Opened, Patience, Relay, Request, Speaker, Visible, cancelled},
    snapshot::index::{EndpointIndex, TenantIndex, UpstreamIndex},
};

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// POST of a JSON-RPC request.
    Request {
        /// Raw JSON.
        id: Box<[u8]>,
        /// What it asks.
        method: Method,
    },
    /// POST of a notification.
    Notification,
    /// POST of a response to a question of the server.
    Response,
    /// GET: a stream of what the server says by itself (up to 2025-11-25).
    Listen,
    /// DELETE: the end of a session (up to 2025-11-25).
    End,
}

/// A session, opened.
#[derive(Clone)]
pub(crate) struct Session {
    /// As the caller knows it.
    pub(crate) presented: Box<str>,
    /// As the upstream knows it.
    pub(crate) upstream_session: Box<str>,
    /// Where it was begun.
    pub(crate) address: Option<SocketAddr>,
}

/// Everything [`forward`] needs of an admitted call.
pub(crate) struct Dispatch {
    pub(crate) tenant: Arc<TenantIndex>,
    pub(crate) endpoint: Arc<EndpointIndex>,
    pub(crate) upstream: Arc<UpstreamIndex>,
    /// Put before every exposed name.
    pub(crate) prefix: Box<str>,
    pub(crate) caller: Holder,
    pub(crate) revision: Revision,
    pub(crate) outgoing: Outgoing,
    /// Exactly what is sent.
    pub(crate) body: Bytes,
    /// The caller's; only some of them go further.
    pub(crate) headers: HeaderMap,
    /// Stands in for the caller's `Mcp-Name`; plain text.
    pub(crate) mcp_name: Option<String>,
    pub(crate) session: Option<Session>,
    /// The caller's handles, opened.
    pub(crate) opened: Opened,
    pub(crate) visible: Rc<dyn Visible>,
    /// Bytes one message of the response may have.
    pub(crate) max_response_bytes: usize,
    /// Told how it went.
    pub(crate) passage: Passage,
    /// Dropped when the response has ended.
    pub(crate) hold: Box<dyn Any>,
    /// Resolves when the call must end.
    pub(crate) cut: Cut,
}

/// A call that brought nothing back to pass on.
#[derive(Debug)]
pub(crate) struct Failed {
    /// Why.
    pub(crate) error: UpstreamError,
    /// For the outcome, once the refusal is rendered.
    pub(crate) intent: IntentId,
}

/// Sends an admitted call to its upstream: the only way out, for calls whose intent is recorded.
///
/// The outcome is recorded here, when a response that is held whole is returned, or when a streamed body ends.
pub(crate) fn forward(
    pool: &Rc<Pool>,
    admitted: Admitted,
    intent: IntentId,
) -> Pin<Box<impl Future<Output = Result<Response<Body>, Failed>>>> {
    Box::pin(send(pool, admitted.into_dispatch(), intent))
}

pub(super) async fn send(
    pool: &Rc<Pool>,
    dispatch: Dispatch,
    intent: IntentId,
) -> Result<Response<Body>, Failed> {
    let Dispatch { outgoing, session, mut cut, passage, hold, revision, .. } = dispatch;
    let speaker = Speaker {
        handles: Handles::new(&dispatch.tenant, dispatch.endpoint.id, dispatch.caller, dispatch.upstream.id),
        tenant: dispatch.tenant,
        endpoint: dispatch.endpoint,
        upstream: dispatch.upstream,
        prefix: dispatch.prefix,
        revision,
        opened: dispatch.opened,
        visible: dispatch.visible,
        watched: pool.parts.watched.clone(),
        entropy: pool.parts.entropy.clone(),
        max_message: dispatch.max_response_bytes,
    };
    let request = match outgoing {
        Outgoing::Request { ref id, method } => Some(Request { id: id.clone(), method }),
        _ => None,
    };
    let repeatable = request.as_ref().is_some_and(|it| is_repeatable(it.method, passage.class()));
    let timeouts = speaker.upstream.timeouts.with(passage.timeouts());
    let time = Time::of(timeouts);
    let stated = speaker.upstream.auth.assertion.as_ref().and_then(|_| intent.stated()).map(Rc::new);
    let call = Call {
        pool,
        speaker: &speaker,
        outgoing: &outgoing,
        session: session.as_ref(),
        stated: stated.as_deref(),
        repeatable,
        time,
    };
    let (headers, mcp_name) = (&dispatch.headers, dispatch.mcp_name.as_deref());
    let attempt = Box::pin(call.attempt(headers, mcp_name, dispatch.body, request.as_ref()));
    let method = request.as_ref().map(|request| request.method);
    let sent = pool.parts.clock.monotonic();
    let reply = tokio::select! {
        biased;
        code = &mut cut => Err(UpstreamError::Cut(code)),
        reply = attempt => reply,
    };
    let aside = || Aside {
        pool: pool.clone(),
        tenant: speaker.tenant.clone(),
        upstream: speaker.upstream.clone(),
        session: session.clone(),
        stated: stated.as_ref().map(|stated| Rc::new(stated.beside())),
        revision,
        running: Rc::default(),
    };
    let (head, reply) = match reply {
        Ok(reply) => reply,
        Err(error) => {
            passage.end(Outcome::of(&error), pool.parts.clock.monotonic(), &*pool.parts.entropy);
            pool.meters.operation(method, Some(error.code()), pool.parts.clock.monotonic().since(sent));
            if let Some(request) = &request
                && gave_up(&error)
                && !revision.is_modern()
                && request.method != Method::Initialize
            {
                aside().post(cancelled(&request.id));
            }
            return Err(Failed { error, intent });
        }
    };
    let mut response = match reply {
        Reply::Whole(body) => {
            let now = pool.parts.clock.monotonic();
            passage.end(Outcome::Answered, now, &*pool.parts.entropy);
            let took = now.since(sent);
            pool.meters.operation(method, None, took);
            pool.meters.overhead(intent.elapsed(now).saturating_sub(took));
            intent
                .finish(End { code: None, status: head.status.as_u16(), body: &body, cut: false }, now)
                .await;
            drop(hold);
            Response::new(Body::full(body))
        }
        Reply::Stream { body, lease, idle_for } => {
            let aside = aside();
            let (clock, entropy, meters) =
                (pool.parts.clock.clone(), pool.parts.entropy.clone(), pool.meters.clone());
            let patience = patience(&outgoing, timeouts);
            let held = Held::new(pool, body, lease, passage, patience.total);
            let (body, given_back, over) = (held.reader(), held.clone(), held);
            let ending = Ending {
                intent,
                _hold: hold,
                cut,
                ended: Box::new(move |code, outcome| {
                    let now = clock.monotonic();
                    if let Some(passage) = over.passage() {
                        passage.end(outcome, now, &*entropy);
                    }
                    meters.operation(method, code, now.since(sent));
                }),
                give_back: Box::new(move || {
                    if let Some(lease) = given_back.lease() {
                        lease.give_back(idle_for);
                    }
                }),
                aside: Rc::new(move |message| aside.post(message)),
            };
            let waiting = match &outgoing {
                Outgoing::Listen => speaker.opened.resume.as_ref().and_then(|resume| resume.request.clone()),
                _ => None,
            };
            let waiting = waiting.map(|(method, id)| Request { id, method }).or(request);
            let clock = pool.parts.clock.clone();
            Response::new(Body::stream(Relay::new(body, speaker, waiting, patience, clock, ending)))
        }
    };
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    Ok(response)
}

/// The gateway stopped waiting, so the server does not know that nobody wants the answer. What was killed is sent nothing
/// more, not even that.
const fn gave_up(error: &UpstreamError) -> bool {
    match error {
        UpstreamError::Cut(code) => !matches!(code, ErrorCode::Killed),
        UpstreamError::TooLarge => true,
        UpstreamError::Timeout(waiting) => {
            matches!(waiting, Waiting::FirstByte | Waiting::Idle | Waiting::Total)
        }
        _ => false,
    }
}

/// Streams that the caller keeps open have no time-outs; what else comes as a stream has a call's.
fn patience(outgoing: &Outgoing, timeouts: Timeouts) -> Patience {
    match outgoing {
        Outgoing::Listen | Outgoing::Request { method: Method::SubscriptionsListen, .. } => {
            Patience::default()
        }
        _ => Patience { idle: Some(timeouts.idle), total: Some(timeouts.total) },
    }
}

/// Status and headers for the caller.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
}

/// A call on its way.
pub(super) struct Call<'a> {
    pub(super) pool: &'a Rc<Pool>,
    pub(super) speaker: &'a Speaker,
    pub(super) outgoing: &'a Outgoing,
    pub(super) session: Option<&'a Session>,
    /// What an assertion says of it; `None` where the upstream is shown none.
    pub(super) stated: Option<&'a Stated>,
    /// It may be sent twice.
    pub(super) repeatable: bool,
    /// Until it is known to be a stream, every answer has to come within it.
    pub(super) time: Time,
}

impl Call<'_> {
    pub(super) async fn take(
        &self,
        received: Received,
        body: Inbound,
        lease: Lease,
        request: Option<&Request>,
    ) -> Result<(Head, Reply), UpstreamError> {
        let session = self.session_for_caller(&received, &lease)?;
        let (status, reply) = reply::read(self, &received, body, lease, request).await?;
        let mut headers = HeaderMap::with_capacity(6);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        match &reply {
            Reply::Stream { .. } => {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
                headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
            }
            Reply::Whole(body) if !body.is_empty() => {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
            Reply::Whole(_) if status == StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
            }
            Reply::Whole(_) => {}
        }
        if let Some(session) = session {
            headers.insert(::mcp::headers::SESSION_ID, session);
        }
        if let Some(after) = received.fields.retry_after.filter(|_| !status.is_success()) {
            headers.insert(header::RETRY_AFTER, after);
        }
        Ok((Head { status, headers }, reply))
    }

    /// `Mcp-Session-Id` for the caller: a new session sealed, a presented one as it was.
    fn session_for_caller(
        &self,
        received: &Received,
        lease: &Lease,
    ) -> Result<Option<HeaderValue>, UpstreamError> {
        if self.speaker.revision.is_modern() {
            return Ok(None);
        }
        let begins = matches!(self.outgoing, Outgoing::Request { method: Method::Initialize, .. });
        if !begins || !received.status.is_success() {
            return Ok(self.session.and_then(|session| HeaderValue::from_str(&session.presented).ok()));
        }
        let Some(id) = &received.fields.session else { return Ok(None) };
        reply::seal_session(self, id, lease.address()).map(Some)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("address", &self.address).finish_non_exhaustive()
    }
}

impl fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatch")
            .field("endpoint", &self.endpoint.id)
            .field("upstream", &self.upstream.id)
            .field("outgoing", &self.outgoing)
            .finish_non_exhaustive()
    }
}
