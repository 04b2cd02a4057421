//! HTTP/1.1 towards upstreams: one exchange after another on one connection, written and read where the call runs.
//!
//! A client library drives a connection in a task of its own, and every call pays for the way there and back. Here the
//! call itself writes the request and reads the response: no task, no channel, no copy of a head that nobody looks at
//! (measured in `tests/bench/RESULTS.md`). What heads say and where bodies end is decided in the crate `http1`.

#[cfg(test)]
mod tests;

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::Future as _,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use ::http1::{Framing, MAX_HEAD, Malformed, NotHttp, Step, parse};
use bytes::{Buf as _, Bytes, BytesMut};
use http_body::SizeHint;
use tokio::{
    io::{AsyncRead as _, AsyncReadExt as _, AsyncWrite as _, ReadBuf},
    task::coop,
};

use super::{
    connect::Io,
    error::{Break, Fault, UpstreamError},
    pool::Unanswered,
    received::{Fields, Received},
};

/// Room made for a read. Doubled while reads fill it, so that small answers cost little and large ones few reads.
const READ: usize = 4 * 1024;
const READ_AT_MOST: usize = 256 * 1024;
/// The same for streams, of which a worker has many.
const READ_OF_STREAM: usize = 16 * 1024;
/// Bodies up to this size are written together with their head; copying them costs less than naming two pieces.
const TOGETHER: usize = 4 * 1024;
/// Buffers above this are not kept with an idle connection.
const KEEP: usize = 16 * 1024;
/// Interim responses before the one that counts.
const MAX_INTERIM: u8 = 8;
/// Reads a head may take that bring the end of a line. Each is a reason to look at it from its start.
const MAX_PIECES: u8 = 128;

/// A connection that carries one exchange at a time. Dropping it closes it, whatever is in flight.
pub(super) struct Connection {
    address: SocketAddr,
    inner: RefCell<Inner>,
    /// An exchange has begun whose end was not reached, or after which the connection is of no use.
    busy: Cell<bool>,
}

struct Inner {
    io: Io,
    input: BytesMut,
    /// The request's head, and its body if that is small.
    output: Vec<u8>,
    /// Room for the next read.
    room: usize,
    room_at_most: usize,
    /// The largest `input` was. Its own capacity does not tell: what was split off it may share a large buffer.
    largest: usize,
}

/// How far a request is.
#[derive(Default)]
struct Progress {
    written: usize,
    flushed: bool,
    /// Writing failed. The response may be there all the same, and says why.
    refused: Option<io::Error>,
    interim: u8,
    pieces: u8,
}

impl Connection {
    /// Over this stream.
    pub(super) fn new(io: Io, address: SocketAddr) -> Rc<Self> {
        let inner = Inner {
            io,
            input: BytesMut::new(),
            output: Vec::new(),
            room: READ,
            room_at_most: READ_AT_MOST,
            largest: 0,
        };
        Rc::new(Self { address, inner: RefCell::new(inner), busy: Cell::new(false) })
    }

    /// The address at the other end.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The last exchange was read to its end, nothing is left of it, and the server keeps the connection.
    pub(super) fn is_reusable(&self) -> bool {
        !self.busy.get() && self.inner.borrow().input.is_empty()
    }

    /// Nothing came while the connection lay idle: neither its end nor bytes that nobody asked for.
    pub(super) fn is_quiet(&self) -> bool {
        let inner = &mut *self.inner.borrow_mut();
        let mut byte = [0];
        let mut byte = ReadBuf::new(&mut byte);
        let mut nobody = Context::from_waker(Waker::noop());
        // Without budget every read is pending, whatever there is.
        coop::has_budget_remaining() && Pin::new(&mut inner.io).poll_read(&mut nobody, &mut byte).is_pending()
    }

    /// Large buffers are given back before the connection lies idle.
    pub(super) fn rest(&self) {
        let mut inner = self.inner.borrow_mut();
        if inner.largest > KEEP {
            inner.input = BytesMut::new();
            inner.largest = 0;
        }
        if inner.output.capacity() > KEEP {
            inner.output = Vec::new();
        }
        (inner.room, inner.room_at_most) = (READ, READ_AT_MOST);
    }

