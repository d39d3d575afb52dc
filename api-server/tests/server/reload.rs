//! Files that change while the service runs.

use std::{fs, os::unix::fs::symlink, path::Path};

use crate::{
    client::{connect, get, send},
    process::{Service, wait_until},
};

fn frame_policy(value: &str) -> String {
    format!(r#"{{"version":1,"headers":{{"overrides":{{"X-Frame-Options":"{value}"}}}}}}"#)
}

#[test]
fn a_policy_swapped_as_kubelet_does_changes_a_header_on_open_connections() {
    let dir = tempfile::tempdir().unwrap();
    let publish = |generation: &str, text: &str| publish(dir.path(), generation, text);
    publish("..1", &frame_policy("DENY"));
    symlink("..data/policy.json", dir.path().join("policy.json")).unwrap();
    let service = Service::start(&[("POLICY_FILE", dir.path().join("policy.json").to_str().unwrap())]);
    let mut connection = connect(service.api);
    let mut frame = || {
        let answer = send(&mut connection, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        answer.header("x-frame-options").to_owned()
    };
    assert_eq!(frame(), "DENY");
    publish("..2", &frame_policy("SAMEORIGIN"));
    wait_until("the new header", || (frame() == "SAMEORIGIN").then_some(()));

    publish("..3", r#"{"version":1,"headers":{"overrides":{"Set-Cookie":"a=b"}}}"#);
    let line = service.wait_for_log(|line| line["level"] == "ERROR");
    assert!(line["reason"].as_str().unwrap().contains("Set-Cookie"), "{line}");
    assert_eq!(frame(), "SAMEORIGIN", "the last good policy stays");
    let ready = get(service.api, "/readyz?verbose");
    assert_eq!((ready.status, &ready.json()["checks"]["policy"]), (200, &"last good in force".into()));
    let metrics = get(service.metrics, "/metrics").body;
    assert!(metrics.contains(r#"config_reloads_total{file="policy",result="refused"} 1"#), "{metrics}");

    publish("..4", &frame_policy("DENY"));
    wait_until("the mended policy", || (frame() == "DENY").then_some(()));
    assert_eq!(get(service.api, "/readyz?verbose").json()["checks"]["policy"], "ok");
}

#[test]
fn a_policy_file_that_goes_away_leaves_the_last_good_one() {
    let (service, file) = Service::with_policy(&frame_policy("SAMEORIGIN"));
    fs::remove_file(file.path()).unwrap();
    service.wait_for_log(|line| line["level"] == "ERROR" && line["file"] == "policy");
    assert_eq!(get(service.api, "/").header("x-frame-options"), "SAMEORIGIN");
}

/// A `ConfigMap` volume: a new directory, then the symlink `..data` is renamed over the old one.
fn publish(dir: &Path, generation: &str, text: &str) {
    fs::create_dir(dir.join(generation)).unwrap();
    fs::write(dir.join(generation).join("policy.json"), text).unwrap();
    symlink(generation, dir.join("..data_tmp")).unwrap();
    fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
}
