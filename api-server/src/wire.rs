//! The last layer before the socket. The HTTP/1 parser answers broken requests itself (400, 408, 431), past the
//! middleware; here those answers are completed. A client that reads nothing is let go. An HTTP/2
//! client is told when the process drains, and kept to its limits. It changes nothing else.

use std::{
    io, mem,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use actix_web::web::Data;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use crate::{ahead::Ahead, bare, goaway::Farewell, state::State, streams::Streams, turn::Turn};

/// Most heads are shorter.
const PART: usize = 1024;

/// Most answers are shorter, and leave in one write with their headers. Of a longer one the rest follows as it is.
const ANSWER: usize = 2048;

/// A connection that completes the parser's own answers.
pub struct Wire<IO> {
    io: IO,
    state: Data<State>,
    /// Only for HTTP/2, and so in a box; the bare answers are HTTP/1's.
    http2: Option<Box<(Streams, Farewell)>>,
    pending: Vec<u8>,
    sent: usize,
    /// Ends when the client has taken nothing for too long; only while it takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    turn: Rc<Turn>,
    /// What was read behind a request.
    ahead: Ahead,
    /// The last read gave as much as it may.
    pauses: bool,
}

impl<IO> Wire<IO> {
    pub fn new(io: IO, state: Data<State>, http1: bool) -> Self {
        let http2 = || Box::new((Streams::new(&state, Instant::now()), Farewell::new(&state)));
        let http2 = (!http1).then(http2);
        let (turn, ahead, pauses) = (Rc::default(), Ahead::default(), false);
        Self { io, state, http2, pending: Vec::new(), sent: 0, stalled: None, turn, ahead, pauses }
    }

    /// Where a request notes that it is being answered.
    pub fn turn(&self) -> Rc<Turn> {
        self.turn.clone()
    }

    /// Ends what cannot go on because the client reads nothing: otherwise it would hold its answers for ever.
    fn watch<T>(&mut self, cx: &mut Context<'_>, sending: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if sending.is_ready() {
            if self.stalled.take().is_some() {
                // Reading goes on.
                cx.waker().wake_by_ref();
            }
            return sending;
        }
        let limit = Duration::from_secs(self.state.config.body_timeout);
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<IO: AsyncWrite + Unpin> Wire<IO> {
    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.pending.len() {
            let n = ready!(Pin::new(&mut self.io).poll_write(cx, &self.pending[self.sent..]))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += n;
        }
        self.pending.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Sends the farewell when it is due.
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let Self { http2, state, .. } = self;
        let due = http2.as_mut().and_then(|both| {
            let (streams, farewell) = &mut **both;
            farewell.poll(state, streams, cx)
        });
        if let Some(goaway) = due {
            self.pending.extend_from_slice(goaway);
            // What is not sent now is sent before the next frame.
            if self.poll_pending(cx)?.is_ready() {
                let _ = Pin::new(&mut self.io).poll_flush(cx)?;
            }
        }
        Ok(())
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_pending(cx))?;
        if let Some(both) = &mut self.http2 {
            let streams = &mut both.0;
            let sent = if let Some((frame, length)) = streams.announce(buf) {
                self.pending = frame;
                length
            } else {
                ready!(Pin::new(&mut self.io).poll_write(cx, buf))?
            };
            streams.sent(&buf[..sent], Instant::now());
            // What is not sent now is sent before the next frame.
            let _ = self.poll_pending(cx)?;
            self.poll_farewell(cx)?;
            return Poll::Ready(Ok(sent));
        }
        let bare = bare::find(buf);
        let whole = &buf[..bare.as_ref().map_or(buf.len(), |bare| bare.start)];
        let stamp = self.state.stamp.as_ref();
        let mut taken = match stamp.and_then(|stamp| Some((stamp, stamp.find(whole)?))) {
            Some((stamp, at)) if at < ANSWER => {
                stamp.complete(&self.state.policy().headers, whole, ANSWER, &mut self.pending)
            }
            Some((_, at)) => return Pin::new(&mut self.io).poll_write(cx, &whole[..at]),
            None if bare.as_ref().is_some_and(|bare| bare.start == 0) => 0,
            None => return Pin::new(&mut self.io).poll_write(cx, whole),
        };
        if let Some(bare) = bare.filter(|bare| bare.start == taken) {
            bare::complete(&bare, &self.state, &mut self.pending);
            taken = buf.len();
        }
        // What is not sent now is sent by the flush, which the dispatcher waits for.
        let _ = self.poll_pending(cx)?;
        Poll::Ready(Ok(taken))
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<IO> {
    /// The connection's task comes here whenever it has nothing else to do, so the drain and the limits wake it here.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(both) = &mut this.http2 else {
            return this.poll_part(cx, buf);
        };
        both.0.poll(cx)?;
        this.poll_farewell(cx)?;
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        if let Some(both) = &mut this.http2 {
            both.0.received(&buf.filled()[before..], Instant::now())?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + Unpin> Wire<IO> {
    /// For HTTP/1: one request, and nothing before earlier answers are made and taken.
    fn poll_part(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.stalled.is_some() || !self.turn.is_free(cx) {
            return Poll::Pending;
        }
        if mem::take(&mut self.pauses) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let length = PART.min(buf.remaining());
        if !self.ahead.is_empty() {
            let next = self.ahead.next(length);
            buf.put_slice(next);
            let taken = next.len();
            self.ahead.advance(taken);
            self.pauses = true;
            return Poll::Ready(Ok(()));
        }
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(length));
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut part))?;
        let read = part.filled();
        let end = self.ahead.keep_behind(read);
        self.pauses = end == length || end < read.len();
        buf.advance(end);
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Wire<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let sending = this.poll_send(cx, buf);
        this.watch(cx, sending)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let sending = this.poll_rest(cx);
        this.watch(cx, sending)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_pending(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}
