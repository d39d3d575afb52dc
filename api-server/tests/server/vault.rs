//! Secrets from a real Vault: which version counts, what an outage leaves, and that nothing of it is shown.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::Vault;

use crate::{
    client::get,
    process::{Service, command, wait_until},
};

/// Files that the service logs in with.
struct Login {
    folder: TempDir,
    settings: Vec<(&'static str, String)>,
}

impl Login {
    fn new(vault: &Vault, settings: &[(&'static str, &str)]) -> Self {
        let ca = vault.ca_file().to_str().unwrap().to_owned();
        let mut all =
            vec![("VAULT_ADDR", vault.address()), ("VAULT_CACERT", ca), ("SECRETS_REFRESH", "1".into())];
        all.extend([("VAULT_PATH", "app".into()), ("RUST_LOG", "trace".into())]);
        all.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        Self { folder: tempfile::tempdir().unwrap(), settings: all }
    }

    fn by_token(mut self, token: &str) -> Self {
        let path = self.file("token", token);
        self.settings.push(("VAULT_TOKEN_FILE", path.to_str().unwrap().to_owned()));
        self
    }

    fn by_approle(mut self, vault: &Vault, ttl: &str) -> (Self, String) {
        vault.policy("app", r#"path "*" { capabilities = ["read"] }"#).unwrap();
        let role = vault.approle("app", &["app"], ttl).unwrap();
        let path = self.file("secret-id", &role.secret_id);
        let more = [("VAULT_AUTH", "approle".to_owned()), ("VAULT_ROLE_ID", role.role_id.clone())];
        self.settings.extend(more);
        self.settings.push(("VAULT_SECRET_ID_FILE", path.to_str().unwrap().to_owned()));
        (self, role.secret_id)
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

/// An audit line of a secret that Vault gave.
fn is(line: &Value, name: &str, outcome: &str) -> bool {
    line["target"] == "secrets"
        && line["name"] == name
        && line["outcome"] == outcome
        && line["backend"] == "vault"
}

fn health(service: &Service) -> String {
    let ready = get(service.api, "/readyz?verbose");
    assert_eq!(ready.status, 200, "a lost backend takes no replica out");
    ready.body + &get(service.metrics, "/metrics").body
}

#[test]
fn a_new_version_counts_without_a_restart_from_either_engine() {
    let vault = Vault::start().unwrap();
    for version in [1, 2] {
        let mount = format!("kv{version}");
        vault.enable_kv(&mount, version).unwrap();
        vault
            .write_kv(&mount, version, "app", &json!({ "AI_API_KEY": "sk-first-canary-0123456789abcdef" }))
            .unwrap();
        let login = Login::new(&vault, &[("SECRET_BACKENDS", "vault"), ("VAULT_MOUNT", &mount)]);
        let login = login.by_token(vault.root_token());
        let service = login.start();
        let read = service.wait_for_log(|line| is(line, "AI_API_KEY", "read"));
        assert_eq!(read["version"], if version == 2 { json!("1") } else { Value::Null }, "{read}");
        vault
            .write_kv(&mount, version, "app", &json!({ "AI_API_KEY": "sk-second-canary-0123456789abcde" }))
            .unwrap();
        let changed = service.wait_for_log(|line| is(line, "AI_API_KEY", "changed"));
        assert_eq!(changed["version"], if version == 2 { json!("2") } else { Value::Null }, "{changed}");
        let log = Value::from(service.log()).to_string();
        for text in [log, health(&service)] {
            assert!(!text.contains("canary") && !text.contains(vault.root_token()), "{text}");
        }
    }
}

#[test]
fn while_vault_is_away_its_last_values_stay_and_a_start_takes_the_next_backends() {
    let mut vault = Vault::start().unwrap();
    vault.enable_kv("secret", 2).unwrap();
    vault.write_kv("secret", 2, "app", &json!({ "AI_API_KEY": "sk-of-vault-0123456789abcdef0123" })).unwrap();
    let chain =
        [("SECRET_BACKENDS", "vault,environment"), ("AI_API_KEY", "sk-of-the-environment-0123456789")];
    let login = Login::new(&vault, &chain).by_token(vault.root_token());
    let service = login.start();
    service.wait_for_log(|line| is(line, "AI_API_KEY", "read"));
    let up = r#"secret_backend_up{backend="vault"} 1"#;
    wait_until("Vault to be up", || health(&service).contains(up).then_some(()));
    vault.stop();
    wait_until("the loss to be told", || {
        let text = health(&service);
        (text.contains(r#"secret_backend_up{backend="vault"} 0"#) && text.contains("failing")).then_some(())
    });
    let swapped =
        service.log().into_iter().any(|line| line["name"] == "AI_API_KEY" && line["outcome"] == "changed");
    assert!(!swapped, "a value of the environment took the place of Vault's");
    let late = login.start();
    let read = late.wait_for_log(|line| line["name"] == "AI_API_KEY" && line["outcome"] == "read");
    assert_eq!(read["backend"], "environment");
    vault.start_again().unwrap();
    vault.enable_kv("secret", 2).unwrap();
    vault.write_kv("secret", 2, "app", &json!({ "AI_API_KEY": "sk-of-vault-again-0123456789abcd" })).unwrap();
    for service in [&service, &late] {
        service.wait_for_log(|line| is(line, "AI_API_KEY", "changed"));
        wait_until("Vault to be up again", || health(service).contains(up).then_some(()));
    }
}

#[test]
fn a_revoked_token_of_an_approle_is_replaced_by_a_new_login() {
    let vault = Vault::start().unwrap();
    vault.enable_kv("secret", 2).unwrap();
    vault.write_kv("secret", 2, "app", &json!({ "AI_API_KEY": "sk-first-canary-0123456789abcdef" })).unwrap();
    let (login, secret_id) = Login::new(&vault, &[("SECRET_BACKENDS", "vault")]).by_approle(&vault, "1h");
    let service = login.start();
    service.wait_for_log(|line| is(line, "AI_API_KEY", "read"));
    vault.call("PUT", "sys/leases/revoke-prefix/auth/approle", &json!({})).unwrap();
    vault.write_kv("secret", 2, "app", &json!({ "AI_API_KEY": "sk-second-canary-0123456789abcde" })).unwrap();
    service.wait_for_log(|line| is(line, "AI_API_KEY", "changed"));
    let output = command(&login.settings()).arg("check-config").output().unwrap();
    let shown = format!("{output:?}{}{}", Value::from(service.log()), health(&service));
    assert!(
        shown.contains("AI_API_KEY") && !shown.contains("canary") && !shown.contains(&secret_id),
        "{shown}"
    );
}
