//! Every operation of the OpenAPI document in every class of answer: the eight headers are there, and each nonce is new.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Value, json};

use crate::{
    backed::{Backed, request},
    client::Answer,
    headers,
    openapi::operations,
};

/// Every request to the metered host is one too many.
const POLICY: &str =
    r#"{"version": 1, "trustedHosts": ["a"], "rateLimits": {"default": {"requests": 1, "period": "1h"}}}"#;

/// Answers that were checked.
#[derive(Default)]
struct Seen {
    statuses: BTreeSet<u16>,
    nonces: HashSet<String>,
    answers: usize,
}

impl Seen {
    fn check(&mut self, what: &str, mut answer: Answer) {
        let own = |(name, value): &mut (String, String)| {
            // The one route that may be cached says so itself.
            if name.eq_ignore_ascii_case("cache-control") && value == "public, max-age=300" {
                "no-store, max-age=0".clone_into(value);
            }
        };
        answer.headers.iter_mut().for_each(own);
        self.nonces.insert(headers::check(&answer));
        self.statuses.insert(answer.status);
        self.answers += 1;
        if answer.status >= 400 {
            assert_eq!(answer.header("content-type"), "application/problem+json", "{what}");
            assert_eq!(answer.json()["status"], answer.status, "{what}");
        }
    }
}

/// A body that the operation accepts.
fn body(path: &str, video: &Value) -> Option<Value> {
    let url = "https://files.example/a.mp4";
    match path {
        "/videos" => Some(json!({ "title": "a", "url": url })),
        "/transcribe" => Some(json!({ "videoId": video })),
        "/analyze" => Some(json!({ "videoId": video, "question": "?" })),
        "/schedule" => Some(json!({ "videoId": video, "publishAt": "2020-01-01T00:00:00Z" })),
        "/provider-key" => Some(json!({ "key": "sk-a-key-of-mine" })),
        _ if path.starts_with("/videos/") => Some(json!({ "title": "b", "url": url })),
        _ => None,
    }
}

#[test]
fn every_operation_carries_the_eight_headers_in_every_class_of_answer() {
    let backed = Backed::with(&[("MAX_BODY_BYTES", "4096"), ("AI_BASE_URL", "http://127.0.0.1:1/v1")]);
    let [viewer, admin] =
        ["viewer", "admin"].map(|role| backed.account(&format!("{role}@example.com"), role));
    let policy = crate::process::policy(POLICY);
    let metered = backed.replica(&[("POLICY_FILE", policy.path().to_str().unwrap())]);
    let video = admin.video("first")["id"].clone();
    let mut seen = Seen::default();
    let large = json!({ "text": "x".repeat(5000) });
    for (method, path) in operations() {
        let path = path.replace("0190a0b0-0000-7000-8000-000000000000", video.as_str().unwrap());
        let what = format!("{method} {path}");
        let valid = body(&path, &video).filter(|_| method != "GET" && method != "DELETE");
        let api = backed.service.api;
        seen.check(&what, request(api, &method, &path, "", None));
        seen.check(&what, request(api, &method, &path, "content-encoding: gzip\r\n", Some(&json!({}))));
        seen.check(&what, viewer.ask(&method, &path, Some(&json!({ "unknown": 1 }))));
        seen.check(&what, admin.ask(&method, &path, Some(&large)));
        seen.check(&what, admin.ask("PATCH", &path, None));
        seen.check(&what, request(metered.api, &method, &path, "", None));
        seen.check(&what, request(metered.api, &method, &path, "", None));
        seen.check(&what, admin.ask(&method, &path, valid.as_ref()));
        seen.check(&what, admin.ask(&method, &format!("{path}/nothing"), None));
    }
    let foreign = "GET / HTTP/1.1\r\nhost: foreign.example\r\n\r\n";
    seen.check("a foreign host", crate::client::send(&mut crate::client::connect(metered.api), foreign));
    drop(backed.postgres);
    for (method, path) in operations() {
        seen.check(&path, admin.ask(&method, &path, body(&path, &video).as_ref()));
    }
    assert_eq!(seen.nonces.len(), seen.answers, "a nonce came twice");
    let expected = [200, 201, 202, 204, 400, 401, 403, 404, 405, 413, 415, 421, 429, 503];
    assert!(expected.iter().all(|status| seen.statuses.contains(status)), "{:?}", seen.statuses);
    assert!(!seen.statuses.contains(&500), "{:?}", seen.statuses);
}