    /// Sends a request, whose head `write` appends, and waits for the response's head.
    pub(super) async fn exchange(
        self: &Rc<Self>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), UpstreamError>,
        body: &Bytes,
    ) -> Result<(Received, Body), Unanswered> {
        self.busy.set(true);
        let together = body.len() <= TOGETHER;
        {
            let output = &mut self.inner.borrow_mut().output;
            output.clear();
            write(output).map_err(Unanswered::Failed)?;
            if together {
                output.extend_from_slice(body);
            }
        }
        let apart: &[u8] = if together { &[] } else { body };
        let mut progress = Progress::default();
        let (received, framing, persistent) =
            std::future::poll_fn(|cx| self.inner.borrow_mut().poll_exchange(cx, apart, &mut progress))
                .await?;
        // A server that answered before it read everything is told the rest, and then not spoken to again.
        let keep = persistent && progress.flushed;
        if framing == Framing::Done {
            self.busy.set(!keep);
        }
        let unsent = (!progress.flushed && progress.refused.is_none())
            .then(|| Box::new((if together { Bytes::new() } else { body.clone() }, progress)));
        Ok((received, Body { connection: self.clone(), framing, keep, unsent }))
    }
}

impl Inner {
    fn poll_exchange(
        &mut self,
        cx: &mut Context<'_>,
        apart: &[u8],
        progress: &mut Progress,
    ) -> Poll<Result<(Received, Framing, bool), Unanswered>> {
        if !progress.flushed && progress.refused.is_none() {
            match self.poll_write(cx, apart, progress) {
                Poll::Ready(Ok(())) => progress.flushed = true,
                // TLS may have sent a part of what it then fails to send.
                Poll::Ready(Err(error)) if progress.written == 0 && matches!(self.io, Io::Plain(_)) => {
                    return Poll::Ready(Err(Unanswered::Unsent(Break::Io(error))));
                }
                Poll::Ready(Err(error)) => progress.refused = Some(error),
                Poll::Pending => {}
            }
        }
        loop {
            let read = match ready!(self.poll_fill(cx)) {
                Ok(0) => {
                    let error = progress.refused.take().map_or(Break::Closed, Break::Io);
                    return Poll::Ready(Err(self.broke(error, progress)));
                }
                Ok(read) => read,
                Err(error) => return Poll::Ready(Err(self.broke(Break::Io(error), progress))),
            };
            let came = self.input.len() - read;
            if self.input.get(came..).is_some_and(|came| came.contains(&b'\n')) {
                progress.pieces += 1;
            } else if self.input.len() <= MAX_HEAD {
                continue;
            }
            if progress.pieces > MAX_PIECES {
                return Poll::Ready(Err(not_http()));
            }
            loop {
                let mut fields = Fields::default();
                let note = |name: &[u8], value: &[u8]| fields.note(name, value);
                let Some(head) = parse(&self.input, note).map_err(|NotHttp| not_http())? else { break };
                self.input.advance(head.length);
                if !head.status.is_informational() {
                    let received = Received { status: head.status, fields };
                    return Poll::Ready(Ok((received, head.framing, head.persistent)));
                }
                progress.interim += 1;
                if progress.interim > MAX_INTERIM {
                    return Poll::Ready(Err(not_http()));
                }
            }
        }
    }

