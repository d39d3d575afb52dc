//! One HTTP/1 request at a time. actix decodes whatever has come, up to 16 requests, and each holds 7 KiB until its turn: 26
//! short ones in a kilobyte cost a connection 170. What is parted here is only paced: the parser sees every byte, in order.

use memchr::memmem;

const EMPTY_LINE: &[u8] = b"\r\n\r\n";

/// Bytes that came behind a request.
#[derive(Default)]
pub struct Ahead(Vec<u8>);

impl Ahead {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps what stands behind the first request; gives its length.
    pub fn keep_behind(&mut self, bytes: &[u8]) -> usize {
        let end = request_end(bytes);
        self.0.extend_from_slice(&bytes[end..]);
        end
    }

    /// The next request, or as much of it as fits.
    pub fn next(&self, most: usize) -> &[u8] {
        &self.0[..request_end(&self.0).min(most)]
    }

    /// So much of it was taken.
    pub fn advance(&mut self, length: usize) {
        self.0.drain(..length);
    }
}

/// Where the first request ends, body included, as far as these bytes tell. A body that came with its head goes with it:
/// a request that is answered before its body is there ends the connection.
fn request_end(bytes: &[u8]) -> usize {
    let Some(head) = memmem::find(bytes, EMPTY_LINE).map(|at| at + EMPTY_LINE.len()) else {
        return bytes.len();
    };
    if head == bytes.len() {
        return head;
    }
    head.saturating_add(body(&bytes[..head], &bytes[head..])).min(bytes.len())
}

fn body(head: &[u8], rest: &[u8]) -> usize {
    for line in head.split(|byte| *byte == b'\n') {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            return str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(rest.len());
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return memmem::find(rest, EMPTY_LINE).map_or(rest.len(), |at| at + EMPTY_LINE.len());
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_comes_with_its_body_and_no_other() {
        let requests = [
            "GET /1 HTTP/1.1\r\nhost: a\r\n\r\n",
            "POST /2 HTTP/1.1\r\nContent-Length: 9\r\n\r\na\r\n\r\nbcde",
            "POST /3 HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
            "POST /4 HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
            "GET /5 HTTP/1.1\r\n",
        ];
        let mut ahead = Ahead::default();
        assert_eq!(ahead.keep_behind(requests.concat().as_bytes()), requests[0].len());
        for request in &requests[1..] {
            let next = ahead.next(4096);
            assert_eq!(next, request.as_bytes());
            ahead.advance(request.len());
        }
        assert!(ahead.is_empty());
    }

    #[test]
    fn what_cannot_be_told_goes_as_a_whole_and_what_does_not_fit_in_parts() {
        let mut ahead = Ahead::default();
        for whole in [
            "POST / HTTP/1.1\r\ncontent-length: x\r\n\r\nabc",
            "POST / HTTP/1.1\r\ncontent-length: 99\r\n\r\nabc",
            "no end",
        ] {
            assert_eq!(ahead.keep_behind(whole.as_bytes()), whole.len());
        }
        assert!(ahead.is_empty());
        ahead.keep_behind(b"GET / HTTP/1.1\r\n\r\nGET /next HTTP/1.1\r\n\r\n");
        assert_eq!(ahead.next(9), b"GET /next");
    }
}
