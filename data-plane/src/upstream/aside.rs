//! Messages to an upstream beside a call: that it was cancelled, that a question of its is not passed on. Best effort,
//! in the caller's session, on another connection.

use std::{cell::Cell, rc::Rc, sync::Arc};

use ::mcp::Revision;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};

use super::{
    exchange::{self, Outgoing, Time},
    forward::Session,
    headers::{Describing, Fields, Replaced},
    pool::Pool,
    proof::{Proof, Stated},
};
use crate::snapshot::index::{TenantIndex, UpstreamIndex};

/// Answers to such messages are read up to here, so that the connection can be used again.
const MAX_ANSWER: usize = 64 * 1024;
/// Messages beside one call that may be on their way at once; more are dropped. Each takes a connection, and it is the
/// server that decides how many questions it asks.
const AT_ONCE: usize = 4;

/// Sends messages in one caller's session.
#[derive(Debug, Clone)]
pub(super) struct Aside {
    pub(super) pool: Rc<Pool>,
    pub(super) tenant: Arc<TenantIndex>,
    pub(super) upstream: Arc<UpstreamIndex>,
    pub(super) session: Option<Session>,
    /// The call beside which it is said.
    pub(super) stated: Option<Rc<Stated>>,
    pub(super) revision: Revision,
    /// Messages on their way.
    pub(super) running: Rc<Cell<usize>>,
}

/// One message on its way.
struct Running(Rc<Cell<usize>>);

impl Running {
    fn begin(running: &Rc<Cell<usize>>) -> Option<Self> {
        let now = running.get();
        (now < AT_ONCE).then(|| {
            running.set(now + 1);
            Self(Rc::clone(running))
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Aside {
    /// Sends one message. Does not wait for it.
    pub(super) fn post(&self, message: Vec<u8>) {
        let Some(running) = Running::begin(&self.running) else {
            tracing::debug!(upstream.id = %self.upstream.id, "too much to tell the upstream; dropped");
            return;
        };
        let aside = self.clone();
        (self.pool.parts.spawn)(Box::pin(async move {
            let _running = running;
            // One that is held: for what is said beside a call none is asked for.
            let oauth = aside.upstream.auth.oauth.as_ref();
            let token = oauth.and_then(|oauth| oauth.held(aside.pool.parts.clock.monotonic()));
            let caller = aside.headers();
            let sticky = aside.session.as_ref().and_then(|session| session.address);
            let session = aside.session.as_ref().map(|session| &*session.upstream_session);
            let fields = Fields {
                caller: &caller,
                describing: Describing { body: true, ..Describing::default() },
                replaced: Replaced { session, ..Replaced::default() },
                proof: Proof {
                    tenant: &aside.tenant,
                    upstream: &aside.upstream,
                    stated: aside.stated.as_deref(),
                    token: token.as_deref(),
                    clock: &*aside.pool.parts.clock,
                    entropy: &*aside.pool.parts.entropy,
                },
            };
            let outgoing = Outgoing {
                method: Method::POST,
                fields,
                body: Bytes::from(message),
                sticky,
                repeatable: false,
            };
            let time = Time::of(aside.upstream.timeouts);
            let rules = &aside.tenant.egress;
            let sending = exchange::exchange(&aside.pool, &aside.upstream, rules, outgoing, time);
            let sent = match Box::pin(sending).await {
                Ok((received, body, lease)) => {
                    let idle_for = received.fields.keep_alive;
                    let answer = exchange::collect(body, lease, idle_for, MAX_ANSWER, time);
                    answer.await.map(drop)
                }
                Err(error) => Err(error),
            };
            if let Err(error) = sent {
                tracing::debug!(%error, upstream.id = %aside.upstream.id, "upstream not told");
            }
        }));
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        headers.insert(::mcp::headers::PROTOCOL_VERSION, HeaderValue::from_static(self.revision.as_str()));
        headers
    }
}
