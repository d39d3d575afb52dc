//! Secrets from a real Vault: which value counts, what an outage and a revoked token leave, and that nothing of it is shown.

mod kubernetes;
mod rotation;

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::Vault;

use crate::{
    client::get,
    process::{Service, policy, wait_until},
    secrets::{self, check},
    tokens::Key,
};

const ROLE_ID: &str = "role-of-the-app";
const SECRET_ID: &str = "secret-id-of-the-app";
/// How each token begins that Vault makes: that of a login is seen by nobody else.
const MADE_BY_VAULT: &str = "hvs.";
/// Mount and version; nothing in a name says the version.
const ENGINES: [(&str, u8); 2] = [("secret", 2), ("old", 1)];
/// What docs/secrets.md asks for and nothing more.
const RULES: &str = r#"
path "secret/data/app" { capabilities = ["read"] }
path "old/app" { capabilities = ["read"] }"#;

/// How the service asks Vault, and the files that it logs in with.
struct Login {
    folder: TempDir,
    settings: Vec<(&'static str, String)>,
}

impl Login {
    fn by_token(vault: &Vault, token: &str) -> Self {
        let mut login = Self::new(vault);
        let path = login.file("token", token);
        login.set("VAULT_TOKEN_FILE", path.to_str().unwrap());
        login
    }

    fn by_approle(vault: &Vault) -> Self {
        let mut login = Self::new(vault);
        let path = login.file("secret-id", SECRET_ID);
        login.set("VAULT_AUTH", "approle");
        login.set("VAULT_ROLE_ID", ROLE_ID);
        login.set("VAULT_SECRET_ID_FILE", path.to_str().unwrap());
        login
    }

    fn new(vault: &Vault) -> Self {
        let mut login = Self { folder: tempfile::tempdir().unwrap(), settings: Vec::new() };
        login.set("VAULT_ADDR", &vault.address());
        login.set("VAULT_CACERT", vault.ca_file().to_str().unwrap());
        login.set("VAULT_PATH", "app");
        login.set("SECRET_BACKENDS", "vault,environment");
        login.set("SECRETS_REFRESH", "1");
        login.set("RUST_LOG", "trace");
        login
    }

