//! The end of an HTTP/2 connection. actix-http drains HTTP/1 only: an HTTP/2 client would go on using its connection
//! until it is cut, with requests on it. Here it is told to leave, between two frames; its requests are still answered.

use std::{future::Future, pin::Pin, task::Context};

use crate::{state::State, streams::Streams};

/// GOAWAY without an error. It names the highest stream, because requests that are on their way are served as well.
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// Says farewell once, when the drain has begun or the client is idle, and the last frame is complete.
pub struct Farewell {
    /// Ends when the drain begins; none when that has been said.
    begun: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Farewell {
    pub fn new(state: &State) -> Self {
        Self { begun: Some(Box::pin(state.drain_begun())) }
    }

    /// The frame, if now is its time. Otherwise the task is woken when the drain begins.
    pub fn poll(&mut self, state: &State, streams: &Streams, cx: &mut Context<'_>) -> Option<&'static [u8]> {
        let begun = self.begun.as_mut()?;
        let is_due = streams.is_idle() || state.draining() || begun.as_mut().poll(cx).is_ready();
        if !is_due || !streams.may_send() {
            return None;
        }
        self.begun = None;
        Some(&GOAWAY)
    }
}
