//! Traces by the standard variables, sent to a collector of the test's own.

use crate::{
    client::{ask, get},
    process::{Service, wait_until},
    provider::Provider,
};

/// Bytes that are letters, so that they can be found in protobuf.
const TRACE: &str = "6162636465666768696a6b6c6d6e6f70";

#[test]
fn each_request_is_a_span_below_the_clients_own_and_shows_no_path() {
    let collector = Provider::start(&[(200, "")]);
    let endpoint = format!("http://{}", collector.address);
    let mut service =
        Service::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "100")]);
    let above = format!("traceparent: 00-{TRACE}-7172737475767778-01\r\n");
    assert_eq!(ask(service.api, "GET /?token=canary", &above).status, 200);
    assert_eq!(get(service.api, "/canary").status, 404);
    service.terminate();
    assert!(service.exit().success());
    let sent = wait_until("the spans", || {
        let sent: String = collector.asked().iter().map(|asked| asked.body.as_str()).collect();
        sent.contains("GET none").then_some(sent)
    });
    assert!(collector.asked()[0].head.starts_with("POST /v1/traces "));
    for text in ["GET /", "abcdefghijklmnop", "qrstuvwx", "http.response.status_code", "api-server"] {
        assert!(sent.contains(text), "{text}: {sent}");
    }
    assert!(!sent.contains("canary"));
}
