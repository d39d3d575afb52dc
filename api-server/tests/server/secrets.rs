//! Secrets of the running service: rotation, what the start refuses, and that no value leaves it.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Output};

use api_server::secrets::NAMES;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    client::get,
    process::{Service, command, policy, wait_until},
};

const POLICY: &str = r#"{"version":1,"trustedHosts":["studio.example"]}"#;
const KEY: &str = "kX2v9QmTz7LrB4nYw8HcJ5sDf1GpA6eU";

/// Writes a secret as a mounted one is: for its owner only, all at once.
pub fn write(dir: &Path, name: &str, value: &str) {
    let new = dir.join(".new");
    fs::write(&new, value).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(new, dir.join(name)).unwrap();
}

pub fn dir(secrets: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, value) in secrets {
        write(dir.path(), name, value);
    }
    dir
}

pub fn path(dir: &TempDir) -> &str {
    dir.path().to_str().unwrap()
}

/// An audit line of this secret.
pub fn is(line: &Value, name: &str, outcome: &str) -> bool {
    line["target"] == "secrets" && line["name"] == name && line["outcome"] == outcome
}

pub fn check(settings: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        command(settings).arg("check-config").args(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn root(file: &str) -> String {
    format!("{}/../{file}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_file_that_changes_counts_without_a_restart() {
    let dir = dir(&[("DATABASE_PASSWORD", "first-canary\n"), ("REDIS_URL", "redis://127.0.0.1/0")]);
    let service = Service::start(&[("SECRETS_DIR", path(&dir))]);
    service.wait_for_log(|line| is(line, "DATABASE_PASSWORD", "read") && line["backend"] == "files");
    write(dir.path(), "DATABASE_PASSWORD", "second-canary\n");
    service.wait_for_log(|line| is(line, "DATABASE_PASSWORD", "changed"));
    fs::remove_file(dir.path().join("DATABASE_PASSWORD")).unwrap();
    service.wait_for_log(|line| is(line, "DATABASE_PASSWORD", "removed"));
    let log = format!("{:?}", service.log());
    assert!(!log.contains("canary"), "{log}");
    assert!(!service.log().iter().any(|line| is(line, "REDIS_URL", "changed")), "the other one did not");
}

#[test]
fn a_file_that_becomes_unsafe_leaves_the_last_good_values_and_the_replica_ready() {
    let dir = dir(&[("REDIS_URL", "redis://127.0.0.1/0")]);
    let service = Service::start(&[("SECRETS_DIR", path(&dir)), ("REDIS_URL", "redis://stale-canary/0")]);
    fs::set_permissions(dir.path().join("REDIS_URL"), fs::Permissions::from_mode(0o666)).unwrap();
    let line = service.wait_for_log(|line| line["target"] == "secrets" && line["outcome"] == "failed");
    assert!(line["reason"].as_str().unwrap().contains("chmod go-w"), "{line}");
    let ready = get(service.api, "/readyz?verbose");
    assert_eq!((ready.status, &ready.json()["checks"]["secrets"]["files"]), (200, &"failing".into()));
    assert_eq!(ready.json()["checks"]["secrets"]["environment"], "ok");
    let metrics = get(service.metrics, "/metrics").body;
    assert!(metrics.contains(r#"secret_backend_up{backend="files"} 0"#), "{metrics}");
    assert!(metrics.contains(r#"secret_backend_up{backend="environment"} 1"#), "{metrics}");
    assert!(!service.log().iter().any(|line| is(line, "REDIS_URL", "changed")), "the stale one never counts");

    fs::set_permissions(dir.path().join("REDIS_URL"), fs::Permissions::from_mode(0o600)).unwrap();
    wait_until("a healthy backend", || {
        (get(service.api, "/readyz?verbose").json()["checks"]["secrets"]["files"] == "ok").then_some(())
    });
}

#[test]
fn a_variable_may_name_a_file() {
    let dir = dir(&[("pw", "file-canary")]);
    let file = dir.path().join("pw");
    let settings = [("DATABASE_PASSWORD_FILE", file.to_str().unwrap()), ("DATABASE_PASSWORD", "variable")];
    let service = Service::start(&settings);
    service.wait_for_log(|line| is(line, "DATABASE_PASSWORD", "read") && line["backend"] == "files");
}

#[test]
fn production_lists_all_that_is_wrong_at_once_and_does_not_start() {
    let settings = [
        ("ENVIRONMENT", "production"),
        ("REQUIRED_GROUPS", "redis,auth,ai"),
        ("DATABASE_URL", "postgres://app:canary@db.example/app"),
        ("ENCRYPTION_KEY", "short-canary"),
        ("RUST_LOG", "debug"),
    ];
    let output = command(&settings).output().unwrap();
    let log = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{log}");
    for problem in [
        "REDIS_URL: is not in environment, and the group redis needs it",
        "JWT_SIGNING_KEY: is not in environment, and the group auth needs it",
        "AI_API_KEY: is not in environment, and the group ai needs it",
        "DATABASE_URL: does not check the server's certificate",
        "ENCRYPTION_KEY: is shorter than 32 bytes",
        "POLICY_FILE: trustedHosts: is empty",
        "RUST_LOG: asks for debug or trace in production",
    ] {
        assert!(log.contains(problem), "{problem}: {log}");
    }
    assert!(!log.contains("canary") && !log.contains(r#""message":"serving""#), "{log}");
}

#[test]
fn development_starts_with_the_same_faults_and_warns() {
    let service = Service::start(&[("REQUIRED_GROUPS", "ai"), ("MONGODB_URL", "no address")]);
    for name in ["AI_API_KEY", "MONGODB_URL"] {
        let warned = |line: &Value| {
            line["level"] == "WARN" && line["problem"].as_str().is_some_and(|text| text.starts_with(name))
        };
        service.wait_for_log(warned);
    }
}

/// A port where nothing listens.
const NOWHERE: [(&str, &str); 4] = [
    ("VAULT_ADDR", "http://127.0.0.1:1"),
    ("VAULT_PATH", "app"),
    ("VAULT_TOKEN", "token-canary"),
    ("SECRET_BACKENDS", "vault,environment"),
];

#[test]
fn production_starts_without_a_backend_only_when_others_have_all_that_is_required() {
    let file = policy(POLICY);
    let mut settings = vec![("ENVIRONMENT", "production"), ("POLICY_FILE", file.path().to_str().unwrap())];
    settings.extend(NOWHERE);
    let refused = |settings: &[(&str, &str)]| {
        let output = command(settings).output().unwrap();
        let log = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.code() == Some(1) && log.contains("SECRET_BACKENDS: vault"), "{log}");
        assert!(!log.contains("canary"), "{log}");
    };
    refused(&settings);
    settings.push(("REQUIRED_GROUPS", "ai"));
    refused(&settings);
    settings.push(("AI_API_KEY", KEY));
    let service = Service::start(&settings);
    assert_eq!(get(service.api, "/livez").status, 200);
    assert_eq!(check(&settings, &[]).0, Some(2), "check-config still says that it does not know");
}

#[test]
fn check_config_tells_by_exit_code_and_shows_names_only() {
    let dir = dir(&[("AI_API_KEY", "short-canary")]);
    let base = [("SECRETS_DIR", path(&dir)), ("REQUIRED_GROUPS", "ai")];
    let (code, out, err) = check(&base, &[]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.lines().any(|line| line.starts_with("AI_API_KEY") && line.contains("files")), "{out}");

    let staging = [base.as_slice(), &[("ENVIRONMENT", "staging")]].concat();
    let (code, out, err) = check(&staging, &[]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.lines().any(|line| line.starts_with("AI_API_KEY: is shorter")), "{err}");
    assert!(!format!("{out}{err}").contains("canary"), "{out}{err}");

    let (code, _, err) = check(&NOWHERE, &[]);
    assert!(code == Some(2) && err.contains("SECRET_BACKENDS: vault: "), "{code:?} {err}");
    let (code, ..) = check(&[("RELOAD_INTERVAL", "soon")], &[]);
    assert_eq!(code, Some(1), "a setting that cannot be read");
}

#[test]
fn the_example_for_development_works_and_the_one_for_production_is_refused() {
    let (code, out, err) = check(&[], &["--env-file", &root(".env.example")]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(
        out.lines().any(|line| line.starts_with("DATABASE_URL") && line.contains("environment")),
        "{out}"
    );

    let (code, _, err) = check(&[], &["--env-file", &root(".env.production.example")]);
    assert_eq!(code, Some(1), "{err}");
    for name in [
        "DATABASE_PASSWORD",
        "ENCRYPTION_KEY",
        "REDIS_URL",
        "JWT_SIGNING_KEY",
        "AI_API_KEY",
        "TLS_DIR",
        "POLICY_FILE",
    ] {
        assert!(err.lines().any(|line| line.starts_with(&format!("{name}:"))), "{name}: {err}");
    }
    let (code, ..) = check(&[("ENVIRONMENT", "production")], &["--env-file", &root(".env.example")]);
    assert_eq!(code, Some(0), "the file's ENVIRONMENT counts");
}

#[test]
fn a_shell_reads_the_examples_as_check_config_does() {
    for file in [".env.example", ".env.production.example"] {
        let script = format!("set -aeu; . {}", root(file));
        let status = std::process::Command::new("sh").args(["-c", &script]).status().unwrap();
        assert!(status.success(), "{file}");
    }
}

#[test]
fn no_value_is_shown_by_log_metrics_or_health_at_trace() {
    // Of a form that the service takes up: what is refused at once is never sent anywhere.
    let form = |name: &str, part: &str| match name {
        "DATABASE_URL" => format!("postgres://app:canary-{part}@127.0.0.1:1/app"),
        "REDIS_URL" => format!("redis://:canary-{part}@127.0.0.1:1/0"),
        "JWT_SIGNING_KEY" | "JWT_PREVIOUS_KEYS" => {
            rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem()
        }
        _ => format!("canary-{part}-canary-of-thirty-two-bytes"),
    };
    let values = NAMES.map(|name| (name, form(name, "first")));
    let files: Vec<_> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let dir = dir(&files);
    let mut settings = vec![("SECRETS_DIR", path(&dir)), ("RUST_LOG", "trace"), ("SECRETS_REFRESH", "1")];
    settings.extend(NOWHERE);
    settings.retain(|(name, _)| *name != "SECRET_BACKENDS");
    settings.extend([("SECRET_BACKENDS", "vault,files,environment"), ("MONGODB_URL", "canary-variable")]);
    let service = Service::start(&settings);
    let second = NAMES.map(|name| (name, form(name, "second")));
    for (name, value) in &second {
        write(dir.path(), name, value);
        service.wait_for_log(|line| is(line, name, "changed"));
    }
    let shown =
        [get(service.api, "/readyz?verbose"), get(service.api, "/"), get(service.metrics, "/metrics")];
    let shown: String = shown.into_iter().map(|answer| answer.body).collect();
    let log: String = service.log().iter().map(ToString::to_string).collect();
    // Of a PEM key the second line is its secret.
    let keys = values.iter().chain(&second).filter_map(|(_, value)| value.lines().nth(1));
    for secret in keys.chain(["canary"]) {
        for text in [&shown, &log] {
            let at = text.find(secret);
            assert!(
                at.is_none(),
                "{}",
                at.map_or("", |at| &text[at.saturating_sub(200)..(at + 40).min(text.len())])
            );
        }
    }
    assert!(log.contains(r#""outcome":"changed""#), "the log was on");
}
