//! The configuration of an nginx in front of the example, as a file that a reviewer reads (`UPDATE=1` writes it anew), and
//! what no value of a resource can make of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap is a failed test")]

mod hostile;

use std::{fs, path::Path};

use crds::HardenedService;
use render::edge::{
    Files, Upstream,
    nginx::{Conf, Host, Listen, Version, conf},
};

fn host() -> Host {
    Host {
        upstream: Upstream {
            address: "127.0.0.1:8443".into(),
            server_name: "app.internal".into(),
            ca: "/etc/nginx/tls/app-ca.pem".into(),
        },
        files: Files {
            certificate: "/etc/nginx/tls/cert.pem".into(),
            key: "/etc/nginx/tls/key.pem".into(),
            static_folder: Some("/srv/studio/static".into()),
        },
        listen: Listen::default(),
        version: Version::DEBIAN_12,
    }
}

fn example(name: &str) -> HardenedService {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../examples/{name}.yaml"));
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// With this in the place of its `spec.rateLimits`.
fn with_limits(limits: &str) -> HardenedService {
    let mut service = example("studio");
    service.spec.rate_limits = Some(serde_saphyr::from_str(limits).unwrap());
    service
}

fn told(conf: &Conf) -> String {
    conf.not_expressible.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_gives_the_configuration_on_file() {
    let text = conf(&example("studio"), &host()).unwrap().text;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/edge/studio.conf");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let on_file = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, on_file, "look at it and write it with UPDATE=1");
}

#[test]
fn newer_versions_get_http2_as_a_directive() {
    let new = Host { version: "1.25.1".parse().unwrap(), ..host() };
    let (old, new) =
        (conf(&example("studio"), &host()).unwrap().text, conf(&example("studio"), &new).unwrap().text);
    assert_eq!((old.matches(" ssl http2;").count(), old.matches("http2 on;").count()), (4, 0));
    assert_eq!((new.matches(" ssl http2;").count(), new.matches("http2 on;").count()), (0, 2));
}

#[test]
fn a_spec_without_limits_gets_the_table_and_a_default_counts_the_rest() {
    let zones =
        |service: &HardenedService| conf(service, &host()).unwrap().text.matches("limit_req_zone").count();
    assert_eq!(zones(&example("minimal-production")), 8);
    let all = with_limits("default: {requests: 3, period: 2s}");
    let text = conf(&all, &host()).unwrap().text;
    assert_eq!(zones(&all), 1);
    assert!(
        text.contains("default \"1\";\n        \"~^[^:]+:/(health|livez|readyz|metrics)\\z\" \"\";"),
        "{text}"
    );
    assert!(text.contains("zone=limit_1 burst=2 nodelay;") && text.contains("rate=90r/m;"), "{text}");
}

#[test]
fn what_is_lost_is_told_at_the_head_with_the_value_that_counts() {
    let conf = conf(
        &with_limits(
            "rules:\n- {name: a, path: {value: /a}, requests: 7, period: 90s}\n- {name: b, path: {value: /b}, requests: 5, period: 1h}\n\
             - {name: c, path: {value: /c}, requests: 60, period: 1m}\nstore: {redis: {secretRef: {name: r, key: url}}}\n\
             ipv6PrefixLength: 56\ntrustedProxies: [10.0.0.0/8]",
        ),
        &host(),
    )
    .unwrap();
    let told = told(&conf);
    for part in [
        "spec.rateLimits.rules[a]: 7 per 1m30s is 5.94 per 1m30s here (4r/m",
        "spec.rateLimits.rules[b]: 5 per 1h is 57.60 per 1h here (1r/m",
        "more than asked; the app counts exactly",
        "not a /56 as one client",
        "store.redis",
        "writes the address that it sees over it",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("rules[c]"), "{told}");
    for line in told.lines() {
        assert!(conf.text.contains(&format!("\n#   {line}\n")), "{line}");
    }
}

#[test]
fn overrides_change_their_header_here_too_and_remove_none() {
    let mut service = example("headers");
    let text = conf(&service, &host()).unwrap().text;
    assert!(
        text.contains("\"Referrer-Policy: no-referrer\"") && !text.contains("strict-origin-when"),
        "{text}"
    );
    assert!(text.contains("\"\" \"default-src 'self'; img-src"), "{text}");
    for (name, value) in
        [("X-Frame-Options", " "), ("Server", "x"), ("Set-Cookie", "x"), ("Cache-Control", "a\nb")]
    {
        service.spec.headers.as_mut().unwrap().overrides = [(name.to_owned(), value.to_owned())].into();
        let refused = conf(&service, &host()).unwrap_err().to_string();
        assert!(refused.starts_with("spec.headers.overrides"), "{refused}");
    }
}

#[test]
fn the_fixed_headers_are_those_of_the_app() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../api-server/src/headers.rs");
    let app = fs::read_to_string(source).unwrap();
    let text = conf(&example("studio"), &host()).unwrap().text;
    let lines: Vec<_> =
        text.lines().filter_map(|line| line.trim().strip_prefix("more_set_headers \"")).collect();
    assert_eq!(lines.len(), 7);
    for line in lines {
        let (name, value) = line.trim_end_matches("\";").split_once(": ").unwrap();
        assert!(app.contains(&format!("(\"{}\", \"{value}\")", name.to_lowercase())), "{line}");
    }
}
