//! Answers that the HTTP/1 parser makes itself (400, 408, 431), past the middleware: found at the end of what leaves, and
//! completed. It knows nothing of connections.

use std::{str, time::Duration};

use actix_web::http::{Method, StatusCode};

use crate::{metrics::NO_ROUTE, middleware::new_id, problem, state::State};

/// The parser's own head is about 110 bytes; a longer tail is not its answer.
const LONGEST_BARE: usize = 256;

/// An answer of the parser: it stands at the end of the buffer, because the connection ends with it.
#[derive(Debug, PartialEq)]
pub struct Bare<'a> {
    /// Where it begins.
    pub start: usize,
    version: &'a str,
    status: StatusCode,
    date: &'a str,
}

/// Finds such an answer. Answers of the application carry security headers, so they never have this form, and the
/// bodies are JSON, which has no raw line breaks.
pub fn find(buf: &[u8]) -> Option<Bare<'_>> {
    if !buf.ends_with(b"\r\n\r\n") {
        return None;
    }
    let tail_start = buf.len().saturating_sub(LONGEST_BARE);
    let tail = &buf[tail_start..];
    let at = tail.windows(7).rposition(|w| w == b"HTTP/1.")?;
    let mut lines = str::from_utf8(&tail[at..]).ok()?.trim_end().split("\r\n");
    let (version, status) = lines.next()?.split_once(' ')?;
    let status = StatusCode::from_bytes(status.get(..3)?.as_bytes()).ok()?;
    let mut empty = false;
    let mut date = "";
    for line in lines {
        match line.split_once(": ")? {
            ("content-length", "0") => empty = true,
            ("date", value) => date = value,
            ("connection", _) => {}
            _ => return None,
        }
    }
    let is_error = status.is_client_error() || status.is_server_error();
    (empty && is_error).then_some(Bare { start: tail_start + at, version, status, date })
}

/// With the headers and the problem body.
pub fn complete(bare: &Bare<'_>, state: &State, answer: &mut Vec<u8>) {
    let Bare { version, status, date, .. } = bare;
    let id = new_id();
    let body = problem::body(*status, None, &id);
    // There is no parsed request: neither method nor path are known.
    tracing::info!(target: "access", request_id = id, status = status.as_u16(), "malformed or late request");
    state.metrics.answered(&Method::TRACE, NO_ROUTE.to_owned(), status.as_u16(), Duration::ZERO);
    answer.extend_from_slice(format!("{version} {status}\r\n").as_bytes());
    state.policy().headers.push_lines(true, answer);
    let rest = format!(
        "x-request-id: {id}\r\ncontent-type: {media}\r\ncontent-length: {length}\r\nconnection: close\r\n\
         date: {date}\r\n\r\n{body}",
        media = problem::MEDIA_TYPE,
        length = body.len(),
    );
    answer.extend_from_slice(rest.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n";

    #[test]
    fn the_parsers_answer_is_found_behind_an_earlier_one() {
        let earlier = "HTTP/1.1 200 OK\r\nserver: Unknown\r\ncontent-length: 2\r\n\r\n{}";
        let buffer = format!("{earlier}{BARE}");
        let bare = find(buffer.as_bytes()).unwrap();
        assert_eq!((bare.start, bare.status.as_u16()), (earlier.len(), 400));
        assert_eq!(bare.date, "Thu, 01 Jan 2026 00:00:00 GMT");
    }

    #[test]
    fn an_answer_of_the_application_is_left_alone() {
        for text in [
            BARE.replace("date:", "server: Unknown\r\ndate:"),
            BARE.replace("400 Bad Request", "200 OK"),
            BARE.replace("content-length: 0", "content-length: 4"),
            format!("{BARE}{{}}"),
        ] {
            assert_eq!(find(text.as_bytes()), None, "{text}");
        }
    }
}
