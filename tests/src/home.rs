//! A namespace for the operator's own keys that is one test's alone, with the rights that the chart gives. It starts no
//! operator.

use anyhow::Result;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::PostParams;

use crate::cluster::{Cluster, Namespace, OPERATOR_NAMESPACE};

/// Name of the chart's Role and RoleBinding in the operator's namespace.
const ROLE: &str = "hardened-operator";

/// A fresh namespace in which an operator started with `--namespace` finds no keys and may make them.
pub async fn home(cluster: &Cluster, prefix: &str) -> Result<Namespace> {
    cluster.install().await?;
    let namespace = cluster.foreign_namespace(prefix).await?;
    let roles = |namespace: &str| Api::<Role>::namespaced(cluster.client.clone(), namespace);
    let bindings = |namespace: &str| Api::<RoleBinding>::namespaced(cluster.client.clone(), namespace);
    let metadata = ObjectMeta { name: Some(ROLE.into()), ..ObjectMeta::default() };
    let role = Role { metadata: metadata.clone(), ..roles(OPERATOR_NAMESPACE).get(ROLE).await? };
    roles(&namespace.name).create(&PostParams::default(), &role).await?;
    let binding = RoleBinding { metadata, ..bindings(OPERATOR_NAMESPACE).get(ROLE).await? };
    bindings(&namespace.name).create(&PostParams::default(), &binding).await?;
    Ok(namespace)
}
