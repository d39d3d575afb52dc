//! Oversize, malformed and smuggled requests (reliability scenarios L2 and L6): each is refused in the one shape of errors,
//! none is a 500, and none is two requests.

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
    thread,
    time::Duration,
};

use crate::{
    backed::{Backed, Client, request},
    client::{Answer, connect, get, read},
    headers,
    process::Service,
};

/// Routes that read a body.
const BODIES: [(&str, &str); 7] = [
    ("POST", "/login"),
    ("POST", "/token/refresh"),
    ("POST", "/videos"),
    ("POST", "/transcribe"),
    ("POST", "/analyze"),
    ("POST", "/schedule"),
    ("PUT", "/provider-key"),
];

fn send_raw(client: &Client, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
    let mut connection = connect(client.api);
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n{headers}\r\n",
        client.access
    );
    connection.write_all(head.as_bytes()).unwrap();
    // An answer may come, and the connection end, before everything is sent.
    let _ = connection.write_all(body);
    read(&mut connection, false)
}

fn check(answer: &Answer, allowed: &[u16], what: &str) {
    assert!(allowed.contains(&answer.status), "{what}: {answer:?}");
    assert_eq!(answer.header("content-type"), "application/problem+json", "{what}");
    assert_eq!(answer.json()["status"], answer.status, "{what}");
    assert!(!answer.body.contains("/src/") && !answer.body.contains("serde"), "{what}: {answer:?}");
    headers::check(answer);
}

#[test]
fn a_body_that_is_no_small_json_is_refused_by_every_route_that_reads_one() {
    let backed = Backed::with(&[("AI_BASE_URL", "http://127.0.0.1:1/v1"), ("MAX_BODY_BYTES", "65536")]);
    let anna = backed.account("anna@example.com", "editor");
    let json = "content-type: application/json\r\n";
    let large = vec![b' '; 65537];
    let chunk = [format!("{:x}\r\n", large.len()).as_bytes(), &large, b"\r\n"].concat();
    let deep = "[".repeat(10_000);
    let bomb = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    for (method, path) in BODIES {
        let sized = |headers: &str, body: &[u8]| {
            send_raw(&anna, method, path, &format!("{headers}content-length: {}\r\n", body.len()), body)
        };
        check(&sized(json, &large), &[413], "one byte too many");
        let chunked = format!("{json}transfer-encoding: chunked\r\n");
        check(&send_raw(&anna, method, path, &chunked, &chunk), &[413], "chunks without an end");
        check(&sized(&format!("{json}content-encoding: gzip\r\n"), &bomb), &[415], "gzip");
        check(&sized("", b"{}"), &[415], "no type");
        check(&sized("content-type: text/plain\r\n", b"{}"), &[415], "another type");
        for (what, body) in [
            ("nothing", &b""[..]),
            ("depth", deep.as_bytes()),
            ("NaN", b"{\"title\": NaN}"),
            ("twice", b"{\"title\": \"a\", \"title\": \"b\"}"),
            ("no UTF-8", b"{\"title\": \"\xff\xfe\"}"),
            ("a BOM", b"\xef\xbb\xbf{}"),
            ("half a pair", b"{\"title\": \"\\ud800\"}"),
            ("an array", b"[]"),
            ("a number", b"7"),
            ("two values", b"{} {}"),
        ] {
            check(&sized(json, body), &[400], &format!("{method} {path}: {what}"));
        }
    }
    assert_eq!(get(backed.service.api, "/health").status, 200);
}

#[test]
fn no_spelling_of_a_path_reaches_what_the_clean_one_forbids() {
    let backed = Backed::start();
    let api = backed.service.api;
    for path in [
        "/%76ideos",
        "/videos?",
        "/api/videos",
        "/api/%76ideos",
        "//videos",
        "/./videos",
        "/health/../videos",
        "/health/%2e%2e/videos",
        "/health/..%2fvideos",
        "/videos/",
        "/videos;x",
        "/videos%00",
        "/videos%5c",
        "/%c0%afvideos",
        "/videos%20",
        "/VIDEOS",
        "/api/api/videos",
    ] {
        let answer = request(api, "GET", path, "", None);
        check(&answer, &[400, 401, 404], path);
        assert!(!answer.body.contains("items"), "{path}: {answer:?}");
    }
    for path in ["/videos/%00", "/videos/..%2f..%2fetc%2fpasswd", "/jobs/%ff", "/videos/1%27%20OR%201=1"] {
        let anna = backed.account(&format!("a{}@example.com", path.len()), "viewer");
        check(&anna.get(path), &[400, 404], path);
    }
}

