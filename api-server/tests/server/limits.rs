//! Rate limits over real sockets: what passes, what is refused, and who counts as one client.

use std::{fs, thread, time::Duration};

use crate::{
    client::{Answer, ask, get},
    process::{Service, wait_until},
};

/// What the service promises without a policy file: method, path and requests per minute.
const PROMISED: [(&str, &str, u64); 8] = [
    ("POST", "/login", 5),
    ("POST", "/token/refresh", 5),
    ("POST", "/transcribe", 10),
    ("GET", "/videos", 60),
    ("POST", "/analyze", 60),
    ("GET", "/jobs/7", 30),
    ("DELETE", "/jobs/7", 30),
    ("POST", "/schedule", 10),
];

/// One rule for POST /login behind a proxy at 127.0.0.1.
fn behind_proxy(requests: u32, period: &str) -> String {
    format!(
        r#"{{"version": 1, "rateLimits": {{"trustedProxies": ["127.0.0.0/8"], "rules": [
            {{"name": "login", "methods": ["POST"], "path": {{"value": "/login"}}, "requests": {requests}, "period": "{period}"}}]}}}}"#
    )
}

fn login(service: &Service, forwarded: &str) -> Answer {
    ask(service.api, "POST /login", &format!("x-forwarded-for: {forwarded}\r\n"))
}

#[test]
fn each_endpoint_lets_its_number_pass_and_refuses_the_next() {
    let service = Service::start(&[]);
    for (method, path, requests) in PROMISED {
        for left in (0..requests).rev() {
            let answer = ask(service.api, &format!("{method} {path}"), "");
            assert_ne!(answer.status, 429, "{method} {path} with {left} left");
            assert_eq!(answer.header("x-ratelimit-limit"), requests.to_string());
            assert_eq!(answer.header("x-ratelimit-remaining"), left.to_string());
        }
        let refused = ask(service.api, &format!("{method} {path}"), "");
        assert_eq!(refused.status, 429, "{method} {path}");
        assert_eq!(refused.header("content-type"), "application/problem+json");
        assert_eq!(refused.header("x-frame-options"), "DENY");
        assert_eq!(refused.header("x-ratelimit-remaining"), "0");
        let wait: u64 = refused.header("retry-after").parse().unwrap();
        assert!((1..=60 / requests).contains(&wait), "{method} {path}: {wait}");
        assert!(refused.header("ratelimit").contains(";r=0;t="), "{refused:?}");
        assert!(refused.header("ratelimit-policy").ends_with(&format!(";q={requests};w=60")), "{refused:?}");
    }
    let metrics = get(service.metrics, "/metrics").body;
    assert!(metrics.contains(r#"rate_limit_requests_total{rule="login",result="denied"} 1"#), "{metrics}");
}

#[test]
fn health_is_unlimited_also_where_everything_else_has_a_limit() {
    let (service, _file) =
        Service::with_policy(r#"{"version": 1, "rateLimits": {"default": {"requests": 1, "period": "1h"}}}"#);
    assert_eq!(get(service.api, "/").status, 200);
    assert_eq!(get(service.api, "/").status, 429);
    for path in ["/health", "/livez", "/readyz"] {
        assert!((0..50).all(|_| get(service.api, path).status == 200), "{path}");
    }
}

#[test]
fn after_the_announced_time_exactly_one_passes() {
    let (service, _file) = Service::with_policy(&behind_proxy(3, "6s"));
    let statuses: Vec<_> = (0..4).map(|_| login(&service, "203.0.113.7")).collect();
    assert_eq!(statuses.iter().filter(|answer| answer.status == 429).count(), 1);
    let wait = statuses[3].header("retry-after").parse().unwrap();
    thread::sleep(Duration::from_secs(wait));
    let again = [(); 2].map(|()| login(&service, "203.0.113.7").status == 429);
    assert_eq!(again, [false, true]);
}

#[test]
fn clients_behind_a_trusted_proxy_are_limited_each_and_cannot_be_another_by_a_header() {
    let (service, _file) = Service::with_policy(&behind_proxy(2, "1h"));
    let passes = |forwarded: &str| login(&service, forwarded).status != 429;
    assert_eq!(["203.0.113.7"; 3].map(passes), [true, true, false]);
    assert!(passes("203.0.113.8"), "another client");
    assert!(!passes("198.51.100.1, 203.0.113.7"), "a lie before the proxy's own entry");
    assert_eq!(["2001:db8::1", "2001:db8::2", "2001:db8::ffff:3"].map(passes), [true, true, false]);
    let real_ip =
        "x-forwarded-for: 203.0.113.7\r\nx-real-ip: 198.51.100.2\r\nforwarded: for=198.51.100.2\r\n";
    assert_eq!(ask(service.api, "POST /login", real_ip).status, 429);
    let logged = service.wait_for_log(|line| line["target"] == "access");
    assert_eq!(logged["client"], "203.0.113.7");
}

#[test]
fn without_a_trusted_proxy_no_header_makes_another_client() {
    let service = Service::start(&[]);
    let passed = (0..20).filter(|n| login(&service, &format!("203.0.113.{n}")).status != 429).count();
    assert_eq!(passed, 5);
}

#[test]
fn another_spelling_of_a_path_is_the_same_limit() {
    let (service, _file) = Service::with_policy(&behind_proxy(3, "1h"));
    let spellings = ["/login", "/api/login", "/%6cogin", "/login?a=b", "/api/%6cogin"];
    let refused = spellings.map(|path| ask(service.api, &format!("POST {path}"), "").status == 429);
    assert_eq!(refused, [false, false, false, true, true]);
}

#[test]
fn a_reload_forgives_nobody() {
    let (service, file) = Service::with_policy(&behind_proxy(2, "1h"));
    let passes = || login(&service, "203.0.113.7").status != 429;
    assert_eq!([(); 3].map(|()| passes()), [true, true, false]);
    fs::write(file.path(), behind_proxy(3, "1h")).unwrap();
    wait_until("the new limit", || {
        (login(&service, "203.0.113.8").header("x-ratelimit-limit") == "3").then_some(())
    });
    assert!(!passes());
}
