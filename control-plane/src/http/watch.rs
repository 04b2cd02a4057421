//! Watches: server-sent events (WHATWG HTML, section 9.2) of what is new in a tenant. The database is the truth: a watch looks
//! there again whenever this replica has polled, and holds no connection meanwhile, so it does not matter which replica
//! made the news. It resumes after the event whose id comes back as `Last-Event-ID`, at any replica. It ends with its
//! token, with the control plane, and when nobody reads it.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    future::Future,
    sync::Arc,
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::FromRequestParts,
    http::{HeaderName, HeaderValue, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use futures_util::{Stream, StreamExt as _, stream};
use ids::TenantId;
use parking_lot::Mutex;
use seams::Monotonic;
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use utoipa::openapi::{
    ObjectBuilder, Required,
    path::{Parameter, ParameterBuilder, ParameterIn},
    schema::Type,
};

use super::{
    auth::{self, Caller},
    problem::ApiError,
};
use crate::{app::Core, db::StoreError};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// A watch that has nothing to say says so this often, so that nobody in between takes it for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Looks are at least this often, should nothing be polled.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(2);
/// How long an event waits to be read. Then the watch is over, and its caller begins again where it was.
const UNREAD: Duration = Duration::from_secs(30);
/// How often a watch that is not being read looks whether its token is good.
/// R59: a revoked token gives nothing out for longer than a second.
const CHECK: Duration = Duration::from_millis(500);
/// Watches of one tenant at this replica.
pub const PER_TENANT: usize = 16;
/// Watches at this replica. Fewer than connections, so that they leave room for other requests.
const IN_ALL: usize = 1024;
/// Events of one look. What is more comes with the next, which follows at once.
pub const EVENTS: i64 = 200;

/// Open watches by tenant.
#[derive(Debug, Default)]
pub struct Watches(Mutex<HashMap<TenantId, usize>>);

/// An open watch's place.
#[derive(Debug)]
struct Place {
    watches: Arc<Watches>,
    tenant: TenantId,
}

impl Watches {
    fn enter(self: &Arc<Self>, tenant: TenantId) -> Option<Place> {
        let mut open = self.0.lock();
        let all: usize = open.values().sum();
        let of_tenant = open.get(&tenant).copied().unwrap_or_default();
        if all >= IN_ALL || of_tenant >= PER_TENANT {
            return None;
        }
        open.insert(tenant, of_tenant + 1);
        Some(Place { watches: self.clone(), tenant })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.watches.0.lock();
        if let Some(left) = open.get_mut(&self.tenant) {
            *left -= 1;
            if *left == 0 {
                open.remove(&self.tenant);
            }
        }
    }
}

/// Where a watch was when it broke off.
#[derive(Debug, Clone)]
pub struct LastEventId(pub Option<String>);

impl utoipa::IntoParams for LastEventId {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let parameter = ParameterBuilder::new()
            .name("Last-Event-ID")
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some("Id of the last event that was seen; without it the watch begins now"))
            .schema(Some(ObjectBuilder::new().schema_type(Type::String)));
        vec![parameter.build()]
    }
}

impl FromRequestParts<Core> for LastEventId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Core) -> Result<Self, ApiError> {
        let value = parts.headers.get(LAST_EVENT_ID).map(HeaderValue::to_str).transpose();
        Ok(Self(value.map_err(|_| not_given_out())?.map(ToOwned::to_owned)))
    }
}

/// The answer to an id that no watch of this list gave out.
#[must_use]
pub fn not_given_out() -> ApiError {
    ApiError::Malformed("`Last-Event-ID` was not given out by this watch")
}

/// One thing that is new.
#[derive(Debug)]
pub struct Event(Bytes);

impl Event {
    /// An event of a kind, with an id that is text without line ends.
    ///
    /// # Errors
    /// [`StoreError::Bug`] if it is not JSON.
    pub fn new(kind: &str, id: &str, data: &impl Serialize) -> Result<Self, StoreError> {
        // JSON as serde writes it has no line ends.
        let data = serde_json::to_string(data).map_err(|error| StoreError::Bug(Box::new(error)))?;
        Ok(Self(format!("event: {kind}\nid: {id}\ndata: {data}\n\n").into()))
    }
}