    fn broke(&self, error: Break, progress: &Progress) -> Unanswered {
        if self.input.is_empty() && progress.interim == 0 { Unanswered::Closed(error) } else { failed(error) }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        apart: &[u8],
        progress: &mut Progress,
    ) -> Poll<io::Result<()>> {
        let whole = self.output.len() + apart.len();
        while progress.written < whole {
            let head = self.output.get(progress.written..).unwrap_or_default();
            let body = apart.get(progress.written.saturating_sub(self.output.len())..).unwrap_or_default();
            let io = Pin::new(&mut self.io);
            let wrote = if body.is_empty() {
                ready!(io.poll_write(cx, head))?
            } else {
                ready!(io.poll_write_vectored(cx, &[IoSlice::new(head), IoSlice::new(body)]))?
            };
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            progress.written += wrote;
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Reads some more. Zero is the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // Room is there again, without a new buffer, when whoever had the earlier bytes has dropped them.
        self.input.reserve(self.room);
        self.largest = self.largest.max(self.input.capacity());
        let room = self.input.capacity() - self.input.len();
        let read = ready!(pin!(self.io.read_buf(&mut self.input)).poll(cx))?;
        self.room = if read == room { (self.room * 2).min(self.room_at_most) } else { READ };
        Poll::Ready(Ok(read))
    }
}

fn failed(error: Break) -> Unanswered {
    Unanswered::Failed(error.into())
}

fn not_http() -> Unanswered {
    Unanswered::Failed(Fault::NotHttp.into())
}

/// A response's body, read from its connection as it is asked for.
pub(super) struct Body {
    connection: Rc<Connection>,
    framing: Framing,
    /// The connection may be used again when all was read.
    keep: bool,
    /// What the server had not taken of the request when it began to answer.
    unsent: Option<Box<(Bytes, Progress)>>,
}

impl Body {
    /// Nothing more comes.
    pub(super) const fn is_done(&self) -> bool {
        matches!(self.framing, Framing::Done)
    }

    /// Bytes still to come, as far as the head said.
    pub(super) fn size_hint(&self) -> SizeHint {
        match self.framing {
            Framing::Length(left) => SizeHint::with_exact(left),
            Framing::Done => SizeHint::with_exact(0),
            Framing::Chunked(_) | Framing::Close => SizeHint::default(),
        }
    }

    /// The next bytes; `None` at the end.
    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Break>>> {
        if self.is_done() {
            return Poll::Ready(None);
        }
        self.write_on(cx);
        let inner = &mut *self.connection.inner.borrow_mut();
        loop {
            match self.framing.take(&mut inner.input) {
                Ok(Step::Data(data)) => {
                    self.connection.note(self.framing, self.keep);
                    return Poll::Ready(Some(Ok(data)));
                }
                Ok(Step::End) => {
                    self.connection.note(self.framing, self.keep);
                    return Poll::Ready(None);
                }
                Ok(Step::More) => {}
                Err(Malformed) => return Poll::Ready(Some(Err(Break::Framing))),
            }
            match ready!(inner.poll_fill(cx)) {
                Ok(0) if self.framing == Framing::Close => {
                    self.framing = Framing::Done;
                    return Poll::Ready(None);
                }
                Ok(0) => return Poll::Ready(Some(Err(Break::Closed))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(Break::Io(error)))),
            }
        }
    }

    /// The body will take its time: what the request needed is given back now.
    pub(super) fn slow_down(&self) {
        let mut inner = self.connection.inner.borrow_mut();
        inner.room_at_most = READ_OF_STREAM;
        if self.unsent.is_none() {
            inner.output = Vec::new();
        }
    }

    /// Writes what is left of the request, as far as the server takes it.
    fn write_on(&mut self, cx: &mut Context<'_>) {
        let Some(unsent) = &mut self.unsent else { return };
        let (apart, progress) = &mut **unsent;
        if self.connection.inner.borrow_mut().poll_write(cx, apart, progress).is_ready() {
            self.unsent = None;
        }
    }

    /// Waits until some more of a body of known length is there; says whether it is all there. What is there stays in one
    /// piece.
    pub(super) async fn gather(&mut self) -> Result<bool, Break> {
        let Framing::Length(length) = self.framing else { return Ok(true) };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        std::future::poll_fn(|cx| {
            self.write_on(cx);
            let inner = &mut *self.connection.inner.borrow_mut();
            let Some(missing) = length.checked_sub(inner.input.len()).filter(|missing| *missing > 0) else {
                return Poll::Ready(Ok(true));
            };
            inner.room = missing.min(READ_AT_MOST);
            match ready!(inner.poll_fill(cx)) {
                Ok(0) => Poll::Ready(Err(Break::Closed)),
                Ok(_) => Poll::Ready(Ok(inner.input.len() >= length)),
                Err(error) => Poll::Ready(Err(Break::Io(error))),
            }
        })
        .await
    }
}

impl Connection {
    /// A body has come this far.
    fn note(&self, framing: Framing, keep: bool) {
        if framing == Framing::Done {
            self.busy.set(!keep);
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("address", &self.address)
            .field("busy", &self.busy)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("framing", &self.framing).finish_non_exhaustive()
    }
}
