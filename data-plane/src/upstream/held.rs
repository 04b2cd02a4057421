//! What a streamed answer holds of its server: a connection, and one of the calls the server is given at once.
//!
//! A stream goes on only when its caller reads. One who reads slowly, or not at all, would hold both for as long as he likes;
//! so the end of the call's time does not wait for him.

use std::{
    cell::RefCell,
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::oneshot;

use super::{
    error::Break,
    guard::Passage,
    pool::{Lease, Pool},
    received::Inbound,
};

/// What is held.
#[derive(Debug)]
struct Things {
    body: Option<Inbound>,
    lease: Option<Lease>,
    passage: Option<Passage>,
    /// Whoever waits for the end of its time need not any more when this is gone.
    _over: Option<oneshot::Sender<()>>,
}

/// How much later than the reader's own end of time.
const GRACE: Duration = Duration::from_secs(1);

/// Held by the stream's reader and by its end.
#[derive(Debug, Clone)]
pub(super) struct Held(Rc<RefCell<Things>>);

impl Held {
    /// For so long at most; `None` where the caller keeps the stream open.
    pub(super) fn new(
        pool: &Pool,
        body: Inbound,
        lease: Lease,
        passage: Passage,
        most: Option<Duration>,
    ) -> Self {
        let (over, ended) = oneshot::channel::<()>();
        let things =
            Things { body: Some(body), lease: Some(lease), passage: Some(passage), _over: Some(over) };
        let held = Self(Rc::new(RefCell::new(things)));
        if let Some(most) = most {
            let things = Rc::downgrade(&held.0);
            (pool.parts.spawn)(Box::pin(async move {
                if tokio::time::timeout(most + GRACE, ended).await.is_ok() {
                    return;
                }
                if let Some(things) = things.upgrade() {
                    let Things { body, lease, passage, .. } = &mut *things.borrow_mut();
                    // The connection is closed, so that the server knows. It has answered as fast as it was read: that the
                    // time is over says nothing of it. Whoever reads has ended the stream before, and has said what it says.
                    drop((body.take(), lease.take(), passage.take()));
                }
            }));
        }
        held
    }

    /// The server's messages.
    pub(super) fn reader(&self) -> Reader {
        Reader(self.clone())
    }

    /// The connection, if it is still held.
    pub(super) fn lease(&self) -> Option<Lease> {
        self.0.borrow_mut().lease.take()
    }

    /// The leave to call, if it is still held.
    pub(super) fn passage(&self) -> Option<Passage> {
        self.0.borrow_mut().passage.take()
    }
}

/// A response's body, as long as it is held.
pub(super) struct Reader(Held);

impl Body for Reader {
    type Data = Bytes;
    type Error = Break;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Break>>> {
        match &mut self.0.0.borrow_mut().body {
            Some(body) => Pin::new(body).poll_frame(cx),
            // The reader's own time is over too, and it says so.
            None => Poll::Pending,
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}
