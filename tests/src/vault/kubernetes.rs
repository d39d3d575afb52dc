//! The login with tokens of a cluster's ServiceAccounts. Who may log in, and for what, is for the test to say.

use anyhow::Result;
use serde_json::{Value, json};

use super::Vault;
use crate::cluster::Cluster;
use crate::service_account;

impl Vault {
    /// Enables the method `kubernetes`: Vault asks this cluster whose a token is, as a reviewer that is made in the namespace.
    /// A role of its own at `auth/kubernetes/role/NAME` is still needed.
    pub async fn enable_kubernetes(&self, cluster: &Cluster, namespace: &str) -> Result<()> {
        let (address, certificates) = cluster.server()?;
        let reviewer = service_account::reviewer(cluster, namespace, "vault").await?;
        self.call("POST", "sys/auth/kubernetes", &json!({ "type": "kubernetes" }))?;
        let config = json!({
            "kubernetes_host": address, "kubernetes_ca_cert": certificates, "token_reviewer_jwt": reviewer,
            "disable_local_ca_jwt": true,
        });
        self.call("POST", "auth/kubernetes/config", &config).map(drop)
    }

    /// Lets this account of a namespace log in to a role, for what a policy allows.
    pub fn login_role(&self, role: &str, namespace: &str, account: &str, policy: &str) -> Result<()> {
        let login = json!({
            "bound_service_account_names": account, "bound_service_account_namespaces": namespace,
            "audience": "vault", "token_policies": policy, "token_ttl": "5m", "token_type": "service",
        });
        self.call("POST", &format!("auth/kubernetes/role/{role}"), &login).map(drop)
    }

    /// How the operator's settings name it, for services that log in to this role.
    pub fn connection(&self, role: &str) -> Result<Value> {
        Ok(json!({
            "address": self.address(), "caBundle": std::fs::read_to_string(self.ca_file())?,
            "kubernetesAuth": { "role": role },
        }))
    }
}
