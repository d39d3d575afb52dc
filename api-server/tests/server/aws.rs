//! Secrets from AWS Secrets Manager, played by moto: which value counts, what an outage leaves, and that nothing of it is shown.

use std::path::PathBuf;

use serde_json::{Value, json};
use testbed::{Moto, moto::REGION};

use crate::{
    process::{Service, wait_until},
    secrets::{self, check},
    tokens::Key,
    vault::{health, secret_of, signs_with, wait_for_backend},
};

const ID: &str = "studio/app";
/// What the SDK signs with.
const ACCESS_KEY: &str = "access-canary-that-signs";

/// How the service asks it, and what it falls back to.
struct Login {
    address: String,
    ca: PathBuf,
    spare: Key,
}

impl Login {
    fn settings(&self) -> Vec<(&str, &str)> {
        vec![
            ("SECRET_BACKENDS", "aws,environment"),
            ("SECRETS_REFRESH", "1"),
            ("RUST_LOG", "trace"),
            ("AWS_SECRET_ID", ID),
            ("AWS_REGION", REGION),
            ("AWS_ACCESS_KEY_ID", "AKIATEST"),
            ("AWS_SECRET_ACCESS_KEY", ACCESS_KEY),
            ("AWS_ENDPOINT_URL", &self.address),
            ("AWS_CA_BUNDLE", self.ca.to_str().unwrap()),
            ("JWT_SIGNING_KEY", &self.spare.pem),
            ("AI_API_KEY", "ai-canary-of-the-environment"),
        ]
    }
}

fn is(line: &Value, name: &str, outcome: &str) -> bool {
    secrets::is(line, name, outcome) && line["backend"] == "aws"
}

fn of(key: &Key) -> Value {
    json!({ "JWT_SIGNING_KEY": key.pem, "REDIS_URL": "redis://:redis-canary@127.0.0.1/0" })
}

#[test]
#[ignore = "soak: fetches moto"]
fn the_secret_of_aws_wins_rotates_without_a_restart_and_outlasts_an_outage_unseen() {
    let mut moto = Moto::start().unwrap();
    let login = Login { address: moto.address(), ca: moto.ca_file(), spare: Key::ed25519("") };
    let [first, second, last] = [(); 3].map(|()| Key::ed25519(""));
    let version = moto.create(ID, &of(&first)).unwrap();
    let service = Service::start(&login.settings());
    let read = service.wait_for_log(|line| is(line, "JWT_SIGNING_KEY", "read"));
    assert_eq!(read["version"], *version, "{read}");
    assert!(signs_with(&service, &first), "the first backend wins");
    service.wait_for_log(|line| secrets::is(line, "AI_API_KEY", "read") && line["backend"] == "environment");
    wait_for_backend(&service, "aws", true);
    let (code, table, problems) = check(&login.settings(), &[]);
    assert_eq!((code, problems.as_str()), (Some(0), ""), "{table}");
    let row = table.lines().find(|line| line.starts_with("JWT_SIGNING_KEY")).unwrap();
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["JWT_SIGNING_KEY", "aws", &*version, "-"]);

    let version = moto.put(ID, &of(&second)).unwrap();
    let changed = service.wait_for_log(|line| is(line, "JWT_SIGNING_KEY", "changed"));
    assert_eq!(changed["version"], *version, "{changed}");
    wait_until("the new key", || signs_with(&service, &second).then_some(()));

    moto.stop();
    wait_for_backend(&service, "aws", false);
    assert!(signs_with(&service, &second), "the environment's value took the place of that of AWS");
    let late = Service::start(&login.settings());
    assert!(signs_with(&late, &login.spare), "a start without AWS takes the next backend");
    moto.start_again().unwrap();
    // It answers, and has no such secret: a failure too, or every value would count as taken away.
    for service in [&service, &late] {
        wait_until("the answer", || {
            Value::from(service.log()).to_string().contains("there is no secret studio/app").then_some(())
        });
    }
    assert!(signs_with(&service, &second));
    moto.create(ID, &of(&last)).unwrap();
    for service in [&service, &late] {
        wait_until("the last key", || signs_with(service, &last).then_some(()));
        wait_for_backend(service, "aws", true);
        let log = Value::from(service.log()).to_string();
        assert!(log.contains(r#""target":"secrets""#), "the log was on");
        let (_, out, err) = check(&login.settings(), &[]);
        for text in [log, health(service), out, err] {
            let keys = [&first, &second, &last, &login.spare].map(secret_of);
            for secret in keys.iter().chain(&["canary"]) {
                assert!(!text.contains(secret), "{secret} in {text}");
            }
        }
    }
}
