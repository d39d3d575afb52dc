//! What one HTTP/2 client may keep open. actix-http sets no limits here: one connection could hold any number of streams
//! whose answers are never read, or stay for ever. It changes nothing but the server's first frame.

use std::{
    collections::HashMap,
    io,
    pin::Pin,
    sync::Arc,
    task::Context,
    time::{Duration, Instant},
};

use tokio::time::{Sleep, sleep_until};

use crate::{
    frames::{DATA, END_STREAM, Frame, Frames, HEAD, HEADERS, RST_STREAM, SETTINGS},
    patience::{Patience, Waiting},
    server::KEEP_ALIVE,
    state::State,
};

/// Streams at once, as every client is told: nginx's number.
const STREAMS: u8 = 128;
/// A client may open more before it has heard that. One that has so many open does not listen.
const TOLERATED: usize = 256;
/// The setting `MAX_CONCURRENT_STREAMS`.
const ANNOUNCEMENT: [u8; 6] = [0, 3, 0, 0, 0, STREAMS];

/// The streams of one connection.
pub struct Streams {
    received: Frames,
    sent: Frames,
    announced: bool,
    /// By number; those whose answer has begun, with the time of its last part.
    open: HashMap<u32, Option<(Instant, Waiting)>>,
    highest: u32,
    /// Since when the head of one request has been coming.
    head_since: Option<Instant>,
    /// Since when there has been no stream.
    idle_since: Option<Instant>,
    head_limit: Duration,
    answer_limit: Duration,
    /// With answers that others do not take either.
    answers: Arc<Patience>,
    /// With connections that have nothing to do either.
    connections: Arc<Patience>,
    _waiting: Waiting,
    /// When to look again whether something lasts too long.
    alarm: Pin<Box<Sleep>>,
}

impl Streams {
    pub fn new(state: &State, now: Instant) -> Self {
        let config = &state.config;
        let head_limit = Duration::from_secs(config.header_timeout);
        Self {
            received: Frames::of_client(),
            sent: Frames::default(),
            announced: false,
            open: HashMap::new(),
            highest: 0,
            head_since: None,
            idle_since: Some(now),
            head_limit,
            answer_limit: Duration::from_secs(config.body_timeout),
            answers: state.answers.clone(),
            connections: state.connections.clone(),
            _waiting: Waiting::new(&state.connections),
            alarm: Box::pin(sleep_until((now + head_limit).into())),
        }
    }

    /// Notes what the client has sent. An error when it keeps too much open.
    pub fn received(&mut self, bytes: &[u8], now: Instant) -> io::Result<()> {
        let Self { received, open, highest, head_since, idle_since, .. } = self;
        received.pass(bytes, |Frame { kind, stream, .. }| match kind {
            HEADERS => {
                *head_since = None;
                // Trailers belong to a stream that there has been.
                if stream > *highest {
                    *highest = stream;
                    *idle_since = None;
                    open.insert(stream, None);
                }
            }
            RST_STREAM => {
                open.remove(&stream);
            }
            _ => {}
        });
        self.head_since = self.received.is_in_head().then(|| self.head_since.unwrap_or(now));
        self.rest(now);
        if self.open.len() > TOLERATED {
            return Err(io::Error::other("more streams than the client was told"));
        }
        Ok(())
    }

    /// Notes what was sent to the client.
    pub fn sent(&mut self, bytes: &[u8], now: Instant) {
        let Self { sent, open, answers, .. } = self;
        sent.pass(bytes, |Frame { kind, flags, stream }| match kind {
            RST_STREAM => {
                open.remove(&stream);
            }
            DATA | HEADERS if flags & END_STREAM != 0 => {
                open.remove(&stream);
            }
            DATA | HEADERS => {
                open.entry(stream).and_modify(|last| match last {
                    Some((last, _)) => *last = now,
                    None => *last = Some((now, Waiting::new(answers))),
                });
            }
            _ => {}
        });
        self.rest(now);
    }

    fn rest(&mut self, now: Instant) {
        if self.open.is_empty() {
            self.idle_since.get_or_insert(now);
        }
    }

    /// Whether a frame may come after what was sent.
    pub const fn may_send(&self) -> bool {
        self.sent.is_between()
    }

    /// Whether the client has asked for nothing for so long that it is told to go.
    pub fn is_idle(&self) -> bool {
        self.idle_since.is_some_and(|since| since.elapsed() >= self.idle_limit())
    }

    fn idle_limit(&self) -> Duration {
        // Who has asked for nothing yet gets the time of a head, as over HTTP/1.
        let limit = if self.highest == 0 { self.head_limit } else { KEEP_ALIVE };
        self.connections.shortened(limit)
    }

    /// The server's first frame is its SETTINGS, to which the number of streams is added; with the length of the original.
    pub fn announce(&mut self, bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
        if self.announced {
            return None;
        }
        self.announced = true;
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        let [0, 0, length, SETTINGS, 0, ..] = *head else { return None };
        let payload = rest.get(..length.into())?;
        let mut frame = head.to_vec();
        frame[2] = length.checked_add(6)?;
        frame.extend_from_slice(payload);
        frame.extend_from_slice(&ANNOUNCEMENT);
        Some((frame, HEAD + payload.len()))
    }

    /// An error when something lasts too long. Otherwise the task is woken when it is time to look again.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.alarm.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if self.is_overdue(now) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let head_ends = self.head_since.map(|since| since + self.head_limit);
            let next = head_ends.into_iter().fold(now + self.head_limit, Instant::min);
            self.alarm.as_mut().reset(next.into());
        }
        Ok(())
    }

    fn is_overdue(&self, now: Instant) -> bool {
        let answer_limit = self.answers.shortened(self.answer_limit);
        let lasts = |since: Option<Instant>, limit| since.is_some_and(|since| now - since >= limit);
        lasts(self.head_since, self.head_limit)
            // It has been told to go, and has had the time.
            || lasts(self.idle_since, self.idle_limit() + self.head_limit)
            || self.open.values().any(|last| lasts(last.as_ref().map(|(last, _)| *last), answer_limit))
    }
}
