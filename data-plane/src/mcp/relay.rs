//! A stream of an upstream's messages on its way to one caller. Each message is held whole, looked at, and passed on or not;
//! what is wrong becomes a JSON-RPC error for the waiting request inside the stream, never silence.

use std::{
    any::Any,
    fmt,
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use ::mcp::sse::{self, Decoder, Frame, SseError};
use bytes::Bytes;
use errors::{ErrorCode, jsonrpc};
use http_body::Body;
use seams::{Clock, Monotonic};
use serde_json::json;
use telemetry::metric;
use tokio::time::Sleep;

use super::{
    answer::Request,
    event::{Heard, hear},
    speaker::Speaker,
};
use crate::{
    audit::{IntentId, ResponseDigest},
    upstream::{Fault, Outcome, UpstreamError, Waiting},
};

/// Silence after which a comment is sent, so that nothing between here and the caller closes the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Bytes of framing an event may have beside its data.
const FRAMING: usize = 4 * 1024;
/// Bytes of an upstream that are looked at before others have their turn, if nothing of it is for the caller.
const MOUTHFUL: usize = 64 * 1024;
/// Bytes gathered before they are handed on.
const GATHER: usize = 16 * 1024;

/// Ends a call: resolves with the reason.
pub(crate) type Cut = Pin<Box<dyn Future<Output = ErrorCode>>>;

/// Time-outs of a stream; `None` where the caller keeps it open.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Patience {
    pub(crate) idle: Option<Duration>,
    pub(crate) total: Option<Duration>,
}

/// What a stream's end brings with it.
pub(crate) struct Ending {
    pub(crate) intent: IntentId,
    /// Dropped when the response has ended.
    pub(crate) _hold: Box<dyn Any>,
    pub(crate) cut: Cut,
    /// Called once at the end, whoever made it, with what it says of the upstream.
    pub(crate) ended: Box<dyn FnOnce(Option<ErrorCode>, Outcome)>,
    /// Called when the upstream's response was read to its end; its connection may be used again. Dropped otherwise, which
    /// closes the connection.
    pub(crate) give_back: Box<dyn FnOnce()>,
    /// Sends a message to the upstream beside the stream.
    pub(crate) aside: Rc<dyn Fn(Vec<u8>)>,
}

/// The stream.
pub(crate) struct Relay<B> {
    upstream: B,
    speaker: Speaker,
    /// The request that still waits for its response.
    waiting: Option<Request>,
    /// What a resumed stream would answer; part of its event ids.
    request: Option<Request>,
    decoder: Decoder,
    out: Vec<u8>,
    state: State,
    /// An event id went out, so the caller can resume where an upstream breaks off (2025-11-25).
    resumable: bool,
    patience: Patience,
    clock: Arc<dyn Clock>,
    started: Monotonic,
    heard: Monotonic,
    spoke: Monotonic,
    tick: Pin<Box<Sleep>>,
    digest: ResponseDigest,
    ending: Option<Ending>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing more comes; the code says why, if not because it was all.
    Ended {
        code: Option<ErrorCode>,
        outcome: Outcome,
        cut: bool,
    },
}

impl<B> Relay<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: fmt::Display,
{
    /// Relays `upstream`'s body. `waiting` is the request whose response may come.
    pub(crate) fn new(
        upstream: B,
        speaker: Speaker,
        waiting: Option<Request>,
        patience: Patience,
        clock: Arc<dyn Clock>,
        ending: Ending,
    ) -> Self {
        let now = clock.monotonic();
        let limit = speaker.max_message.saturating_add(FRAMING);
        let mut relay = Self {
            upstream,
            speaker,
            request: waiting.clone(),
            waiting,
            decoder: Decoder::new(limit),
            out: Vec::new(),
            state: State::Open,
            resumable: false,
            patience,
            clock,
            started: now,
            heard: now,
            spoke: now,
            tick: Box::pin(tokio::time::sleep(Duration::ZERO)),
            digest: ResponseDigest::default(),
            ending: Some(ending),
        };
        relay.arm(now);
        relay
    }

    /// The next bytes for the caller; `None` at the end.
    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut fed = 0;
        loop {
            while self.out.len() < GATHER && self.decode() {}
            if !self.out.is_empty() {
                return Poll::Ready(Some(self.take_out()));
            }
            if let State::Ended { code, outcome, cut } = self.state {
                self.conclude(code, outcome, cut);
                return Poll::Ready(None);
            }
            if let Some(ending) = &mut self.ending
                && let Poll::Ready(code) = ending.cut.as_mut().poll(cx)
            {
                // What was killed is sent nothing more.
                if code != ErrorCode::Killed {
                    self.tell_upstream_it_was_cut();
                }
                self.fail(&UpstreamError::Cut(code));
                continue;
            }
            if fed >= MOUTHFUL {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match Pin::new(&mut self.upstream).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        fed += data.len();
                        self.heard = self.clock.monotonic();
                        self.decoder.feed(&data);
                        // An upstream that never pauses never lets the timer have its turn.
                        if self.is_over_time(self.heard) {
                            self.on_tick();
                        }
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "upstream stream broke");
                    self.upstream_ended();
                }
                Poll::Ready(None) => {
                    if let Some(ending) = &mut self.ending {
                        std::mem::replace(&mut ending.give_back, Box::new(|| {}))();
                    }
                    self.upstream_ended();
                }
                Poll::Pending => match self.tick.as_mut().poll(cx) {
                    Poll::Ready(()) => self.on_tick(),
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }

    const fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended { .. })
    }

    fn take_out(&mut self) -> Bytes {
        let bytes = Bytes::from(std::mem::take(&mut self.out));
        self.digest.update(&bytes);
        self.spoke = self.clock.monotonic();
        bytes
    }

    /// Handles one event that has come whole; false when there is none.
    fn decode(&mut self) -> bool {
        if self.is_ended() {
            return false;
        }
        let Some(event) = self.decoder.next_event() else { return false };
        let heard = match event {
            Ok(event) => {
                hear(&event, &self.speaker, self.waiting.as_ref(), self.request.as_ref(), &mut self.out)
            }
            Err(SseError::TooLarge) => Err(UpstreamError::TooLarge),
        };
        match heard {
            Ok(Heard { answered, resumable, declined }) => {
                self.resumable |= resumable;
                if answered {
                    self.waiting = None;
                }
                if let (Some(id), Some(ending)) = (declined, &self.ending) {
                    (ending.aside)(jsonrpc::response_with_code(
                        Some(&id),
                        -32601,
                        ErrorCode::MethodClosed,
                        None,
                        None,
                        &[],
                    ));
                }
            }
            // Where nothing waits, one bad message is left out and the stream goes on.
            Err(error) if self.waiting.is_none() => {
                metrics::counter!(metric::UPSTREAM_MESSAGES_WITHHELD).increment(1);
                tracing::warn!(%error, error.code = error.code().slug(), "message of an upstream withheld");
            }
            Err(error) => self.fail(&error),
        }
        true
    }

    /// The upstream's body has ended, or broke.
    fn upstream_ended(&mut self) {
        // An event that was not ended does not count; one that waits in the decoder has been handled.
        if self.waiting.is_none() || self.resumable {
            self.state = State::Ended { code: None, outcome: Outcome::Answered, cut: false };
        } else {
            self.fail(&UpstreamError::Protocol(Fault::Ended));
        }
    }

    /// Ends the stream, telling the caller why where it waits for something.
    fn fail(&mut self, error: &UpstreamError) {
        let code = error.code();
        // A server that has answered and does not close the stream has done all it must.
        let answered = self.request.is_some() && self.waiting.is_none();
        if let Some(request) = self.waiting.take() {
            let waited_for = match error {
                UpstreamError::Timeout(waiting) => Some(("waited_for", json!(waiting.as_str()))),
                _ => None,
            };
            let data = jsonrpc::response(Some(&request.id), code, None, None, waited_for.as_slice());
            sse::encode(&mut self.out, Frame { data: &data, ..Frame::default() });
        }
        tracing::warn!(%error, error.code = code.slug(), upstream.id = %self.speaker.upstream.id, "stream ended");
        let cut = matches!(error, UpstreamError::Cut(_));
        let outcome = if answered { Outcome::Answered } else { Outcome::of(error) };
        self.state = State::Ended { code: Some(code), outcome, cut };
    }

    /// Up to 2025-11-25 closing a stream does not cancel its request, so the cancellation is said.
    fn tell_upstream_it_was_cut(&self) {
        let (Some(request), Some(ending)) = (&self.waiting, &self.ending) else { return };
        if !self.speaker.revision.is_modern() {
            (ending.aside)(cancelled(&request.id));
        }
    }

    fn is_over_time(&self, now: Monotonic) -> bool {
        self.patience.total.is_some_and(|limit| now.since(self.started) >= limit)
    }

    fn on_tick(&mut self) {
        let now = self.clock.monotonic();
        let over =
            |since: Monotonic, limit: Option<Duration>| limit.is_some_and(|limit| now.since(since) >= limit);
        if self.is_over_time(now) {
            self.tell_upstream_it_was_cut();
            self.fail(&UpstreamError::Timeout(Waiting::Total));
        } else if over(self.heard, self.patience.idle) {
            self.tell_upstream_it_was_cut();
            self.fail(&UpstreamError::Timeout(Waiting::Idle));
        } else if over(self.spoke, Some(KEEP_ALIVE)) {
            sse::encode_comment(&mut self.out, "keepalive");
            self.spoke = now;
        }
        self.arm(now);
    }

    /// Sets the timer to whatever is due first.
    fn arm(&mut self, now: Monotonic) {
        let left = |since: Monotonic, limit: Duration| limit.saturating_sub(now.since(since));
        let mut next = left(self.spoke, KEEP_ALIVE);
        for (since, limit) in [(self.started, self.patience.total), (self.heard, self.patience.idle)] {
            if let Some(limit) = limit {
                next = next.min(left(since, limit));
            }
        }
        // Never zero: a clock that stands still must not make the timer spin.
        self.tick.set(tokio::time::sleep(next.max(Duration::from_millis(1))));
    }

    fn conclude(&mut self, code: Option<ErrorCode>, outcome: Outcome, cut: bool) {
        if let Some(ending) = self.ending.take() {
            (ending.ended)(code, outcome);
            ending.intent.finish_stream(code, 200, std::mem::take(&mut self.digest), cut);
        }
    }
}

impl<B> Drop for Relay<B> {
    /// The caller went away. Dropping the upstream's body closes its connection, which cancels the request from
    /// 2026-07-28 on, and before that leaves it running for a caller that resumes.
    fn drop(&mut self) {
        if let Some(ending) = self.ending.take() {
            let answered = self.request.is_some() && self.waiting.is_none();
            (ending.ended)(None, if answered { Outcome::Answered } else { Outcome::Unknown });
            ending.intent.finish_stream(None, 200, std::mem::take(&mut self.digest), !answered);
        }
    }
}

impl<B> fmt::Debug for Relay<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("speaker", &self.speaker)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// `notifications/cancelled` for a request.
pub(crate) fn cancelled(id: &[u8]) -> Vec<u8> {
    let before = br#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"#.as_slice();
    [before, id, b"}}"].concat()
}

#[cfg(test)]
mod tests;
