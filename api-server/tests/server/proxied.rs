//! Hostile requests (reliability scenarios L2, L4 and L6) through a real nginx: what it lets pass and what it rewrites makes
//! no second request, opens no path and changes no client. Answers that nginx makes itself are its own.

use crate::{
    client::get,
    pair::{Pair, by_service},
};

const HOST: &str = "host: studio.example\r\n";

/// Ways to write a path that needs a token, and paths that are none.
const FORBIDDEN: &str = r"
    /videos /%76ideos /videos? /videos#a /api/videos /api/%76ideos //videos ///videos /./videos
    /health/../videos /health/%2e%2e/videos /health/.%2e/videos /health/..%2fvideos
    /health/%2e%2e%2fvideos /health%2f..%2fvideos /health/%252e%252e/videos /../videos /videos/ /videos/.
    /videos// /videos;x /videos;x=/../jobs/7 /health;/../videos /videos%00 /videos%00/health /videos%5c
    /health%5c..%5cvideos /health\..\videos /%c0%afvideos /%e0%80%afvideos /health/%c0%ae%c0%ae/videos
    /videos%20 /videos%09 /videos%0a /VIDEOS /api/api/videos /api/../videos /api%2fvideos /%61pi/videos
    /videos%3f /videos%23 /%2fvideos /health/..;/videos /%ff /% /%zz /%u0076ideos * videos
";

/// Ways to write the path of the login, and paths that are none.
const LIMITED: &str = r"
    /%6cogin /login?a /api/login /api/%6cogin /./login //login /login/ /login%00 /login;x
    /health/../login /health/%2e%2e/login /health/..%2flogin /login%20 /LOGIN /login%5c /login/.
";

fn login_limit(requests: u32) -> String {
    format!(
        r#"{{"name": "login", "methods": ["POST"], "path": {{"value": "/login"}}, "requests": {requests}, "period": "1h"}}"#
    )
}

/// A POST with these header lines and this body.
fn post(head: &str, body: &str) -> String {
    format!("POST /login HTTP/1.1\r\n{HOST}content-type: application/json\r\n{head}\r\n{body}")
}

/// Requests whose end or whose first line can be read in two ways.
fn ambiguous() -> Vec<(&'static str, String)> {
    let (length, chunked) = ("content-length: 4\r\n", "transfer-encoding: chunked\r\n");
    let hidden = format!("0\r\n\r\nGET /hidden HTTP/1.1\r\n{HOST}\r\n");
    let within = format!("GET /hidden HTTP/1.1\r\n{HOST}\r\n");
    let sized = format!("content-length: {}\r\n", hidden.len());
    vec![
        ("both lengths", post(&[length, chunked].concat(), &hidden)),
        ("both, the other way round", post(&[chunked, length].concat(), &hidden)),
        ("a length around a chunked body", post(&[chunked, &*sized].concat(), &hidden)),
        ("two lengths", post("content-length: 4\r\ncontent-length: 50\r\n", &hidden)),
        ("the same length twice", post("content-length: 4\r\ncontent-length: 4\r\n", "null")),
        ("a list of lengths", post("content-length: 4, 4\r\n", "null")),
        ("a signed length", post("content-length: +4\r\n", "null")),
        ("a length in hexadecimal", post("content-length: 0x4\r\n", "null")),
        ("a length beyond all numbers", post("content-length: 18446744073709551620\r\n", "null")),
        ("a space before the colon", post("transfer-encoding : chunked\r\n", &hidden)),
        ("a space and a length", post(&["transfer-encoding : chunked\r\n", &*sized].concat(), &hidden)),
        ("a tab before the value", post("transfer-encoding:\tchunked\r\n", &hidden)),
        ("another case", post("transfer-encoding: cHuNkEd\r\n", &hidden)),
        ("an unknown coding", post("transfer-encoding: xchunked\r\n", &hidden)),
        (
            "an unknown coding and a length",
            post(&["transfer-encoding: xchunked\r\n", &*sized].concat(), &hidden),
        ),
        ("chunked not last", post("transfer-encoding: chunked, gzip\r\n", &hidden)),
        ("chunked last", post("transfer-encoding: gzip, chunked\r\n", &hidden)),
        ("identity and a length", post(&["transfer-encoding: identity\r\n", &*sized].concat(), &hidden)),
        ("chunked twice", post(&[chunked, chunked].concat(), &hidden)),
        ("a quoted coding", post("transfer-encoding: \"chunked\"\r\n", &hidden)),
        ("a vertical tab", post("transfer-encoding: \u{b}chunked\r\n", &hidden)),
        ("a folded line", post(&format!("x: a\r\n {chunked}"), &hidden)),
        ("a hidden line", post(&format!("x: a\r{chunked}{sized}"), &hidden)),
        ("underscores", post(&["transfer_encoding: chunked\r\n", &*sized].concat(), &hidden)),
        ("a chunk extension", post(chunked, "4;a=b\r\nnull\r\n0\r\n\r\n")),
        ("a long chunk extension", post(chunked, &format!("4;{}\r\nnull\r\n0\r\n\r\n", "a".repeat(9000)))),
        ("a chunk extension with a bare LF", post(chunked, &format!("4;\nnull\r\n0\r\n\r\n{within}"))),
        ("a chunk size beyond all numbers", post(chunked, "10000000000000004\r\nnull\r\n0\r\n\r\n")),
        ("a chunk size in another base", post(chunked, "0x4\r\nnull\r\n0\r\n\r\n")),
        ("a chunk that ends elsewhere", post(chunked, &format!("4\r\nnull0\r\n\r\n{within}"))),
        ("a trailer", post(chunked, "4\r\nnull\r\n0\r\ncontent-length: 9\r\n\r\n")),
        ("bare LF", post(chunked, &format!("4\r\nnull\r\n0\r\n\r\n{within}")).replace("\r\n", "\n")),
        ("HTTP/1.0 and chunks", post(chunked, &hidden).replace("HTTP/1.1", "HTTP/1.0")),
        (
            "HTTP/1.0 kept alive",
            post(&format!("connection: keep-alive\r\n{sized}"), &hidden).replacen("1.1", "1.0", 1),
        ),
        ("a connection option", post(&format!("connection: content-length\r\n{sized}"), &hidden)),
        ("a continuation", post(&format!("expect: 100-continue\r\n{sized}"), &hidden)),
        ("another protocol", post(&format!("connection: upgrade\r\nupgrade: h2c\r\n{sized}"), &hidden)),
        ("a GET with a body", post(&sized, &hidden).replacen("POST /login", "GET /", 1)),
        ("a space in the target", within.replace("/hidden", "/a HTTP/1.1\r\nx: b /hidden")),
        ("a line end in the target", within.replace("/hidden", "/%0d%0ax:%20y")),
        ("a control character", post("x: a\u{1}b\r\n", "")),
    ]
}

