//! Secrets that change while requests come: the password of the database in Vault, the key of tokens in files.

use serde_json::json;
use testbed::Vault;

use super::{Login, assert_hidden, is, prepare, published, put};
use crate::{
    backed::Backed,
    client::{ask, get},
    process::{Service, policy, wait_until},
    secrets::{dir, path, write},
    tokens::{Key, claims},
};

#[test]
fn a_password_that_rotates_in_vault_and_postgres_costs_no_restart() {
    let vault = Vault::start().unwrap();
    prepare(&vault);
    let backed = Backed::start();
    let sql = |text: &str| backed.postgres.sql("postgres", text).unwrap();
    sql("CREATE ROLE app LOGIN IN ROLE postgres PASSWORD 'canary-first'");
    put(&vault, "DATABASE_PASSWORD", "canary-first");
    let place = backed.url.split_once('@').unwrap().1;
    let mut login = Login::by_approle(&vault);
    login.set("DATABASE_URL", &format!("postgres://app@{place}"));
    let replica = backed.replica(&login.settings());
    let anna = backed.account_at(replica.api, "anna@example.com", "editor");
    anna.video("before");

    sql("ALTER ROLE app PASSWORD 'canary-second'");
    put(&vault, "DATABASE_PASSWORD", "canary-second");
    replica.wait_for_log(|line| is(line, "DATABASE_PASSWORD", "changed"));
    let ended = sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app'");
    assert_ne!(ended, "0", "connections of before");
    wait_until("the new password", || (anna.get("/videos").status == 200).then_some(()));
    anna.video("after");
    let connected = sql("SELECT count(*) > 0 FROM pg_stat_activity WHERE usename = 'app'");
    assert_eq!(connected, "t", "it is the role that works");
    assert_hidden(&vault, &login, &replica, &["canary"]);
}

#[test]
fn a_signing_key_that_rotates_in_files_is_published_and_rejects_no_token() {
    let (old, new) = (Key::ed25519(""), Key::ed25519(""));
    let dir = dir(&[("JWT_SIGNING_KEY", &old.pem)]);
    let file = policy(
        r#"{"version": 1, "auth": {"jwt": {"roles": [{"path": {"value": "/"}, "anyOf": ["viewer"]}]}}}"#,
    );
    let service =
        Service::start(&[("SECRETS_DIR", path(&dir)), ("POLICY_FILE", file.path().to_str().unwrap())]);
    let token = |key: &Key| {
        let keys = get(service.api, "/.well-known/jwks.json").json();
        let all = keys["keys"].as_array().unwrap();
        let jwk = all.iter().find(|jwk| jwk["x"] == key.jwk()["x"]).unwrap();
        let header = json!({ "alg": "EdDSA", "typ": "JWT", "kid": jwk["kid"] });
        key.sign(&header.to_string(), &claims("viewer").to_string())
    };
    let opens =
        |token: &str| ask(service.api, "GET /", &format!("authorization: Bearer {token}\r\n")).status == 200;
    let before = token(&old);
    assert!(opens(&before));

    write(dir.path(), "JWT_PREVIOUS_KEYS", &old.pem);
    write(dir.path(), "JWT_SIGNING_KEY", &new.pem);
    let both = [&new, &old].map(|key| key.jwk()["x"].clone());
    wait_until("the new key", || {
        assert!(opens(&before), "a token of before is good all the time");
        (published(&service) == both).then_some(())
    });
    assert!(opens(&before), "a token of before is good");
    assert!(opens(&token(&new)), "and so is one of the new key");
}
