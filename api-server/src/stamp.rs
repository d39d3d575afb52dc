//! The security headers of HTTP/1 answers, written as one block where the head's bytes leave. actix keeps headers in a
//! hash map: putting fourteen there, reading them back and dropping them is a fifth of what a small request costs.
//!
//! The stack leaves a mark in the head, and the wire puts the block in its place. The mark's name is random for each
//! process and never leaves it, so no body can hold one.

use actix_web::http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue};
use memchr::memmem::Finder;

use crate::headers::{HeaderSet, hex, random};

/// The answer has no `Cache-Control` of its own.
const ALL: HeaderValue = HeaderValue::from_static("1");
const ALL_BUT_CACHE_CONTROL: HeaderValue = HeaderValue::from_static("0");

/// The mark of a process.
#[derive(Debug)]
pub struct Stamp {
    name: HeaderName,
    /// `NAME: `, as the encoder writes it.
    line: Finder<'static>,
}

impl Stamp {
    /// Nothing without randomness: then every answer gets its headers in the stack.
    pub fn new() -> Option<Self> {
        let text = format!("x-{}", hex(&random::<16>()?));
        let name = HeaderName::try_from(&text).ok()?;
        Some(Self { name, line: Finder::new(&format!("{text}: ")).into_owned() })
    }

    /// Leaves the mark in a head that will pass the wire, and takes out what the block will say.
    pub fn mark(&self, set: &HeaderSet, headers: &mut HeaderMap) {
        headers.retain(|name, _| !set.names(name));
        let value = if headers.contains_key(CACHE_CONTROL) { ALL_BUT_CACHE_CONTROL } else { ALL };
        headers.insert(self.name.clone(), value);
    }

    /// Where the first mark begins.
    pub fn find(&self, bytes: &[u8]) -> Option<usize> {
        self.line.find(bytes)
    }

    /// Copies bytes that leave, the block in place of each mark, up to `most` of them: whoever sends a large answer to a
    /// client that takes nothing would hold it twice. Gives how many it took; a mark is taken as a whole or not at all.
    pub fn complete(&self, set: &HeaderSet, bytes: &[u8], most: usize, to: &mut Vec<u8>) -> usize {
        let (mut from, mut end) = (0, bytes.len().min(most));
        for at in self.line.find_iter(bytes).take_while(|at| *at < most) {
            let value = at + self.line.needle().len();
            let behind = value + "1\r\n".len();
            if behind > most && from > 0 {
                end = at;
                break;
            }
            to.extend_from_slice(&bytes[from..at]);
            set.push_lines(bytes.get(value) == Some(&b'1'), to);
            from = behind.min(bytes.len());
        }
        end = end.max(from);
        to.extend_from_slice(&bytes[from..end]);
        end
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{CONTENT_TYPE, X_FRAME_OPTIONS};

    use super::*;
    use crate::policy::Headers;

    fn head(headers: &HeaderMap) -> String {
        let lines = headers.iter().map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()));
        lines.collect::<Vec<_>>().concat()
    }

    #[test]
    fn each_mark_becomes_the_block_and_the_rest_stays() {
        let (stamp, set) = (Stamp::new().unwrap(), HeaderSet::new(&Headers::default()).unwrap());
        let (mut first, mut second) = (HeaderMap::new(), HeaderMap::new());
        second.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
        for headers in [&mut first, &mut second] {
            headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("ALLOWALL"));
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            stamp.mark(&set, headers);
        }
        let leaving = format!(
            "HTTP/1.1 200 OK\r\n{}\r\none\r\nx-: 1\r\nHTTP/1.1 200 OK\r\n{}\r\ntwo",
            head(&first),
            head(&second)
        );
        let mut bytes = Vec::new();
        let taken = stamp.complete(&set, leaving.as_bytes(), usize::MAX, &mut bytes);
        assert_eq!(taken, leaving.len());
        let text = String::from_utf8(bytes).unwrap();
        for (part, count) in [
            ("x-frame-options: DENY\r\n", 2),
            ("ALLOWALL", 0),
            ("content-type: text/plain\r\n", 2),
            ("content-security-policy: default-src 'none'; ", 2),
            ("cache-control: no-store, max-age=0\r\n", 1),
            ("cache-control: max-age=300\r\n", 1),
            ("one\r\nx-: 1\r\nHTTP/1.1 200 OK\r\n", 1),
            (stamp.name.as_str(), 0),
        ] {
            assert_eq!(text.matches(part).count(), count, "{part} in {text}");
        }
        assert!(text.ends_with("\r\ntwo"));
    }

    #[test]
    fn wherever_the_bytes_are_parted_no_mark_leaves_and_nothing_is_lost() {
        let (stamp, set) = (Stamp::new().unwrap(), HeaderSet::new(&Headers::default()).unwrap());
        let mut headers = HeaderMap::new();
        stamp.mark(&set, &mut headers);
        let answer = format!("HTTP/1.1 200 OK\r\n{}\r\n{}", head(&headers), "body ".repeat(20));
        let two = answer.repeat(2);
        for most in 1..two.len() + 2 {
            let (mut left, mut bytes) = (two.as_bytes(), Vec::new());
            while !left.is_empty() {
                let taken = match stamp.find(left) {
                    Some(at) if at < most => stamp.complete(&set, left, most, &mut bytes),
                    found => {
                        let taken = found.unwrap_or(left.len());
                        bytes.extend_from_slice(&left[..taken]);
                        taken
                    }
                };
                assert!(taken > 0, "at most {most}");
                left = &left[taken..];
            }
            let text = String::from_utf8(bytes).unwrap();
            for (part, count) in
                [("HTTP/1.1 200 OK\r\n", 2), ("body ", 40), ("x-frame-options: DENY\r\n", 2), ("x-", 0)]
            {
                let part = if part == "x-" { stamp.name.as_str() } else { part };
                assert_eq!(text.matches(part).count(), count, "at most {most}: {part} in {text}");
            }
        }
    }

    #[test]
    fn bytes_without_a_mark_are_left_alone() {
        let stamp = Stamp::new().unwrap();
        assert_eq!(stamp.find(b"HTTP/1.1 200 OK\r\nx-0123: 1\r\n\r\n"), None);
        assert_ne!(stamp.name, Stamp::new().unwrap().name);
    }
}
