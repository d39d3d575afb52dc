//! A Vault that the platform lets services use. No child depends on it; only the operator reads it.

use serde::{Deserialize, Serialize};

/// How the operator reaches a Vault, and what it may ask of it for services. The operator checks every value at its start.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VaultConnection {
    /// `https://HOST:PORT`.
    pub address: String,
    /// Certificates (PEM) of which one must have issued Vault's. Nothing else is trusted.
    pub ca_bundle: String,
    /// Namespace of Vault Enterprise or `OpenBao`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The one audience of the tokens that the operator logs in with.
    #[serde(default = "audience")]
    pub audience: String,
    /// The login.
    pub kubernetes_auth: KubernetesAuth,
    /// The certificates. Left out: none.
    #[serde(default)]
    pub pki: VaultPkiEngine,
    /// The values. Left out: none.
    #[serde(default)]
    pub kv: VaultKvEngines,
}

/// The auth method `kubernetes`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KubernetesAuth {
    /// Where it is mounted.
    #[serde(default = "kubernetes")]
    pub mount: String,
    /// The role to log in to; `{namespace}` and `{name}` become the service's.
    pub role: String,
    /// The ServiceAccount of the service's namespace that logs in, with the same two. Left out: the service's own.
    #[serde(default = "own_account")]
    pub service_account: String,
}

/// The secrets engine `pki`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct VaultPkiEngine {
    /// Where it is mounted.
    pub mount: String,
    /// Roles that services may name; none when empty.
    pub roles: Vec<String>,
}

/// Secrets engines `kv`, version 1 or 2.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct VaultKvEngines {
    /// Where those are mounted that services may read; none when empty. The first is that of services that name none;
    /// `{namespace}` becomes the service's.
    pub mounts: Vec<String>,
}

impl Default for VaultPkiEngine {
    fn default() -> Self {
        Self { mount: "pki".into(), roles: Vec::new() }
    }
}

fn audience() -> String {
    "vault".into()
}

fn kubernetes() -> String {
    "kubernetes".into()
}

fn own_account() -> String {
    "{name}".into()
}
