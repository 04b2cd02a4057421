//! One worker's pen: records of calls that run at the same time are written together.
//!
//! A `write` costs about as much as everything else a record costs, and under load many calls are ready at the same moment.
//! The first of them waits for its next turn in the worker's queue, by which all others have had theirs, and writes for all.
//! A call alone is not held up by anything but that: its next turn is at once.

use std::{
    cell::RefCell,
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use seams::Monotonic;
use wire::{record::Draft, v1::Decision};

use super::{
    CallFacts, End, Recorder, ResponseDigest,
    digest::Sent,
    record::Conclusion,
    spool::{Spool, SpoolError},
};
use crate::upstream::Stated;

/// Writes the records of one worker's calls.
pub(crate) struct Pen {
    recorder: Recorder,
    /// The records that will be written next.
    next: RefCell<Rc<Turn>>,
}

/// Records that are written together.
#[derive(Default)]
struct Turn(RefCell<State>);

#[derive(Default)]
struct State {
    drafts: Vec<Draft>,
    wakers: Vec<Waker>,
    /// Each record's number, or why it was not written, until its call has taken it.
    written: Option<Vec<Option<Result<u64, SpoolError>>>>,
}

/// A call whose intent is in the spool: the proof that forwarding needs. The call's outcome is recorded through it; one that is
/// dropped before says that the call was cut.
pub(crate) struct IntentId {
    open: Option<Box<Open>>,
}

struct Open {
    pen: Rc<Pen>,
    facts: CallFacts,
}

impl Pen {
    /// A pen for the calls of one worker.
    pub(crate) fn new(recorder: Recorder) -> Rc<Self> {
        Rc::new(Self { recorder, next: RefCell::default() })
    }

    /// Writes a call's intent; with `strict`, waits until it is on disk.
    ///
    /// # Errors
    /// When it cannot be written: the call must not be forwarded.
    pub(crate) async fn intent(
        self: &Rc<Self>,
        facts: CallFacts,
        strict: bool,
    ) -> Result<IntentId, SpoolError> {
        let draft = facts.intent(self.recorder.clock().monotonic(), self.recorder.entropy());
        // Made first: a call that ends while it waits is recorded as cut.
        let mut intent = IntentId { open: Some(Box::new(Open { pen: Rc::clone(self), facts })) };
        match self.write(draft).await {
            Ok(seq) if strict => self.recorder.spool().durable(seq).await?,
            Ok(_) => {}
            Err(error) => {
                intent.open = None;
                return Err(error);
            }
        }
        Ok(intent)
    }

    /// Adds a record to those that are written next.
    fn write(self: &Rc<Self>, draft: Draft) -> Written {
        let turn = Rc::clone(&self.next.borrow());
        let mut state = turn.0.borrow_mut();
        let place = state.drafts.len();
        state.drafts.push(draft);
        drop(state);
        Written { pen: Rc::clone(self), turn, place, polled: false, taken: false }
    }

    /// Writes all records of a turn.
    fn finish(&self, turn: &Rc<Turn>) {
        let mut next = self.next.borrow_mut();
        if Rc::ptr_eq(&next, turn) {
            *next = Rc::default();
        }
        drop(next);
        let mut state = turn.0.borrow_mut();
        let written = append(self.recorder.spool(), &state.drafts);
        state.written = Some(written);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Writes records together, or, where not all of them can be, those that can be: one tenant's full share is no reason to
/// refuse another's call.
fn append(spool: &Spool, drafts: &[Draft]) -> Vec<Option<Result<u64, SpoolError>>> {
    match spool.append(drafts) {
        Ok(last) => (0..drafts.len() as u64).rev().map(|behind| Some(Ok(last - behind))).collect(),
        Err(error) if drafts.len() == 1 => vec![Some(Err(error))],
        Err(_) => drafts.iter().map(|draft| Some(spool.append(std::slice::from_ref(draft)))).collect(),
    }
}

/// Resolves when a record is written. One that is dropped before is written all the same.
struct Written {
    pen: Rc<Pen>,
    turn: Rc<Turn>,
    place: usize,
    polled: bool,
    taken: bool,
}

impl Written {
    fn take(&mut self) -> Option<Result<u64, SpoolError>> {
        let mut state = self.turn.0.borrow_mut();
        let found = state.written.as_mut()?.get_mut(self.place)?.take();
        self.taken = found.is_some();
        found
    }
}

impl Future for Written {
    type Output = Result<u64, SpoolError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(written) = self.take() {
            return Poll::Ready(written);
        }
        if self.place == 0 && self.polled {
            self.pen.finish(&self.turn);
            // Every record of the turn has its answer now.
            return self.take().map_or(Poll::Pending, Poll::Ready);
        }
        self.polled = true;
        if self.place == 0 {
            // Behind everything that is ready now.
            cx.waker().wake_by_ref();
        } else {
            self.turn.0.borrow_mut().wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if !self.taken && self.turn.0.borrow().written.is_none() {
            self.pen.finish(&self.turn);
        }
    }
}

impl IntentId {
    /// Time since the call's headers had come.
    pub(crate) fn elapsed(&self, now: Monotonic) -> Duration {
        self.open.as_ref().map_or(Duration::ZERO, |open| open.facts.elapsed(now))
    }

    /// What of the call may be told to the server; `None` once its outcome is recorded.
    pub(crate) fn stated(&self) -> Option<Stated> {
        let facts = &self.open.as_ref()?.facts;
        Some(Stated {
            client: facts.client,
            member: facts.member,
            endpoint: facts.endpoint,
            call: facts.call,
            request_id: facts.request_id.as_str().into(),
            asked: Some((facts.method.as_ref().into(), facts.target.as_str().into())),
        })
    }

    /// Records the outcome of a call whose whole response is at hand now, together with what else is to be written.
    pub(crate) async fn finish(mut self, end: End<'_>, now: Monotonic) {
        let Some(open) = self.open.take() else { return };
        let draft = open.outcome(now, end.code, end.status, Sent::whole(end.body), end.cut);
        let written = open.pen.write(draft).await;
        open.complain(written);
    }

    /// The same at once.
    pub(crate) fn finish_now(mut self, end: End<'_>) {
        self.conclude(end.code, end.status, Sent::whole(end.body), end.cut);
    }

    /// Records the outcome of a call whose response was followed while it was sent.
    pub(crate) fn finish_stream(
        mut self,
        code: Option<errors::ErrorCode>,
        status: u16,
        sent: ResponseDigest,
        cut: bool,
    ) {
        self.conclude(code, status, sent.finish(), cut);
    }

    fn conclude(&mut self, code: Option<errors::ErrorCode>, status: u16, sent: Sent<'_>, cut: bool) {
        let Some(open) = self.open.take() else { return };
        let clock = open.pen.recorder.clock();
        let end = Conclusion { decision: Decision::Allowed, code, status, sent, cut };
        let now = (clock.now(), clock.monotonic());
        let draft = open.facts.outcome_at(now, &end, open.pen.recorder.entropy());
        open.complain(open.pen.recorder.spool().append(&[draft]));
    }
}

impl Open {
    fn outcome(
        &self,
        now: Monotonic,
        code: Option<errors::ErrorCode>,
        status: u16,
        sent: Sent<'_>,
        cut: bool,
    ) -> Draft {
        let end = Conclusion { decision: Decision::Allowed, code, status, sent, cut };
        self.facts.outcome(now, &end, self.pen.recorder.entropy())
    }

    /// The call has happened; its intent is on record, and a missing outcome shows.
    fn complain(&self, written: Result<u64, SpoolError>) {
        if let Err(error) = written {
            tracing::error!(%error, call.id = %self.facts.call, "audit: outcome not recorded");
        }
    }
}

impl Drop for IntentId {
    fn drop(&mut self) {
        self.conclude(None, 0, Sent::whole(b""), true);
    }
}

impl fmt::Debug for IntentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntentId").field("call", &self.open.as_ref().map(|open| open.facts.call)).finish()
    }
}

impl fmt::Debug for Pen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pen").field("recorder", &self.recorder).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
