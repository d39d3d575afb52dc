//! The end of an HTTP/2 connection. actix-http drains HTTP/1 only: an HTTP/2 client would go on using its connection
//! until it is cut, with requests on it. Here it is told to leave, between two frames; its requests are still answered.

use std::{future::Future, pin::Pin, task::Context};

use crate::state::State;

/// GOAWAY without an error. It names the highest stream, because requests that are on their way are served as well.
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];
const HEAD: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Says farewell once, when the drain has begun and the last frame is complete.
pub struct Farewell {
    frames: Frames,
    /// Ends when the drain begins; none when that has been said.
    begun: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Farewell {
    pub fn new(state: &State) -> Self {
        Self { frames: Frames::default(), begun: Some(Box::pin(state.drain_begun())) }
    }

    /// Notes what was sent.
    pub fn sent(&mut self, bytes: &[u8]) {
        self.frames.pass(bytes);
    }

    /// The frame, if now is its time. Otherwise the task is woken when the drain begins.
    pub fn poll(&mut self, state: &State, cx: &mut Context<'_>) -> Option<&'static [u8]> {
        let begun = self.begun.as_mut()?;
        let draining = state.draining() || begun.as_mut().poll(cx).is_ready();
        if !draining || !self.frames.is_between() {
            return None;
        }
        self.begun = None;
        Some(&GOAWAY)
    }
}

/// Where in the stream of outgoing frames we are.
#[derive(Default)]
struct Frames {
    head: [u8; HEAD],
    /// Bytes of the present head.
    seen: usize,
    /// Bytes of the present payload that are to come.
    left: usize,
    /// Nothing may come before the server's first frame.
    started: bool,
    /// Nothing may come between HEADERS and its CONTINUATION.
    in_headers: bool,
}

impl Frames {
    fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let n = self.left.min(bytes.len());
                self.left -= n;
                bytes = &bytes[n..];
                continue;
            }
            self.head[self.seen] = first;
            self.seen += 1;
            bytes = rest;
            if self.seen == HEAD {
                let [a, b, c, kind, flags, ..] = self.head;
                self.left = u32::from_be_bytes([0, a, b, c]) as usize;
                self.in_headers = matches!(kind, HEADERS | CONTINUATION) && flags & END_HEADERS == 0;
                self.started = true;
                self.seen = 0;
            }
        }
    }

    const fn is_between(&self) -> bool {
        self.started && self.seen == 0 && self.left == 0 && !self.in_headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.resize(HEAD + usize::from(length), 0xff);
        frame
    }

    #[test]
    fn the_place_between_two_frames_is_found_however_the_bytes_are_cut() {
        let stream =
            [frame(4, 0, 6), frame(HEADERS, 0, 3), frame(CONTINUATION, END_HEADERS, 2), frame(0, 1, 0)];
        // Behind SETTINGS, behind the last part of the headers, behind the empty DATA.
        let ends = [15, 38, 47];
        let bytes = stream.concat();
        for piece in 1..=bytes.len() {
            let mut frames = Frames::default();
            let mut at = 0;
            for part in bytes.chunks(piece) {
                assert_eq!(frames.is_between(), ends.contains(&at), "byte {at} in pieces of {piece}");
                frames.pass(part);
                at += part.len();
            }
            assert!(frames.is_between());
        }
    }
}
