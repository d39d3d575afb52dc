//! Where frames begin and end in one direction of an HTTP/2 connection. It keeps no payload.

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;

/// Flag of DATA and HEADERS.
pub const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

pub const HEAD: usize = 9;
/// What a client sends before its first frame.
const PREFACE: usize = 24;

/// What the head of a frame says.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
}

/// Where in a stream of frames we are.
#[derive(Default)]
pub struct Frames {
    head: [u8; HEAD],
    /// Bytes of the present head.
    seen: usize,
    /// Bytes of the present payload that are to come.
    left: usize,
    /// Nothing may come before the server's first frame.
    started: bool,
    /// The present payload is of HEADERS or CONTINUATION.
    is_headers: bool,
    /// Nothing may come between HEADERS and its CONTINUATION.
    in_headers: bool,
}

impl Frames {
    /// What a client sends.
    pub fn of_client() -> Self {
        Self { left: PREFACE, ..Self::default() }
    }

    /// Goes on by these bytes; each head that they complete is handed on.
    pub fn pass(&mut self, mut bytes: &[u8], mut each: impl FnMut(Frame)) {
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
                let [l2, l1, l0, kind, flags, stream @ ..] = self.head;
                self.left = u32::from_be_bytes([0, l2, l1, l0]) as usize;
                self.is_headers = matches!(kind, HEADERS | CONTINUATION);
                self.in_headers = self.is_headers && flags & END_HEADERS == 0;
                self.started = true;
                self.seen = 0;
                // The highest bit is reserved.
                each(Frame { kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff });
            }
        }
    }

    pub const fn is_between(&self) -> bool {
        self.started && self.seen == 0 && self.left == 0 && !self.in_headers
    }

    /// Within the head of a frame, or within the headers of a request.
    pub const fn is_in_head(&self) -> bool {
        self.seen > 0 || self.in_headers || (self.is_headers && self.left > 0)
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
        let stream = [
            frame(SETTINGS, 0, 6),
            frame(HEADERS, 0, 3),
            frame(CONTINUATION, END_HEADERS, 2),
            frame(DATA, END_STREAM, 0),
        ];
        // Behind SETTINGS, behind the last part of the headers, behind the empty DATA.
        let ends = [15, 38, 47];
        let bytes = stream.concat();
        for piece in 1..=bytes.len() {
            let (mut frames, mut kinds) = (Frames::default(), Vec::new());
            let mut at = 0;
            for part in bytes.chunks(piece) {
                assert_eq!(frames.is_between(), ends.contains(&at), "byte {at} in pieces of {piece}");
                // Within the payload of SETTINGS no request has begun.
                let in_head = at > 0 && !ends.contains(&at) && !(9..15).contains(&at);
                assert_eq!(frames.is_in_head(), in_head, "byte {at} in pieces of {piece}");
                frames.pass(part, |frame| kinds.push((frame.kind, frame.stream)));
                at += part.len();
            }
            assert!(frames.is_between());
            assert_eq!(kinds, [(SETTINGS, 1), (HEADERS, 1), (CONTINUATION, 1), (DATA, 1)]);
        }
    }
}
