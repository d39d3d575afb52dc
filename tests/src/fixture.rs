//! A service and its children as a test sees them: made, looked at, changed. It judges nothing; tests say what they
//! expect.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use crds::{ChildState, HardenedService, SERVICE_LABEL};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use render::{Facts, Kind};
use serde_json::{Value, json};

use crate::audit::{Audit, Request};
use crate::cluster::Cluster;
use crate::provided::Provided;
use crate::state::checkout;
use crate::wait::{Look, until_still, wait_until};

/// User of the operator, as the audit log has it.
pub const OPERATOR: &str = crate::pki::OPERATOR_USER;
/// Within this the operator has done what it can do.
const MADE_LIMIT: Duration = Duration::from_mins(1);
/// As long without a request means that the operator is done.
const REST: Duration = Duration::from_millis(1500);

/// A service in a namespace of a cluster.
#[derive(Clone)]
pub struct Service {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    client: Client,
}

/// `examples/NAME.yaml`.
pub fn example(name: &str) -> Result<HardenedService> {
    let text = fs::read_to_string(checkout().join(format!("examples/{name}.yaml")))?;
    serde_saphyr::from_str(&text).with_context(|| format!("read example {name}"))
}

/// The same under another name.
pub fn named(file: &str, name: &str) -> Result<HardenedService> {
    let mut service = example(file)?;
    service.metadata.name = Some(name.into());
    Ok(service)
}

/// Every example with the name of its file, sorted.
pub fn examples() -> Result<Vec<(String, HardenedService)>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(checkout().join("examples"))? {
        let path = entry?.path();
        names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
    }
    names.sort();
    names.into_iter().map(|name| Ok((name.clone(), example(&name)?))).collect()
}

/// Makes the Secrets that a service names, labelled for it, as their owner does.
pub async fn bring_secrets(cluster: &Cluster, namespace: &str, service: &HardenedService) -> Result<()> {
    let api = Api::<Secret>::namespaced(cluster.client.clone(), namespace);
    for (field, name) in render::referenced_secrets(service) {
        let secret = if field == render::PROVIDED_CERTIFICATE {
            let hosts = service.spec.exposure.iter().flat_map(|exposure| &exposure.hostnames);
            let hosts: Vec<_> = hosts.map(String::as_str).collect();
            Provided::for_names(&hosts)?.secret(&name, &service.name_any())
        } else {
            let labels = json!({SERVICE_LABEL: service.name_any()});
            let values = values(service, &name);
            serde_json::from_value(
                json!({"metadata": {"name": name, "labels": labels}, "stringData": values}),
            )?
        };
        api.create(&PostParams::default(), &secret).await?;
    }
    Ok(())
}

/// What stands in such a Secret: the address of the store, or every key that `spec.secrets` chooses.
fn values(service: &HardenedService, name: &str) -> BTreeMap<String, String> {
    let sources = service.spec.secrets.iter().flat_map(|secrets| &secrets.sources);
    let source = sources.filter_map(|source| source.secret.as_ref()).find(|source| source.name == name);
    match source {
        Some(source) => {
            source.keys.iter().map(|key| (key.key.clone(), format!("value of {}", key.key))).collect()
        }
        None => BTreeMap::from([("url".to_owned(), "redis://redis".to_owned())]),
    }
}

/// One condition of a service's status.
pub fn condition<'a>(service: &'a HardenedService, type_: &str) -> Option<&'a Condition> {
    service.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == type_)
}

/// Status, reason and message of a condition; empty without one.
pub fn words(service: &HardenedService, type_: &str) -> (String, String, String) {
    let found = condition(service, type_);
    found.map_or_else(Default::default, |c| (c.status.clone(), c.reason.clone(), c.message.clone()))
}

/// Kinds and names of the children that the spec asks for, in the order in which they are applied.
pub fn wanted(service: &HardenedService) -> Vec<(Kind, String)> {
    // Without the number of pods that status remembers: it is for a Deployment that was deleted.
    let service = HardenedService { status: None, ..service.clone() };
    let children = render::desired(&service, &Facts::default()).into_objects();
    children.into_iter().map(|child| (child.kind, child.name)).collect()
}

/// Waits until the operator has sent nothing besides watches, events and renewals of its lease for a moment, in this
/// namespace or, when it is empty, at all.
pub async fn rest(audit: &Audit, namespace: &str) -> Result<()> {
    let mark = audit.mark().await?;
    until_still(MADE_LIMIT, "the operator to rest", REST, async || {
        let seen = audit.since(mark).await?.by(OPERATOR).besides_watches();
        let seen = seen.only(|request| concerns(request, namespace));
        Ok((seen.count(), seen.to_string()))
    })
    .await
}