/// What is watched. Remembers where it is.
pub trait Feed: Send + 'static {
    /// What is new since the last look, at most [`EVENTS`], in order.
    fn look(&mut self, core: &Core) -> impl Future<Output = Result<Vec<Event>, StoreError>> + Send;
}

struct Watch<F> {
    core: Core,
    tenant: TenantId,
    caller: Caller,
    feed: F,
    ready: VecDeque<Bytes>,
    polls: watch::Receiver<u64>,
    stopping: CancellationToken,
    spoke_at: Monotonic,
    /// There may be more than the last look has brought.
    behind: bool,
    _place: Place,
}

/// Answers with a watch of `feed`.
///
/// # Errors
/// [`ApiError::WatchesLimited`].
pub fn answer<F: Feed>(core: &Core, tenant: TenantId, caller: Caller, feed: F) -> Result<Response, ApiError> {
    let place = core.watches.enter(tenant).ok_or(ApiError::WatchesLimited)?;
    let watch = Watch {
        core: core.clone(),
        tenant,
        caller,
        feed,
        // Sent at once: the caller sees that it is heard, and when to come back.
        ready: VecDeque::from([Bytes::from_static(b"retry: 1000\n\n")]),
        polls: core.polls.subscribe(),
        stopping: core.tasks.stopping(),
        spoke_at: core.clock.monotonic(),
        behind: true,
        _place: place,
    };
    let (sender, frames) = mpsc::channel(1);
    let over = CancellationToken::new();
    // A task, because a body that nobody reads is not asked for anything.
    let running = pump(watch, sender, over.clone(), (UNREAD, CHECK));
    core.tasks.spawn("watch", running);
    let mut response = Body::from_stream(body(frames, over)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

/// Where frames come from.
trait Source: Send {
    /// The next thing to send; `None`: there is no more.
    fn next(&mut self) -> impl Future<Output = Option<Bytes>> + Send;
    /// Whether its reader may still have it.
    fn is_live(&mut self) -> impl Future<Output = bool> + Send;
}

/// Gives out what `source` has, until that ends, the reader goes or reads nothing for `unread`. A reader that takes its time is
/// looked at every `check`. When this ends, `over` says so: also what was not read yet is not given out any more.
async fn pump(
    mut source: impl Source,
    sender: mpsc::Sender<Bytes>,
    over: CancellationToken,
    (unread, check): (Duration, Duration),
) {
    let _over = over.drop_guard();
    loop {
        let frame = tokio::select! {
            () = sender.closed() => return,
            frame = source.next() => frame,
        };
        let Some(frame) = frame else {
            return;
        };
        let room = async {
            loop {
                match tokio::time::timeout(check, sender.reserve()).await {
                    Ok(room) => return room.ok(),
                    Err(_) if source.is_live().await => {}
                    Err(_) => return None,
                }
            }
        };
        match tokio::time::timeout(unread, room).await {
            Ok(Some(room)) => room.send(frame),
            Ok(None) => return,
            Err(_) => {
                tracing::debug!("a watch that is not read was ended");
                return;
            }
        }
    }
}

/// What the reader gets.
fn body(
    frames: mpsc::Receiver<Bytes>,
    over: CancellationToken,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    stream::unfold((frames, over), |(mut frames, over)| async move {
        let frame = tokio::select! {
            biased;
            () = over.cancelled() => None,
            frame = frames.recv() => frame,
        };
        frame.map(|frame| (frame, (frames, over)))
    })
    .map(Ok)
}

impl<F: Feed> Source for Watch<F> {
    /// The next thing to send; `None`: the watch is over.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                self.spoke_at = self.core.clock.monotonic();
                return Some(frame);
            }
            if !self.behind {
                tokio::select! {
                    () = self.stopping.cancelled() => return None,
                    // It ends with the replica alone.
                    _ = self.polls.changed() => {}
                    () = tokio::time::sleep(LOOK_AT_LEAST_EVERY) => {}
                }
            }
            match self.look().await {
                Ok(Some(events)) => {
                    self.behind = events.len() >= EVENTS.unsigned_abs() as usize;
                    self.ready.extend(events.into_iter().map(|Event(frame)| frame));
                }
                Ok(None) => return None,
                Err(error) => {
                    // Nothing is lost: the next look begins where the last good one ended.
                    self.behind = false;
                    tracing::debug!(error.cause = %error, "a watch cannot look");
                }
            }
            if self.ready.is_empty() && self.core.clock.monotonic().since(self.spoke_at) >= HEARTBEAT {
                self.spoke_at = self.core.clock.monotonic();
                return Some(Bytes::from_static(b": nothing new\n\n"));
            }
        }
    }

    async fn is_live(&mut self) -> bool {
        let live = auth::is_live(&self.core, self.tenant, &self.caller);
        !self.stopping.is_cancelled() && self.core.looks.watches.take(live).await.unwrap_or(true)
    }
}

