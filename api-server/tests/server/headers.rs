//! The headers of the mission on every answer, whoever makes it, and the shape of errors.

use std::{collections::HashSet, io::Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    client::{Answer, connect, get, read, send},
    process::{Service, policy},
};

/// The seven fixed ones of the eight, as the mission writes them.
const FIXED: [(&str, &str); 7] = [
    ("Strict-Transport-Security", "max-age=31536000; includeSubDomains; preload"),
    ("X-Frame-Options", "DENY"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-XSS-Protection", "1; mode=block"),
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
    ("Permissions-Policy", "geolocation=(), microphone=(), camera=(), payment=(), usb=(), magnetometer=()"),
    ("Server", "Unknown"),
];

/// Checks all headers and gives back the nonce.
pub fn check(answer: &Answer) -> String {
    for (name, value) in FIXED {
        assert_eq!(answer.header(name), value, "{name}");
    }
    assert_eq!(answer.header("Cache-Control"), "no-store, max-age=0");
    assert_eq!(answer.header("Cross-Origin-Resource-Policy"), "same-origin");
    assert_eq!(answer.header("Cross-Origin-Opener-Policy"), "same-origin");
    assert_eq!(answer.header("X-Permitted-Cross-Domain-Policies"), "none");
    let is_mark = |name: &str| name.len() == 34 && name.starts_with("x-") && !name[2..].contains('-');
    assert!(!answer.headers.iter().any(|(name, _)| is_mark(name)), "{answer:?}");
    let csp = answer.header("Content-Security-Policy");
    assert!(csp.starts_with("default-src 'none'; "), "{csp}");
    let nonce = csp.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    assert_eq!(STANDARD.decode(nonce).unwrap().len(), 16, "128 bit");
    nonce.to_owned()
}

#[test]
fn every_answer_carries_the_eight_headers_and_its_own_nonce() {
    let policy = policy(r#"{"version":1,"trustedHosts":["localhost"]}"#);
    let service = Service::start(&[
        ("HEADER_TIMEOUT", "1"),
        ("MAX_BODY_BYTES", "10"),
        ("POLICY_FILE", policy.path().to_str().unwrap()),
    ]);
    let long = "a".repeat(200_000);
    let long_head = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {long}\r\n\r\n");
    let table = [
        (200, "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        (200, "HEAD / HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        (200, "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        (200, "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        (200, "GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"),
        (400, "no http at all\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"),
        (404, "GET /nothing/here HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        (404, "HEAD /nothing HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        (405, "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\nx"),
        (405, "BREW /health HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        (408, "GET / HTTP/1.1\r\nhost: loc"),
        (413, "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 11\r\n\r\n"),
        (421, "GET / HTTP/1.1\r\nhost: evil.example\r\n\r\n"),
        (431, &long_head),
    ];
    let mut nonces = HashSet::new();
    for (status, request) in table {
        let answer = send(&mut connect(service.api), request);
        let what = &request[..request.len().min(80)];
        assert_eq!(answer.status, status, "{what}");
        assert!(nonces.insert(check(&answer)), "nonce repeated: {what}");
        if status >= 400 && !request.starts_with("HEAD") {
            let problem = answer.json();
            assert_eq!(answer.header("content-type"), "application/problem+json", "{what}");
            assert_eq!(problem["status"], status);
            assert_eq!(problem["requestId"], answer.header("x-request-id"));
            assert!(problem["type"].as_str().unwrap().starts_with("https://hardened.dev/problems/"));
        }
    }
    check(&get(service.metrics, "/metrics"));
    check(&get(service.metrics, "/"));
}

#[test]
fn two_answers_on_one_connection_have_different_nonces_and_one_server_header() {
    let service = Service::start(&[]);
    let mut connection = connect(service.api);
    let nonces: HashSet<_> =
        (0..20).map(|_| check(&send(&mut connection, "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"))).collect();
    assert_eq!(nonces.len(), 20);
}

#[test]
fn a_broken_request_behind_a_good_one_gets_its_own_complete_answer() {
    let service = Service::start(&[]);
    let mut connection = connect(service.api);
    connection.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n").unwrap();
    let (good, bad) = (read(&mut connection, false), read(&mut connection, false));
    assert_eq!((good.status, bad.status), (200, 400));
    assert_ne!(check(&good), check(&bad));
    assert_eq!(bad.header("connection"), "close");
}

#[test]
fn a_wrong_method_is_told_the_allowed_ones() {
    let service = Service::start(&[]);
    let answer = send(&mut connect(service.api), "DELETE /health HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"));
}

#[test]
fn the_root_describes_the_service() {
    let service = Service::start(&[]);
    let about = serde_json::json!({
        "name": "api-server", "version": env!("CARGO_PKG_VERSION"), "environment": "development"
    });
    assert_eq!(get(service.api, "/").json(), about);
}