fn concerns(request: &Request, namespace: &str) -> bool {
    !["events", "leases"].contains(&&*request.resource)
        && (namespace.is_empty() || request.namespace == namespace)
}

impl Service {
    /// Creates the resource as the administrator.
    pub async fn create(cluster: &Cluster, namespace: &str, service: &HardenedService) -> Result<Self> {
        let made =
            Self { namespace: namespace.into(), name: service.name_any(), client: cluster.client.clone() };
        let service = HardenedService { status: None, ..service.clone() };
        made.api()
            .create(&PostParams::default(), &service)
            .await
            .with_context(|| format!("create {}", made.name))?;
        Ok(made)
    }

    /// The API of its namespace.
    pub fn api(&self) -> Api<HardenedService> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The API of one kind of its children.
    pub fn children_api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind.api_resource())
    }

    /// The resource now.
    pub async fn get(&self) -> Result<HardenedService> {
        Ok(self.api().get(&self.name).await?)
    }

    /// Merges something into the resource.
    pub async fn patch(&self, patch: &Value) -> Result<HardenedService> {
        Ok(self.api().patch(&self.name, &PatchParams::default(), &Patch::Merge(patch)).await?)
    }

    /// One child by kind and name, as JSON.
    pub async fn child(&self, kind: Kind, name: &str) -> Result<Option<Value>> {
        let found = self.children_api(kind).get_opt(name).await?;
        Ok(found.map(serde_json::to_value).transpose()?)
    }

    /// Everything of every kind that carries the service's label, as JSON.
    pub async fn children(&self) -> Result<Vec<(Kind, Value)>> {
        let params = ListParams::default().labels(&format!("{SERVICE_LABEL}={}", self.name));
        let mut found = Vec::new();
        for kind in Kind::BUILT_IN {
            for object in self.children_api(kind).list(&params).await? {
                found.push((kind, serde_json::to_value(object)?));
            }
        }
        Ok(found)
    }

    /// Waits until the resource passes a test, and returns it.
    pub async fn until(
        &self,
        what: &str,
        test: impl Fn(&HardenedService) -> bool,
    ) -> Result<HardenedService> {
        wait_until(MADE_LIMIT, what, async || match self.get().await {
            Ok(service) if test(&service) => Look::Done(service),
            Ok(service) => Look::NotYet(format!("{:#?}", service.status)),
            Err(error) => Look::NotYet(error.to_string()),
        })
        .await
    }

    /// Waits until Ready has this reason for the present spec.
    pub async fn until_reason(&self, reason: &str) -> Result<HardenedService> {
        self.until(&format!("Ready to say {reason}"), |service| {
            let current = service.metadata.generation;
            condition(service, "Ready")
                .is_some_and(|c| c.reason == reason && c.observed_generation == current)
        })
        .await
    }

    /// Waits until every child of the present spec exists and status says so. Pods do not run in a control plane
    /// without nodes, so this does not ask for Ready.
    pub async fn made(&self) -> Result<HardenedService> {
        let what = format!("every child of {}/{}", self.namespace, self.name);
        let service = self.until(&what, is_made).await?;
        for (kind, name) in wanted(&service) {
            let found = self.child(kind, &name).await?;
            found.with_context(|| {
                format!("status says that {} {name} is there, but it is not", kind.as_str())
            })?;
        }
        Ok(service)
    }

    /// Waits until the `PodDisruptionBudget` has this `maxUnavailable`, or until there is none.
    pub async fn until_budget(&self, most: Option<i64>) -> Result<()> {
        let found = async || {
            let live = self.child(Kind::PodDisruptionBudget, &self.name).await?;
            anyhow::Ok(live.and_then(|live| live["spec"]["maxUnavailable"].as_i64()))
        };
        wait_until(MADE_LIMIT, &format!("a budget of {most:?}"), async || match found().await {
            Ok(found) if found == most => Look::Done(()),
            other => Look::NotYet(format!("{other:?}")),
        })
        .await
    }
}

fn is_made(service: &HardenedService) -> bool {
    let Some(status) = &service.status else { return false };
    let applied = |(kind, name): &(Kind, String)| {
        let listed = status.children.iter().find(|child| child.kind == kind.as_str() && child.name == *name);
        listed.is_some_and(|child| child.state == ChildState::Applied)
    };
    let wanted = wanted(service);
    status.observed_generation == service.metadata.generation
        && status.children.len() == wanted.len()
        && wanted.iter().all(applied)
}
