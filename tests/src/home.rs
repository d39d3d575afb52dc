//! A namespace for the operator's own keys that is one test's alone, with the rights that the chart gives. It starts no
//! operator.

use anyhow::Result;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::PostParams;

use crate::cluster::{Cluster, Namespace, OPERATOR_NAMESPACE};

/// The chart's Roles, which have bindings of the same name: for keys in the operator's namespace, and for its Lease.
const ROLES: [(&str, &str); 2] =
    [(OPERATOR_NAMESPACE, "hardened-operator"), ("kube-system", "hardened-operator-leader")];

/// Arguments that let an operator work from there.
pub fn at(home: &Namespace) -> Vec<String> {
    ["--namespace", &home.name, "--lease-namespace", &home.name].map(str::to_owned).to_vec()
}

/// A fresh namespace in which an operator started with these arguments finds neither keys nor Lease, and may make them.
pub async fn home(cluster: &Cluster, prefix: &str) -> Result<Namespace> {
    cluster.install().await?;
    let namespace = cluster.foreign_namespace(prefix).await?;
    let roles = |namespace: &str| Api::<Role>::namespaced(cluster.client.clone(), namespace);
    let bindings = |namespace: &str| Api::<RoleBinding>::namespaced(cluster.client.clone(), namespace);
    for (from, name) in ROLES {
        let metadata = ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() };
        let role = Role { metadata: metadata.clone(), ..roles(from).get(name).await? };
        roles(&namespace.name).create(&PostParams::default(), &role).await?;
        let binding = RoleBinding { metadata, ..bindings(from).get(name).await? };
        bindings(&namespace.name).create(&PostParams::default(), &binding).await?;
    }
    Ok(namespace)
}