#[test]
fn behind_nginx_each_request_has_one_answer_and_it_is_its_own() {
    let pair = Pair::start("");
    let (mut answered, mut refused) = (0, 0);
    for (what, bytes) in ambiguous() {
        for door in pair.doors {
            let answers = pair.exchange(door, bytes.as_bytes());
            assert!(answers.len() <= 3, "{what}: {answers:?}");
            answered += answers.iter().filter(|answer| by_service(answer)).count();
            refused += answers.iter().filter(|answer| !by_service(answer)).count();
            pair.assert_agreement(what);
        }
    }
    assert!(answered > 20 && refused > 20, "{answered} by the service, {refused} by nginx");
}

#[test]
fn behind_nginx_no_spelling_of_a_path_reaches_what_the_clean_one_forbids() {
    let pair = Pair::start("");
    let mut told_to_log_in = 0;
    for path in FORBIDDEN.split_ascii_whitespace() {
        for door in pair.doors {
            for method in ["GET", "HEAD", "POST"] {
                let answer = pair.ask(door, &format!("{method} {path}"), HOST);
                assert!([400, 401, 404, 405].contains(&answer.status), "{method} {path}: {answer:?}");
                assert!(!answer.body.contains("items"), "{path}: {answer:?}");
                told_to_log_in += usize::from(answer.status == 401);
            }
        }
        pair.assert_agreement(path);
    }
    assert!(told_to_log_in > 50, "{told_to_log_in}: the paths do not mean what they should");
}

#[test]
fn behind_nginx_every_spelling_of_a_limited_path_is_the_same_limit() {
    for door in 0..2 {
        let pair = Pair::start(&login_limit(2));
        let status = |path: &str| pair.ask(pair.doors[door], &format!("POST {path}"), HOST).status;
        assert_eq!([(); 3].map(|()| status("/login") == 429), [false, false, true]);
        for path in LIMITED.split_ascii_whitespace() {
            let status = status(path);
            assert!([400, 404, 405, 429].contains(&status), "{path}: {status}");
        }
        pair.assert_agreement("limits");
    }
}