impl<F: Feed> Watch<F> {
    /// `None`: the token has ended, or its tenant.
    async fn look(&mut self) -> Result<Option<Vec<Event>>, StoreError> {
        self.polls.mark_unchanged();
        let (core, feed) = (&self.core, &mut self.feed);
        let (tenant, caller) = (self.tenant, &self.caller);
        core.looks
            .watches
            .take(async {
                if !auth::is_live(core, tenant, caller).await? {
                    return Ok(None);
                }
                feed.look(core).await.map(Some)
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_given_back() {
        let watches = Arc::<Watches>::default();
        let [a, b] = [1, 2].map(|n| TenantId::from_parts(n, [0; 10]));
        let held: Vec<_> = (0..PER_TENANT).map(|_| watches.enter(a).unwrap()).collect();
        assert!(watches.enter(a).is_none() && watches.enter(b).is_some());
        drop(held);
        assert!(watches.enter(a).is_some());
        assert!(watches.0.lock().is_empty());
        // Nor does a tenant that is refused leave anything.
        watches.0.lock().insert(a, IN_ALL);
        assert!(watches.enter(b).is_none());
        assert_eq!(watches.0.lock().len(), 1);
    }

    /// Has always more; good for so many questions.
    struct Endless {
        live_for: usize,
    }

    impl Source for Endless {
        async fn next(&mut self) -> Option<Bytes> {
            Some(Bytes::from_static(b"news"))
        }

        async fn is_live(&mut self) -> bool {
            self.live_for = self.live_for.saturating_sub(1);
            self.live_for > 0
        }
    }

    const SHORT: Duration = Duration::from_millis(2);
    const LONG: Duration = Duration::from_secs(3_600);

    #[tokio::test]
    async fn a_watch_that_nobody_reads_ends_with_its_token_and_at_last_by_itself() {
        for (live_for, unread) in [(3, LONG), (usize::MAX, 10 * SHORT)] {
            let (sender, frames) = mpsc::channel(1);
            let over = CancellationToken::new();
            let frames = body(frames, over.clone());
            // It ends though its frames are not taken.
            pump(Endless { live_for }, sender, over, (unread, SHORT)).await;
            assert_eq!(frames.collect::<Vec<_>>().await, [], "nor is what was left lying given out");
        }
    }

    #[tokio::test]
    async fn a_watch_ends_with_its_reader() {
        let (sender, mut frames) = mpsc::channel(1);
        let over = CancellationToken::new();
        let reading = async move {
            for _ in 0..100 {
                assert!(frames.recv().await.is_some());
            }
        };
        tokio::join!(reading, pump(Endless { live_for: usize::MAX }, sender, over.clone(), (LONG, LONG)));
        assert!(over.is_cancelled());
    }

    #[test]
    fn an_event_is_one_block() {
        let Event(frame) = Event::new("revision", "7", &serde_json::json!({"a": "x\ny"})).unwrap();
        assert_eq!(&frame[..], b"event: revision\nid: 7\ndata: {\"a\":\"x\\ny\"}\n\n");
    }
}
