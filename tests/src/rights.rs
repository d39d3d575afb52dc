//! Rights as RBAC grants them, one verb on one resource each, and users who have only some. It judges nothing.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role, RoleBinding};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::config::Kubeconfig;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::cluster::{Cluster, unique};
use crate::wait::{Look, wait_until};

const RIGHTS_LIMIT: Duration = Duration::from_secs(30);
const RBAC: &str = "rbac.authorization.k8s.io";

/// One verb on one resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// The verb.
    pub verb: String,
    /// API group; empty for the core.
    pub group: String,
    /// Plural name, with the subresource: `hardenedservices/status`.
    pub resource: String,
    /// The only object that it holds for, if it is narrowed.
    pub name: Option<String>,
}

impl Right {
    /// Verb, resource and group as messages of the operator have them.
    pub fn words(&self) -> String {
        let (plural, subresource) = self.resource.split_once('/').unwrap_or((&self.resource, ""));
        let dot = if self.group.is_empty() { "" } else { "." };
        let slash = if subresource.is_empty() { "" } else { "/" };
        format!("{} {plural}{dot}{}{slash}{subresource}", self.verb, self.group)
    }

    fn rule(&self) -> PolicyRule {
        PolicyRule {
            api_groups: Some(vec![self.group.clone()]),
            resources: Some(vec![self.resource.clone()]),
            resource_names: self.name.clone().map(|name| vec![name]),
            verbs: vec![self.verb.clone()],
            ..PolicyRule::default()
        }
    }
}

/// Every right of some rules.
pub fn rights(rules: &[PolicyRule]) -> Vec<Right> {
    let mut found = Vec::new();
    for rule in rules {
        let names = match &rule.resource_names {
            Some(names) => names.iter().cloned().map(Some).collect(),
            None => vec![None],
        };
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                for name in &names {
                    found.extend(rule.verbs.iter().map(|verb| Right {
                        verb: verb.clone(),
                        group: group.clone(),
                        resource: resource.clone(),
                        name: name.clone(),
                    }));
                }
            }
        }
    }
    found
}

/// Rules that grant exactly these.
pub fn rules<'a>(rights: impl IntoIterator<Item = &'a Right>) -> Vec<PolicyRule> {
    rights.into_iter().map(Right::rule).collect()
}

/// The rights of a `ClusterRole` of the chart.
pub async fn of_cluster_role(cluster: &Cluster, name: &str) -> Result<Vec<Right>> {
    let role = Api::<ClusterRole>::all(cluster.client.clone()).get(name).await?;
    Ok(rights(&role.rules.context("a ClusterRole without rules")?))
}

/// The rights of every Role in a namespace.
pub async fn of_roles(cluster: &Cluster, namespace: &str) -> Result<Vec<Right>> {
    let roles = Api::<Role>::namespaced(cluster.client.clone(), namespace);
    let roles = roles.list(&ListParams::default()).await?;
    Ok(roles.into_iter().flat_map(|role| rights(&role.rules.unwrap_or_default())).collect())
}

/// Replaces the rules of a `ClusterRole`.
pub async fn set_cluster_role(cluster: &Cluster, name: &str, rules: Vec<PolicyRule>) -> Result<()> {
    let patch = Patch::Merge(json!({"rules": rules}));
    Api::<ClusterRole>::all(cluster.client.clone()).patch(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Makes or replaces a Role of this namespace, and gives it to a user by a binding of the same name.
pub async fn grant(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    user: &str,
    rules: Vec<PolicyRule>,
) -> Result<()> {
    let apply = PatchParams::apply("testbed").force();
    let role = Role { rules: Some(rules), ..serde_json::from_value(json!({"metadata": {"name": name}}))? };
    Api::<Role>::namespaced(cluster.client.clone(), namespace)
        .patch(name, &apply, &Patch::Apply(&role))
        .await?;
    let binding: RoleBinding = serde_json::from_value(binding(name, "Role", name, user))?;
    Api::<RoleBinding>::namespaced(cluster.client.clone(), namespace)
        .patch(name, &apply, &Patch::Apply(&binding))
        .await?;
    Ok(())
}

/// Gives a user a `ClusterRole` of these rules; both end with their owner, for example a namespace.
pub async fn grant_everywhere(
    cluster: &Cluster,
    name: &str,
    user: &str,
    rules: &[PolicyRule],
    owner: &Value,
) -> Result<()> {
    let metadata = json!({"name": name, "ownerReferences": [owner]});
    let mut bound = binding(name, "ClusterRole", name, user);
    bound["metadata"] = metadata.clone();
    let role: ClusterRole = serde_json::from_value(json!({"metadata": metadata, "rules": rules}))?;
    Api::<ClusterRole>::all(cluster.client.clone()).create(&PostParams::default(), &role).await?;
    let bindings = Api::<k8s_openapi::api::rbac::v1::ClusterRoleBinding>::all(cluster.client.clone());
    bindings.create(&PostParams::default(), &serde_json::from_value(bound)?).await?;
    Ok(())
}

fn binding(name: &str, kind: &str, role: &str, user: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": role},
        "subjects": [{"kind": "User", "apiGroup": RBAC, "name": user}],
    })
}

/// Waits until the authorizer, which learns of roles by a watch of its own, gives or refuses a user this.
pub async fn until_allowed(
    cluster: &Cluster,
    user: &str,
    namespace: Option<&str>,
    right: &Right,
    allowed: bool,
) -> Result<()> {
    let (plural, subresource) = right.resource.split_once('/').unwrap_or((&right.resource, ""));
    let review: SubjectAccessReview = serde_json::from_value(json!({"spec": {
        "user": user,
        "resourceAttributes": {
            "namespace": namespace, "verb": right.verb, "group": right.group, "resource": plural,
            "subresource": subresource, "name": right.name,
        },
    }}))?;
    let reviews = Api::<SubjectAccessReview>::all(cluster.client.clone());
    let what = format!("'{}' to be {allowed} in {namespace:?}", right.words());
    wait_until(RIGHTS_LIMIT, &what, async || {
        match reviews.create(&PostParams::default(), &review).await.map(|answer| answer.status) {
            Ok(Some(status)) if status.allowed == allowed => Look::Done(()),
            other => Look::NotYet(format!("{other:?}")),
        }
    })
    .await
}

/// A kubeconfig with which the administrator acts as this user.
pub fn kubeconfig_as(cluster: &Cluster, user: &str) -> Result<PathBuf> {
    let mut file = match cluster.kubeconfig() {
        Some(path) => Kubeconfig::read_from(path)?,
        None => Kubeconfig::read()?,
    };
    for named in &mut file.auth_infos {
        named.auth_info.get_or_insert_default().impersonate = Some(user.into());
    }
    cluster.state().write(&format!("users-as/{}", unique(user)), serde_json::to_vec(&file)?)
}

/// The owner reference that ends an object with a namespace.
pub async fn owned_by_namespace(cluster: &Cluster, namespace: &str) -> Result<Value> {
    let api = Api::<k8s_openapi::api::core::v1::Namespace>::all(cluster.client.clone());
    let uid = api.get(namespace).await?.uid();
    Ok(json!({"apiVersion": "v1", "kind": "Namespace", "name": namespace, "uid": uid}))
}