#[test]
fn a_long_head_and_ten_thousand_parameters_are_refused() {
    let backed = Backed::start();
    let anna = backed.account("anna@example.com", "viewer");
    let many = "&p=1".repeat(10_000);
    check(&anna.get(&format!("/videos?limit=1{many}")), &[400, 431], "parameters");
    let long = format!("x-long: {}\r\n", "a".repeat(200_000));
    let answer = request(backed.service.api, "GET", "/videos", &long, None);
    check(&answer, &[400, 431], "a long header");
}

/// All answers on one connection until it ends; at most so many.
fn answers(api: SocketAddr, text: &str) -> Vec<u16> {
    let mut connection = connect(api);
    connection.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let _ = connection.write_all(text.as_bytes());
    let mut all = Vec::new();
    // It waits for what may still come; an end or silence ends it.
    let _ = connection.read_to_end(&mut all);
    let text = String::from_utf8_lossy(&all);
    let statuses = text.split("HTTP/1.1 ").skip(1);
    statuses.map(|answer| answer[..3].parse().unwrap()).collect()
}

#[test]
fn a_request_whose_end_can_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_answered() {
    let service = Service::start(&[("HEADER_TIMEOUT", "1"), ("BODY_TIMEOUT", "1")]);
    let behind = "GET /health HTTP/1.1\r\nhost: a\r\n\r\n";
    for (what, head) in [
        ("both lengths", "content-length: 4\r\ntransfer-encoding: chunked\r\n"),
        ("both, the other way round", "transfer-encoding: chunked\r\ncontent-length: 4\r\n"),
        ("two lengths", "content-length: 4\r\ncontent-length: 6\r\n"),
        ("a list of lengths", "content-length: 4, 4\r\n"),
        ("a signed length", "content-length: +4\r\n"),
        ("a space before the colon", "transfer-encoding : chunked\r\n"),
        ("an unknown coding", "transfer-encoding: xchunked\r\n"),
        ("chunked not last", "transfer-encoding: chunked, gzip\r\n"),
        ("chunked twice", "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"),
        ("a folded line", "x: a\r\n transfer-encoding: chunked\r\n"),
        ("a control character", "x: a\u{1}b\r\n"),
    ] {
        let request = format!("POST /login HTTP/1.1\r\nhost: a\r\n{head}\r\n0\r\n\r\n{behind}");
        let statuses = answers(service.api, &request);
        assert!(statuses.len() <= 1, "{what}: {statuses:?}");
        assert!(statuses.iter().all(|status| [400, 408, 501].contains(status)), "{what}: {statuses:?}");
    }
    assert_eq!(get(service.api, "/health").status, 200);
}

#[test]
fn each_of_many_requests_on_a_connection_has_one_answer() {
    let service = Service::start(&[]);
    let one = "POST /login HTTP/1.1\r\nhost: a\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nabc";
    let last = "GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    assert_eq!(answers(service.api, &[last, one].concat()), [200]);
    // It is answered before its body is read, and what stands behind such a body is never taken for a request.
    assert_eq!(answers(service.api, &[one, one, last].concat()), [415]);
}

#[test]
fn pipelined_requests_are_answered_in_turn_wherever_their_bytes_are_parted() {
    let service = Service::start(&[]);
    let body = "{\"a\": \"\r\n\r\n\"}";
    let head = "POST /login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json";
    let post = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let all = ["GET / HTTP/1.1\r\nhost: a\r\n\r\n", &post, "GET /none HTTP/1.1\r\nhost: a\r\n\r\n"].concat();
    for length in [all.len(), all.len() - 1, 61, 40, 7] {
        let mut stream = connect(service.api);
        for part in all.as_bytes().chunks(length) {
            stream.write_all(part).unwrap();
            thread::sleep(Duration::from_millis(2));
        }
        let answered: Vec<_> = (0..3).map(|_| read(&mut stream, false).status).collect();
        assert_eq!(answered, [200, 400, 404], "in parts of {length}");
    }
}
