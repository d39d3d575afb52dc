//! What a platform prepares for services that use its Vault: the server, the login of the services' own accounts, and the
//! operator's settings and rights. Which engines it has, and what they hold, is for others to say. It judges nothing.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use k8s_openapi::api::rbac::v1::ClusterRole;
use serde_json::{Value, json};

use super::Vault;
use crate::cluster::{CLUSTER_ROLE, Cluster, NAMESPACE_ROLE, Namespace, unique};
use crate::fixture::OPERATOR;
use crate::install::{kubectl, render};
use crate::operator::Options;
use crate::rights::{self, Right};

/// The path of the login.
pub const LOGIN: &str = "auth/kubernetes/login";

/// All of it; there are no engines yet, nobody may log in, and nothing is audited.
pub struct Platform {
    /// The server.
    pub vault: Vault,
    /// The cluster.
    pub cluster: Cluster,
    /// The services' namespace.
    pub namespace: Namespace,
    connection: Value,
    settings: PathBuf,
    /// Vault's own account lives there.
    reviewers: Namespace,
}

impl Platform {
    /// Prepares it; `engines` is what the operator's settings say of the connection besides address, CA and login.
    pub async fn prepare(prefix: &str, engines: &Value) -> Result<Self> {
        Self::prepare_with(Vault::start()?, prefix, engines).await
    }

    /// The same with this server, which holds nothing yet.
    pub async fn prepare_with(vault: Vault, prefix: &str, engines: &Value) -> Result<Self> {
        let cluster = Cluster::get().await?;
        cluster.install().await?;
        let namespace = cluster.namespace(prefix).await?;
        let reviewers = cluster.foreign_namespace("reviewer").await?;
        let mut connection = vault.connection("hardened-{namespace}-{name}")?;
        for (field, value) in engines.as_object().into_iter().flatten() {
            connection[field] = value.clone();
        }
        let settings = settings(&cluster, &connection)?;
        let platform = Self { vault, cluster, namespace, connection, settings, reviewers };
        platform.vault.enable_kubernetes(&platform.cluster, &platform.reviewers.name).await?;
        platform.grant(&platform.rights().await?).await?;
        Ok(platform)
    }

    /// Starts a Vault that was stopped, and so has forgotten everything.
    pub async fn start_again(&mut self) -> Result<()> {
        self.reviewers = self.cluster.foreign_namespace("reviewer").await?;
        self.vault.start_again()?;
        self.vault.enable_kubernetes(&self.cluster, &self.reviewers.name).await
    }

    /// Lets the account of a service log in for this policy, to a role of its own.
    pub fn let_log_in(&self, namespace: &str, service: &str, policy: &str) -> Result<()> {
        self.vault.login_role(&login_role(namespace, service), namespace, service, policy)
    }

    /// Where Vault keeps the role of that login.
    pub fn login_role(&self, service: &str) -> String {
        format!("auth/kubernetes/role/{}", login_role(&self.namespace.name, service))
    }

    /// How the operator is started.
    pub fn options(&self) -> Options {
        started_with(&self.settings)
    }

    /// The same with another connection.
    pub fn options_with(&self, change: impl FnOnce(&mut Value)) -> Result<Options> {
        let mut connection = self.connection.clone();
        change(&mut connection);
        Ok(started_with(&settings(&self.cluster, &connection)?))
    }

    /// Vault's answers to requests for this path, by its audit log.
    pub fn answers(&self, path: &str) -> Result<Vec<Value>> {
        let of = |line: &Value| line["type"] == "response" && line["request"]["path"] == path;
        Ok(self.vault.audited()?.into_iter().filter(of).collect())
    }

    /// The paths that others than the test itself asked for, the oldest first.
    pub fn asked(&self) -> Result<Vec<String>> {
        // The log begins with a line that Vault writes to try the file.
        let own = |line: &Value| {
            line["auth"]["policies"] == json!(["root"]) || line["request"]["path"] == "sys/audit/test"
        };
        let lines = self.vault.audited()?.into_iter().filter(|line| line["type"] == "request" && !own(line));
        Ok(lines.filter_map(|line| line["request"]["path"].as_str().map(str::to_owned)).collect())
    }

    /// The right that the chart gives in an onboarded namespace, and the one that it gives everywhere, when its settings
    /// name a Vault.
    pub async fn rights(&self) -> Result<[Right; 2]> {
        let settings = json!({"vaultConnections": {"default": self.connection}});
        let values = json!({ "settings": settings }).to_string();
        let file = self.cluster.state().write(&format!("settings/{}.yaml", unique("values")), values)?;
        let objects = render(&["--values", &file.display().to_string()])?;
        let mut more = Vec::new();
        for name in [NAMESPACE_ROLE, CLUSTER_ROLE] {
            let role = objects.iter().find(|o| o["kind"] == "ClusterRole" && o["metadata"]["name"] == name);
            let role: ClusterRole = serde_json::from_value(role.context("no ClusterRole")?.clone())?;
            let usual = rights::of_cluster_role(&self.cluster, name).await?;
            let given = rights::rights(&role.rules.unwrap_or_default());
            more.extend(given.into_iter().filter(|right| !usual.contains(right)));
        }
        more.try_into().map_err(|more| anyhow!("{more:?}"))
    }

    /// Gives the operator these of them, each by a Role of the namespace, and so as with listed namespaces.
    pub async fn grant(&self, rights: &[Right]) -> Result<()> {
        self.grant_in(&self.namespace, rights).await
    }

    /// The same in another namespace.
    pub async fn grant_in(&self, namespace: &Namespace, rights: &[Right]) -> Result<()> {
        rights::grant(&self.cluster, &namespace.name, "vault", OPERATOR, rights::rules(rights)).await?;
        for right in rights {
            rights::until_allowed(&self.cluster, OPERATOR, Some(&namespace.name), right, true).await?;
        }
        Ok(())
    }
}

impl Drop for Platform {
    /// The operator ended before: nobody would take the finalizers off, and the namespace would stay.
    fn drop(&mut self) {
        let (cluster, namespace) = (&self.cluster, &*self.namespace.name);
        let ask = |arguments: &[&str]| kubectl(cluster, &[arguments, &["-n", namespace]].concat(), "");
        let _ = ask(&["delete", "namespace", namespace, "--wait=false", "--ignore-not-found"]);
        let services = ask(&["get", "hardenedservices", "-o", "name"]).unwrap_or_default();
        for service in services.lines() {
            let free = r#"{"metadata": {"finalizers": null}}"#;
            let _ = ask(&["patch", service, "--type=merge", "-p", free]);
        }
    }
}

fn login_role(namespace: &str, service: &str) -> String {
    format!("hardened-{namespace}-{service}")
}

/// The platform's settings, as the operator reads them.
fn settings(cluster: &Cluster, connection: &Value) -> Result<PathBuf> {
    let text = json!({"vaultConnections": {"default": connection}}).to_string();
    cluster.state().write(&format!("settings/{}.yaml", unique("vault")), text)
}

fn started_with(settings: &Path) -> Options {
    let args = vec!["--settings".to_owned(), settings.display().to_string()];
    Options { args, ..Options::default() }
}