#[test]
fn behind_nginx_no_header_makes_another_client() {
    let pair = Pair::start(&login_limit(2));
    let forged = [
        "x-forwarded-for: 203.0.113.7\r\n",
        "x-forwarded-for: 127.0.0.5\r\n",
        "x-forwarded-for: 203.0.113.8, 127.0.0.5\r\nx-forwarded-for: 203.0.113.9\r\n",
        "X-FORWARDED-FOR: 203.0.113.10,\r\n",
        "x-forwarded-for:\r\n",
        "x_forwarded_for: 203.0.113.11\r\n",
        "forwarded: for=203.0.113.12\r\nx-real-ip: 203.0.113.12\r\nx-client-ip: 203.0.113.12\r\n",
        "connection: x-forwarded-for\r\nx-forwarded-for: 203.0.113.13\r\n",
    ];
    let passed = forged
        .iter()
        .zip(pair.doors.iter().cycle())
        .filter(|(headers, door)| pair.ask(**door, "POST /login", &format!("{HOST}{headers}")).status != 429);
    assert_eq!(passed.count(), 2);
    let long = format!("{HOST}x-forwarded-for: {}203.0.113.14\r\n", "203.0.113.15, ".repeat(4000));
    assert_eq!(pair.ask(pair.doors[0], "POST /login", &long).status, 429, "56 kB of them");
    pair.assert_agreement("forged addresses");
    let lines = pair.service.log();
    let clients = lines.iter().filter(|line| line["target"] == "access").map(|line| &line["client"]);
    assert!(clients.clone().all(|client| client == "127.0.0.1"), "{:?}", clients.collect::<Vec<_>>());
}

#[test]
fn behind_nginx_a_foreign_host_is_refused_however_it_is_written() {
    let pair = Pair::start("");
    for (line, headers) in [
        ("GET /", "host: evil.example\r\n"),
        ("GET /", "host: evil.example\r\nx-forwarded-host: studio.example\r\n"),
        ("GET /", "host: studio.example\r\nhost: evil.example\r\n"),
        ("GET /", "host: studio.example:80@evil.example\r\n"),
        ("GET /", "host: studio.example.evil.example\r\n"),
        ("GET /", "host: studio.example/evil\r\n"),
        ("GET /", "host: studio.example#evil\r\n"),
        ("GET /", "host: studio.example evil.example\r\n"),
        ("GET /", "host:\r\n"),
        ("GET /", "x: y\r\n"),
        ("GET http://studio.example/", "host: evil.example\r\n"),
        ("GET http://evil.example:80@studio.example/", "host: evil.example\r\n"),
    ] {
        let answer = pair.ask(pair.doors[0], line, headers);
        assert!([400, 421].contains(&answer.status), "{line} {headers}: {answer:?}");
    }
    // Here nginx hands on the host of the target, as RFC 9112 3.2.2 has it.
    let foreign = pair.ask(pair.doors[1], "GET http://evil.example/", HOST);
    assert_eq!(foreign.status, 421);
    assert_eq!(pair.ask(pair.doors[1], "GET http://studio.example/", "host: evil.example\r\n").status, 200);
    pair.assert_agreement("hosts");
}

#[test]
fn behind_nginx_what_is_too_large_is_refused_and_takes_nothing_along() {
    let pair = Pair::start("");
    let large = "x".repeat(65537);
    let huge = "x".repeat(8 * 1024 * 1024);
    let chunk = |body: &str| format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    for door in pair.doors {
        for (what, head, body) in [
            ("one byte too many", format!("content-length: {}\r\n", large.len()), large.clone()),
            ("8 MiB", format!("content-length: {}\r\n", huge.len()), huge.clone()),
            ("a chunk", "transfer-encoding: chunked\r\n".into(), chunk(&large)),
            ("a chunk of 8 MiB", "transfer-encoding: chunked\r\n".into(), chunk(&huge)),
        ] {
            let answers = pair.exchange(door, post(&head, &body).as_bytes());
            assert_eq!(answers[0].status, 413, "{what}: {answers:?}");
            pair.assert_agreement(what);
        }
        for (what, line, headers) in [
            ("a long header", "GET /videos".to_owned(), format!("x-long: {}\r\n", "a".repeat(200_000))),
            ("many headers", "GET /videos".to_owned(), "x: y\r\n".repeat(500)),
            ("a long target", format!("GET /videos?{}", "&p=1".repeat(40_000)), String::new()),
        ] {
            let answer = pair.ask(door, &line, &format!("{HOST}{headers}"));
            assert!([400, 401, 414, 431].contains(&answer.status), "{what}: {answer:?}");
            pair.assert_agreement(what);
        }
    }
    assert_eq!(get(pair.service.api, "/health").status, 200);
}
