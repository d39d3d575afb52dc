//! A control plane of a test's own with the real Helm, to install the chart into as a user does. It has no node: no pod
//! runs in it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::cluster::client_of;
use crate::install::client;
use crate::private::PrivateTestbed;
use crate::state::checkout;

/// As many at once as two processors bear.
static AT_ONCE: Semaphore = Semaphore::const_new(2);

/// The control plane; it is stopped when this is dropped.
pub struct Helm {
    testbed: PrivateTestbed,
    /// The administrator's client.
    pub client: Client,
    _permit: SemaphorePermit<'static>,
}

impl Helm {
    /// Starts it; nothing of the chart is in it.
    pub async fn start() -> Result<Self> {
        let permit = AT_ONCE.acquire().await?;
        let testbed = PrivateTestbed::new()?;
        testbed.run(&["up", "--control-plane"])?;
        let client = client_of(&testbed.state.kubeconfig()).await?;
        Ok(Self { testbed, client, _permit: permit })
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.testbed.state.kubeconfig()
    }

    /// Runs helm; the error is what it printed.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        client("helm", Some(&self.kubeconfig()), arguments, "")
    }

    /// `helm upgrade --install` of the chart in the checkout, or of a copy of it; values are `KEY=JSON`.
    pub fn release(&self, namespace: &str, chart: Option<&Path>, sets: &[&str]) -> Result<String> {
        let own = checkout().join("charts/hardened-operator");
        let chart = chart.unwrap_or(&own).to_str().context("the path is not UTF-8")?;
        let fixed =
            ["upgrade", "--install", "hardened-operator", chart, "-n", namespace, "--create-namespace"];
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set-json", set]).collect();
        self.run(&[&fixed, &sets[..]].concat())
    }

    /// Runs kubectl.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        client("kubectl", Some(&self.kubeconfig()), arguments, "")
    }

    /// A kubeconfig with the rights of a ServiceAccount, as a pod of it has them.
    pub fn kubeconfig_of(&self, namespace: &str, account: &str) -> Result<PathBuf> {
        let token = self.kubectl(&["create", "token", account, "-n", namespace])?;
        let mut config: Value = serde_json::from_slice(&std::fs::read(self.kubeconfig())?)?;
        config["users"][0]["user"] = json!({"token": token.trim()});
        self.testbed.state.write(&format!("{account}.kubeconfig"), config.to_string())
    }
}
