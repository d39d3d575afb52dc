//! Pages of other origins: who may ask, who may read, and that nobody is echoed.

use crate::{
    client::{Answer, ask},
    process::Service,
};

const POLICY: &str = r#"{"version": 1,
    "cors": {
        "allowOrigins": ["https://app.example", "https://admin.example:8443"], "allowMethods": ["GET", "DELETE"],
        "allowHeaders": ["Authorization", "X-Trace"], "exposeHeaders": ["X-RateLimit-Remaining"],
        "allowCredentials": true, "maxAge": "10m"
    },
    "rateLimits": {"rules": [{"name": "root", "path": {"value": "/limited"}, "requests": 1, "period": "1h"}]}}"#;

fn has(answer: &Answer, name: &str) -> bool {
    answer.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
}

#[test]
fn a_page_of_an_allowed_origin_may_read_also_what_is_refused() {
    let (service, _file) = Service::with_policy(POLICY);
    for (line, status) in
        [("GET /", 200), ("GET /nothing", 404), ("GET /limited", 404), ("GET /limited", 429), ("PUT /", 405)]
    {
        let answer = ask(service.api, line, "origin: https://app.example\r\n");
        assert_eq!(answer.status, status, "{line}");
        assert_eq!(answer.header("access-control-allow-origin"), "https://app.example", "{line}");
        assert_eq!(answer.header("access-control-allow-credentials"), "true");
        assert_eq!(answer.header("access-control-expose-headers"), "X-RateLimit-Remaining");
        assert!(answer.header("vary").contains("Origin"));
    }
}

#[test]
fn no_other_origin_is_allowed_or_echoed() {
    let (service, _file) = Service::with_policy(POLICY);
    for origin in [
        "null",
        "https://app.example.evil",
        "https://evil-app.example",
        "https://app.example:8443",
        "http://app.example",
        "https://APP.example",
        "https://app.example/",
        "https://app.example, https://evil.example",
        "*",
    ] {
        let answer = ask(service.api, "GET /", &format!("origin: {origin}\r\n"));
        assert_eq!(answer.status, 200, "{origin}");
        assert!(!has(&answer, "access-control-allow-origin"), "{origin}");
        assert!(answer.header("vary").contains("Origin"), "{origin}");
        let preflight = format!("origin: {origin}\r\naccess-control-request-method: GET\r\n");
        let answer = ask(service.api, "OPTIONS /", &preflight);
        assert_eq!(answer.status, 403, "{origin}");
        assert!(!has(&answer, "access-control-allow-origin"), "{origin}");
    }
}

#[test]
fn a_preflight_is_answered_for_what_is_allowed_and_no_more() {
    let (service, _file) = Service::with_policy(POLICY);
    let preflight = |wanted: &str| {
        let headers =
            format!("origin: https://admin.example:8443\r\naccess-control-request-method: {wanted}\r\n");
        ask(service.api, "OPTIONS /jobs/7", &headers)
    };
    let answer = preflight("DELETE\r\naccess-control-request-headers: authorization,x-trace");
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-methods"), "GET, DELETE");
    assert_eq!(answer.header("access-control-allow-headers"), "Authorization, X-Trace");
    assert_eq!(answer.header("access-control-max-age"), "600");
    assert_eq!(answer.header("access-control-allow-origin"), "https://admin.example:8443");
    assert_eq!(preflight("PUT").status, 403);
    assert_eq!(preflight("GET\r\naccess-control-request-headers: x-other").status, 403);
}

#[test]
fn without_a_cors_policy_no_origin_is_allowed() {
    let service = Service::start(&[]);
    let answer = ask(service.api, "GET /", "origin: https://app.example\r\n");
    assert!(!has(&answer, "access-control-allow-origin"));
    let headers = "origin: https://app.example\r\naccess-control-request-method: GET\r\n";
    assert_eq!(ask(service.api, "OPTIONS /", headers).status, 405);
}
