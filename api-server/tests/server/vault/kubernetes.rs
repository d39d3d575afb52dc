//! The login with a pod's token: a real cluster says whose it is, a real Vault whether that account may have the secret.

use std::time::Duration;

use serde_json::{Value, json};
use testbed::{Cluster, Namespace, Vault, service_account};
use tokio::runtime::Runtime;

use super::{Login, accessors, assert_hidden, is, prepare, put, wait_for_vault};
use crate::{
    process::{Service, wait_until, wait_within},
    secrets::{check, write},
};

const ACCOUNT: &str = "studio";
const AUDIENCE: &str = "vault://studio";
const LOGIN: &str = "auth/kubernetes/login";
/// Seconds that a short token of Vault lives: a third of it is left for a renewal under load.
const LIFE: u64 = 9;

/// A Vault that asks a cluster, and a namespace with an account that may have the secret.
struct Stage {
    vault: Vault,
    namespace: Namespace,
    cluster: Cluster,
    runtime: Runtime,
}

impl Stage {
    /// `role` is what matters of the role to a test.
    fn new(role: &Value) -> Self {
        let (runtime, vault) = (Runtime::new().unwrap(), Vault::start().unwrap());
        prepare(&vault);
        let (cluster, namespace) = runtime.block_on(async {
            let cluster = Cluster::get().await.unwrap();
            let namespace = cluster.foreign_namespace("vault-login").await.unwrap();
            vault.enable_kubernetes(&cluster, &namespace.name).await.unwrap();
            service_account::create(&cluster, &namespace.name, ACCOUNT).await.unwrap();
            (cluster, namespace)
        });
        let mut settings = json!({
            "bound_service_account_names": ACCOUNT, "bound_service_account_namespaces": namespace.name,
            "audience": AUDIENCE, "token_policies": "app",
        });
        settings.as_object_mut().unwrap().extend(role.as_object().unwrap().clone());
        vault.call("POST", "auth/kubernetes/role/app", &settings).unwrap();
        put(&vault, "AI_API_KEY", "canary-1");
        Self { vault, namespace, cluster, runtime }
    }

    /// As a kubelet would write it for a pod of this account.
    fn token(&self, namespace: &Namespace, account: &str, audience: &str) -> String {
        let token = service_account::token(&self.cluster, &namespace.name, account, Some(audience));
        self.runtime.block_on(token).unwrap()
    }

    fn own_token(&self) -> String {
        self.token(&self.namespace, ACCOUNT, AUDIENCE)
    }

    fn add(&self, namespace: &Namespace, account: &str) {
        self.runtime.block_on(service_account::create(&self.cluster, &namespace.name, account)).unwrap();
    }

    /// The settings that docs/secrets.md names.
    fn login(&self, token: &str) -> Login {
        let mut login = Login::new(&self.vault);
        write(login.folder.path(), "token", token);
        let file = login.folder.path().join("token");
        login.set("VAULT_AUTH", "kubernetes");
        login.set("VAULT_ROLE", "app");
        login.set("VAULT_JWT_FILE", file.to_str().unwrap());
        login
    }

    /// The value is new in Vault, and the service has it.
    fn change(&self, service: &Service, version: u8) {
        put(&self.vault, "AI_API_KEY", &format!("canary-{version}"));
        let version = version.to_string();
        service.wait_for_log(|line| is(line, "AI_API_KEY", "changed") && line["version"] == *version);
    }

    /// What Vault knows of one of its tokens; nothing once that has ended.
    fn lookup(&self, accessor: &Value) -> Option<Value> {
        let body = json!({ "accessor": accessor });
        Some(self.vault.call("POST", "auth/token/lookup-accessor", &body).ok()?["data"].take())
    }

    /// Why Vault refused logins, by its own log; the service does not repeat that.
    fn refusals(&self) -> Vec<String> {
        let lines = self.vault.audited().unwrap().into_iter();
        let refused = lines.filter(|line| line["type"] == "response" && line["request"]["path"] == LOGIN);
        refused.filter_map(|line| line["error"].as_str().map(str::to_owned)).collect()
    }

    fn assert_hidden(&self, login: &Login, service: &Service, tokens: &[&str]) {
        // Of a token what it says and its signature; each begins alike.
        let parts = tokens.iter().flat_map(|token| token.split('.').skip(1));
        assert_hidden(&self.vault, login, service, &parts.chain(["canary"]).collect::<Vec<_>>());
    }
}

fn failed(line: &Value) -> bool {
    line["target"] == "secrets" && line["outcome"] == "failed"
}

/// The only token that came since.
fn the_new(vault: &Vault, before: &[Value]) -> Value {
    let mut new: Vec<_> = accessors(vault).into_iter().filter(|one| !before.contains(one)).collect();
    assert_eq!(new.len(), 1, "one login");
    new.remove(0)
}

