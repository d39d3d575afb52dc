//! Trusted hosts, request ids, the access log and the metrics.

use crate::{
    client::{connect, get, send},
    process::{Service, command, policy},
};

#[test]
fn a_foreign_host_is_misdirected_and_a_probe_is_not() {
    let (service, _file) =
        Service::with_policy(r#"{"version":1,"trustedHosts":["Studio.Example","10.1.2.3"]}"#);
    let status = |target: &str, headers: &str| {
        send(&mut connect(service.api), &format!("GET {target} HTTP/1.1\r\n{headers}\r\n\r\n")).status
    };
    assert_eq!(status("/", "host: studio.example"), 200);
    assert_eq!(status("/", "host: STUDIO.example.:8443"), 200);
    assert_eq!(status("/", "host: 10.1.2.3"), 200);
    for probe in ["/health", "/livez", "/readyz"] {
        assert_eq!(status(probe, "host: 10.244.0.7:8443"), 200, "{probe}");
    }
    for foreign in
        ["evil.example", "studio.example.evil", "x.studio.example", "studio.example:80@evil", "[::1]"]
    {
        assert_eq!(status("/", &format!("host: {foreign}")), 421, "{foreign}");
    }
    assert_eq!(status("/", "host: evil.example\r\nx-forwarded-host: studio.example"), 421);
    assert_eq!(status("http://evil.example/", "host: studio.example"), 421);
    assert_eq!(status("/health/../", "host: evil.example"), 421);
    let metrics = send(&mut connect(service.metrics), "GET /metrics HTTP/1.1\r\nhost: 10.244.0.7\r\n\r\n");
    assert_eq!(metrics.status, 200, "Prometheus asks by address");
}

#[test]
fn a_request_id_is_taken_over_only_in_the_right_form() {
    let service = Service::start(&[]);
    let echoed = |id: &str| {
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\nx-request-id: {id}\r\n\r\n");
        send(&mut connect(service.api), &request).header("x-request-id").to_owned()
    };
    assert_eq!(echoed("abc-123"), "abc-123");
    assert_ne!(echoed("a b"), "a b");
    assert_eq!(echoed(&"x".repeat(65)).len(), 32);
}

#[test]
fn a_request_is_one_json_line_without_query_token_or_cookie() {
    let service = Service::start(&[]);
    let request = "GET /videos?token=CANARY1 HTTP/1.1\r\nhost: a\r\nx-request-id: line-1\r\n\
                   authorization: Bearer CANARY2\r\ncookie: s=CANARY3\r\ncontent-length: 7\r\n\r\nCANARY4";
    send(&mut connect(service.api), request);
    get(service.api, "/livez");
    send(&mut connect(service.api), "GET / HTTP/1.1\r\nhost: a\r\nx-request-id: line-2\r\n\r\n");
    service.wait_for_log(|line| line["request_id"] == "line-2");
    let log = service.log();
    let lines: Vec<_> = log.iter().filter(|line| line["target"] == "access").collect();
    assert_eq!(lines.len(), 2, "the probe is not logged: {lines:?}");
    let line = lines[0];
    assert_eq!(line["request_id"], "line-1");
    assert_eq!(
        (&line["method"], &line["path"], &line["status"]),
        (&"GET".into(), &"/videos".into(), &401.into())
    );
    assert_eq!(line["client"], "127.0.0.1");
    assert!(line["duration_us"].is_u64());
    assert!(!format!("{log:?}").contains("CANARY"), "{log:?}");
}

#[test]
fn metrics_count_by_route_template_and_unknown_paths_do_not_grow_them() {
    let service = Service::start(&[]);
    for n in 0..50 {
        get(service.api, &format!("/random/{n}"));
    }
    send(&mut connect(service.api), "HACK1 /health HTTP/1.1\r\nhost: a\r\n\r\n");
    let text = get(service.metrics, "/metrics").body;
    assert!(text.contains(r#"http_requests_total{method="GET",route="none",status="404"} 50"#), "{text}");
    assert!(text.contains(r#"http_requests_total{method="other",route="/health",status="405"} 1"#), "{text}");
    assert!(text.contains(r#"http_request_duration_seconds_count{method="GET",route="none"} 50"#), "{text}");
    assert!(!text.contains("random"), "{text}");
}

#[test]
fn a_bad_policy_at_the_start_ends_the_process_with_the_field_named() {
    let file = policy(r#"{"version":1,"trustedHosts":["http://a"]}"#);
    let output = command(&[("POLICY_FILE", file.path().to_str().unwrap())]).output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("load POLICY_FILE: trustedHosts"), "{text}");
}
