//! The stage's service with values of a Vault of the test's own, as a platform connects the two. Needs root, and no other
//! node on this host.

use anyhow::Result;
use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::Vault;
use crate::cluster::Namespace;
use crate::fixture::OPERATOR;
use crate::operator::Options;
use crate::rights;
use crate::stage::{NAME, Stage};

/// Where its values are, in an engine of version 2.
const PLACE: (&str, &str) = ("secret", "studio");

/// All of it. Fields are dropped in this order.
pub struct OnStage {
    /// Vault's own account lives there.
    _reviewers: Namespace,
    /// The service, which takes no values yet.
    pub stage: Stage,
    vault: Vault,
    _settings: NamedTempFile,
}

impl OnStage {
    /// Starts everything, with these values in Vault. Nothing where another node is.
    pub async fn set(first: &Value) -> Result<Option<Self>> {
        let vault = Vault::start()?;
        vault.enable_kv(PLACE.0, 2)?;
        vault.write_kv(PLACE.0, 2, PLACE.1, first)?;
        let settings = NamedTempFile::new()?;
        std::fs::write(settings.path(), settings_of(&vault)?)?;
        let args = vec!["--settings".to_owned(), settings.path().display().to_string()];
        let stage = Box::pin(Stage::set(Options { args, ..Options::default() }));
        let Some(stage) = stage.await? else { return Ok(None) };
        let reviewers = stage.cluster.foreign_namespace("reviewer").await?;
        vault.enable_kubernetes(&stage.cluster, &reviewers.name).await?;
        let_in(&vault, &stage).await?;
        Ok(Some(Self { _reviewers: reviewers, stage, vault, _settings: settings }))
    }

    /// Writes other values.
    pub fn write(&self, values: &Value) -> Result<()> {
        self.vault.write_kv(PLACE.0, 2, PLACE.1, values)
    }

    /// Has the service take all of them, looked at every five seconds, and changes its spec in other ways.
    pub async fn take_values(&self, secrets: &Value, more: &Value) -> Result<()> {
        let mut spec = more.clone();
        spec["secrets"] = secrets.clone();
        spec["secrets"]["refreshInterval"] = json!("5s");
        spec["secrets"]["sources"] = json!([{"vault": {"path": PLACE.1}}]);
        self.stage.service.patch(&json!({ "spec": spec })).await.map(drop)
    }
}

fn settings_of(vault: &Vault) -> Result<String> {
    let mut connection = vault.connection("{namespace}")?;
    connection["kv"] = json!({"mounts": [PLACE.0]});
    Ok(json!({"vaultConnections": {"default": connection}}).to_string())
}

/// Lets the service's account log in and read, and the operator ask for its tokens.
async fn let_in(vault: &Vault, stage: &Stage) -> Result<()> {
    let namespace = &stage.namespace.name;
    vault.policy("studio", r#"path "secret/data/studio" { capabilities = ["read"] }"#)?;
    vault.login_role(namespace, namespace, NAME, "studio")?;
    let tokens = PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec!["serviceaccounts/token".into()]),
        verbs: vec!["create".into()],
        ..PolicyRule::default()
    };
    rights::grant(&stage.cluster, namespace, "vault", OPERATOR, vec![tokens]).await
}