#[test]
fn a_pods_token_opens_the_secret_and_one_of_another_account_namespace_audience_or_signer_does_not() {
    let stage = Stage::new(&json!({ "token_ttl": "1h" }));
    stage.vault.enable_audit().unwrap();
    let own = stage.own_token();
    let login = stage.login(&own);
    let service = login.start();
    service.wait_for_log(|line| is(line, "AI_API_KEY", "read") && line["version"] == "1");
    wait_for_vault(&service, true);
    assert_eq!(check(&login.settings(), &[]).0, Some(0));
    stage.assert_hidden(&login, &service, &[&own]);
    assert_eq!(stage.refusals(), <[&str; 0]>::default());

    let elsewhere = stage.cluster.foreign_namespace("vault-login");
    let elsewhere = stage.runtime.block_on(elsewhere).unwrap();
    stage.add(&elsewhere, ACCOUNT);
    stage.add(&stage.namespace, "other");
    // Its claims are right; only the apiserver can tell that the signature is not.
    let (claims, signature) = (own.rsplit_once('.').unwrap().0, stage.own_token());
    let forged = format!("{claims}.{}", signature.rsplit_once('.').unwrap().1);
    for (token, reason) in [
        (stage.token(&stage.namespace, "other", AUDIENCE), "service account name not authorized"),
        (stage.token(&elsewhere, ACCOUNT, AUDIENCE), "namespace not authorized"),
        (stage.token(&stage.namespace, ACCOUNT, "vault://other"), "invalid audience (aud) claim"),
        (forged, "permission denied"),
    ] {
        let known = stage.refusals().len();
        let login = stage.login(&token);
        let service = login.start();
        let line = service.wait_for_log(failed);
        assert!(line["reason"].as_str().unwrap().starts_with("log in: Vault refuses"), "{line}");
        wait_for_vault(&service, false);
        let log = service.log();
        assert!(!log.iter().any(|line| line["name"] == "AI_API_KEY"), "it has no secret: {log:?}");
        let (code, _, problems) = check(&login.settings(), &[]);
        assert!(code == Some(1) && problems.contains("vault: log in: Vault refuses"), "{code:?} {problems}");
        stage.assert_hidden(&login, &service, &[&own, &token]);
        let refusals = stage.refusals().split_off(known);
        assert!(!refusals.is_empty() && refusals.iter().all(|why| why.contains(reason)), "{refusals:?}");
    }
}

#[test]
fn its_token_of_vault_is_renewed_in_time_and_the_pods_token_read_again_once_it_was_revoked() {
    let stage = Stage::new(&json!({ "token_ttl": LIFE }));
    stage.add(&stage.namespace, "other");
    let (own, other) = (stage.own_token(), stage.token(&stage.namespace, "other", AUDIENCE));
    let before = accessors(&stage.vault);
    let login = stage.login(&own);
    let service = login.start();
    service.wait_for_log(|line| is(line, "AI_API_KEY", "read"));
    let held = the_new(&stage.vault, &before);
    let made = stage.lookup(&held).unwrap()["creation_time"].as_u64().unwrap();
    let renewed_after = |seconds: u64| {
        wait_within(Duration::from_secs(LIFE * 3), "a renewal", || {
            let token = stage.lookup(&held).expect("it ended");
            token["last_renewal_time"].as_u64().filter(|at| *at >= made + seconds)
        })
    };
    assert!(renewed_after(0) >= made + LIFE * 2 / 3, "the first comes after two thirds");
    renewed_after(LIFE);
    assert_eq!(the_new(&stage.vault, &before), held, "no login was needed");

    write(login.folder.path(), "token", &other);
    stage.change(&service, 2);
    stage.vault.call("POST", "auth/token/revoke-accessor", &json!({ "accessor": held })).unwrap();
    let line = service.wait_for_log(failed);
    assert!(line["reason"].as_str().unwrap().starts_with("log in: Vault refuses"), "{line}");
    wait_for_vault(&service, false);
    let rotated = stage.own_token();
    write(login.folder.path(), "token", &rotated);
    stage.change(&service, 3);
    wait_for_vault(&service, true);
    assert_ne!(the_new(&stage.vault, &before), held);
    stage.assert_hidden(&login, &service, &[&own, &other, &rotated]);
}

#[test]
fn a_token_that_may_not_renew_itself_is_replaced_by_a_new_login_before_it_ends() {
    let stage = Stage::new(&json!({ "token_ttl": LIFE, "token_no_default_policy": true }));
    let before = accessors(&stage.vault);
    let login = stage.login(&stage.own_token());
    let service = login.start();
    service.wait_for_log(|line| is(line, "AI_API_KEY", "read"));
    let first = the_new(&stage.vault, &before);
    let known = [before, vec![first.clone()]].concat();
    wait_within(Duration::from_secs(LIFE * 2), "a second login", || {
        accessors(&stage.vault).iter().any(|one| !known.contains(one)).then_some(())
    });
    the_new(&stage.vault, &known);
    assert!(stage.lookup(&first).is_some(), "the first had not ended");
    stage.change(&service, 2);
    wait_until("the end of the first", || stage.lookup(&first).is_none().then_some(()));
    assert!(!service.log().iter().any(failed), "nothing failed on the way");
}
