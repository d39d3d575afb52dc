//! ServiceAccounts, and tokens of theirs as a kubelet projects them into a pod. It runs no pod.

use anyhow::{Context, Result};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use crate::cluster::{Cluster, unique};
use crate::rights::{Right, owned_by_namespace, until_allowed};

/// The shortest life that a token may have.
const LIFETIME_SECONDS: i64 = 600;

/// Makes one.
pub async fn create(cluster: &Cluster, namespace: &str, name: &str) -> Result<()> {
    let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    accounts(cluster, namespace).create(&PostParams::default(), &account).await?;
    Ok(())
}

/// A token of it for this audience, or for the apiserver itself.
pub async fn token(cluster: &Cluster, namespace: &str, name: &str, audience: Option<&str>) -> Result<String> {
    let audiences: Vec<_> = audience.into_iter().collect();
    let request: TokenRequest = serde_json::from_value(json!({
        "spec": {"audiences": audiences, "expirationSeconds": LIFETIME_SECONDS},
    }))?;
    let answer = accounts(cluster, namespace)
        .create_token_request(name, &PostParams::default(), &request)
        .await
        .with_context(|| format!("ask for a token of {namespace}/{name}"))?;
    answer.status.and_then(|status| status.token).context("a token request without an answer")
}

/// Makes one that may ask the apiserver whose a token is, and gives a token with which it does; Vault needs it for the
/// logins of others.
pub async fn reviewer(cluster: &Cluster, namespace: &str, name: &str) -> Result<String> {
    create(cluster, namespace, name).await?;
    let owner = owned_by_namespace(cluster, namespace).await?;
    let binding: ClusterRoleBinding = serde_json::from_value(json!({
        "metadata": {"name": unique("reviewer"), "ownerReferences": [owner]},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    }))?;
    Api::<ClusterRoleBinding>::all(cluster.client.clone()).create(&PostParams::default(), &binding).await?;
    let (user, right) = (format!("system:serviceaccount:{namespace}:{name}"), review());
    until_allowed(cluster, &user, None, &right, true).await?;
    token(cluster, namespace, name, None).await
}

fn review() -> Right {
    Right {
        verb: "create".into(),
        group: "authentication.k8s.io".into(),
        resource: "tokenreviews".into(),
        name: None,
    }
}

fn accounts(cluster: &Cluster, namespace: &str) -> Api<ServiceAccount> {
    Api::namespaced(cluster.client.clone(), namespace)
}