    /// The last one of a name counts.
    fn set(&mut self, name: &'static str, value: &str) {
        self.settings.push((name, value.to_owned()));
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn settings(&self) -> Vec<(&str, &str)> {
        self.settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    fn start(&self) -> Service {
        Service::start(&self.settings())
    }
}

/// Engines and a role. The ids of the role are given, so that a Vault that has forgotten everything takes them again.
fn prepare(vault: &Vault) {
    for (mount, version) in ENGINES {
        vault.enable_kv(mount, version).unwrap();
    }
    vault.policy("app", RULES).unwrap();
    vault.approle("app", &["app"], "1h").unwrap();
    let role = "auth/approle/role/app";
    vault.call("POST", &format!("{role}/role-id"), &json!({ "role_id": ROLE_ID })).unwrap();
    vault.call("POST", &format!("{role}/custom-secret-id"), &json!({ "secret_id": SECRET_ID })).unwrap();
}

fn put(vault: &Vault, name: &str, value: &str) {
    vault.write_kv("secret", 2, "app", &json!({ name: value })).unwrap();
}

fn put_key(vault: &Vault, key: &Key) {
    put(vault, "JWT_SIGNING_KEY", &key.pem);
}

/// A token with the rights of the app.
fn token(vault: &Vault) -> String {
    let made = vault.call("POST", "auth/token/create", &json!({ "policies": ["app"], "ttl": "1h" })).unwrap();
    let token = made["auth"]["client_token"].as_str().unwrap();
    assert!(token.starts_with(MADE_BY_VAULT));
    token.to_owned()
}

/// A name for each token there is.
fn accessors(vault: &Vault) -> Vec<Value> {
    let listed = vault.call("LIST", "auth/token/accessors", &Value::Null).unwrap();
    listed["data"]["keys"].as_array().unwrap().clone()
}

/// An audit line of a secret that Vault gave.
fn is(line: &Value, name: &str, outcome: &str) -> bool {
    secrets::is(line, name, outcome) && line["backend"] == "vault"
}

/// The public keys that the service shows: what has become of the secret.
fn published(service: &Service) -> Vec<Value> {
    let keys = get(service.api, "/.well-known/jwks.json").json();
    keys["keys"].as_array().unwrap().iter().map(|key| key["x"].clone()).collect()
}

pub fn signs_with(service: &Service, key: &Key) -> bool {
    published(service) == [key.jwk()["x"].clone()]
}

pub fn health(service: &Service) -> String {
    assert_eq!(get(service.api, "/readyz").status, 200, "a lost backend takes no replica out");
    get(service.api, "/readyz?verbose").body + &get(service.metrics, "/metrics").body
}

fn wait_for_vault(service: &Service, up: bool) {
    wait_for_backend(service, "vault", up);
}

/// Health and metrics agree on it.
pub fn wait_for_backend(service: &Service, name: &str, up: bool) {
    let (state, number) = if up { ("ok", 1) } else { ("failing", 0) };
    let told =
        [format!(r#""{name}":"{state}""#), format!(r#"secret_backend_up{{backend="{name}"}} {number}"#)];
    wait_until(&told[0], || told.iter().all(|text| health(service).contains(text)).then_some(()));
}

/// None of these, nor what the service logs in with, is shown anywhere.
fn assert_hidden(vault: &Vault, login: &Login, service: &Service, secrets: &[&str]) {
    let (_, out, err) = check(&login.settings(), &[]);
    let log = Value::from(service.log()).to_string();
    assert!(log.contains(r#""target":"secrets""#), "the log was on");
    for text in [log, health(service), out, err] {
        for secret in secrets.iter().chain(&[MADE_BY_VAULT, SECRET_ID, vault.root_token()]) {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

/// Of a PEM key the second line is its secret.
pub fn secret_of(key: &Key) -> &str {
    key.pem.lines().nth(1).unwrap()
}

#[test]
fn either_engine_is_read_by_either_login_and_a_new_version_counts_without_a_restart() {
    let vault = Vault::start().unwrap();
    prepare(&vault);
    for (mount, version) in ENGINES {
        let mut written = 0;
        let mut write = |key: &Key| {
            vault.write_kv(mount, version, "app", &json!({ "JWT_SIGNING_KEY": key.pem })).unwrap();
            written += 1;
            if version == 2 { json!(written.to_string()) } else { Value::Null }
        };
        for mut login in [Login::by_token(&vault, &token(&vault)), Login::by_approle(&vault)] {
            login.set("VAULT_MOUNT", mount);
            let (first, second) = (Key::ed25519(""), Key::ed25519(""));
            let number = write(&first);
            let service = login.start();
            let read = service.wait_for_log(|line| is(line, "JWT_SIGNING_KEY", "read"));
            assert_eq!(read["version"], number, "{read}");
            assert!(signs_with(&service, &first));

            let (code, table, problems) = check(&login.settings(), &[]);
            assert_eq!((code, problems.as_str()), (Some(0), ""), "{table}");
            let row = table.lines().find(|line| line.starts_with("JWT_SIGNING_KEY")).unwrap();
            let columns: Vec<_> = row.split_whitespace().collect();
            assert_eq!(columns, ["JWT_SIGNING_KEY", "vault", number.as_str().unwrap_or("-"), "-"]);

            let number = write(&second);
            let changed = service.wait_for_log(|line| is(line, "JWT_SIGNING_KEY", "changed"));
            assert_eq!(changed["version"], number, "{changed}");
            wait_until("the new key", || signs_with(&service, &second).then_some(()));
            assert_hidden(&vault, &login, &service, &[secret_of(&first), secret_of(&second)]);
        }
    }
}

#[test]
fn while_vault_is_away_its_last_values_stay_and_a_start_takes_the_next_backends() {
    let mut vault = Vault::start().unwrap();
    prepare(&vault);
    let (first, spare, last) = (Key::ed25519(""), Key::ed25519(""), Key::ed25519(""));
    put_key(&vault, &first);
    let mut login = Login::by_approle(&vault);
    login.set("JWT_SIGNING_KEY", &spare.pem);
    let service = login.start();
    assert!(signs_with(&service, &first), "the first backend wins");
    wait_for_vault(&service, true);

    vault.stop();
    wait_for_vault(&service, false);
    assert!(signs_with(&service, &first), "the environment's value took the place of Vault's");
    let development = login.start();
    let file = policy(r#"{"version": 1, "trustedHosts": ["localhost"]}"#);
    login.set("ENVIRONMENT", "production");
    login.set("POLICY_FILE", file.path().to_str().unwrap());
    login.set("RUST_LOG", "info");
    login.set("REQUIRED_GROUPS", "auth");
    let production = login.start();
    for late in [&development, &production] {
        assert!(signs_with(late, &spare));
        wait_for_vault(late, false);
    }

    vault.start_again().unwrap();
    prepare(&vault);
    put_key(&vault, &last);
    for service in [&service, &development, &production] {
        wait_until("the new key of Vault", || signs_with(service, &last).then_some(()));
        wait_for_vault(service, true);
        assert_hidden(&vault, &login, service, &[&first, &spare, &last].map(secret_of));
    }
}

#[test]
fn after_a_revoked_token_it_logs_in_once_and_a_token_file_is_read_again() {
    let vault = Vault::start().unwrap();
    prepare(&vault);
    put(&vault, "AI_API_KEY", "canary-1");
    let before = accessors(&vault);
    let login = Login::by_approle(&vault);
    let service = login.start();
    service.wait_for_log(|line| is(line, "AI_API_KEY", "read"));
    let others = |known: &[Value]| -> Vec<_> {
        accessors(&vault).into_iter().filter(|one| !known.contains(one)).collect()
    };
    let held = others(&before);
    assert_eq!(held.len(), 1, "one login for the start and what it read since");
    vault.call("POST", "auth/token/revoke-accessor", &json!({ "accessor": held[0] })).unwrap();
    for version in ["2", "3"] {
        put(&vault, "AI_API_KEY", &format!("canary-{version}"));
        service.wait_for_log(|line| is(line, "AI_API_KEY", "changed") && line["version"] == version);
    }
    assert_eq!(others(&before).len(), 1, "one login more, and not one for each read");
    assert_hidden(&vault, &login, &service, &["canary"]);

    let (old, new) = (token(&vault), token(&vault));
    let login = Login::by_token(&vault, &old);
    let service = login.start();
    service.wait_for_log(|line| is(line, "AI_API_KEY", "read"));
    vault.call("POST", "auth/token/revoke", &json!({ "token": old })).unwrap();
    wait_for_vault(&service, false);
    put(&vault, "AI_API_KEY", "canary-4");
    assert_hidden(&vault, &login, &service, &["canary"]);
    login.file("token", &new);
    service.wait_for_log(|line| is(line, "AI_API_KEY", "changed") && line["version"] == "4");
    wait_for_vault(&service, true);
    assert_hidden(&vault, &login, &service, &["canary"]);
}

#[test]
fn a_new_token_in_its_file_counts_while_the_old_one_still_works() {
    let vault = Vault::start().unwrap();
    prepare(&vault);
    put(&vault, "AI_API_KEY", "canary-1");
    let login = Login::by_token(&vault, &token(&vault));
    let service = login.start();
    wait_for_vault(&service, true);
    let poor = vault.call("POST", "auth/token/create", &json!({ "policies": ["default"] })).unwrap();
    for (new, works) in [(poor["auth"]["client_token"].as_str().unwrap(), false), (&token(&vault), true)] {
        secrets::write(login.folder.path(), "token", new);
        wait_for_vault(&service, works);
    }
    assert_hidden(&vault, &login, &service, &["canary"]);
    fs::remove_file(login.folder.path().join("token")).unwrap();
    put(&vault, "AI_API_KEY", "canary-2");
    service.wait_for_log(|line| is(line, "AI_API_KEY", "changed") && line["version"] == "2");
}
