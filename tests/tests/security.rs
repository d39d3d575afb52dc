//! Do the pods of every example start where Pod Security `restricted` is enforced? Asked of the real `ReplicaSets`.

use std::time::Duration;

use anyhow::{Context, Result};
use crds::HardenedService;
use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::api::{ListParams, PostParams};
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use testbed::fixture::{Service, bring_secrets, examples};
use testbed::{Cluster, Look, Operator, wait_until};

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_pods_of_every_example_are_admitted_in_a_restricted_namespace() -> Result<()> {
    let cluster = Cluster::get().await?;
    let _operator = Operator::start(&cluster).await?;
    let examples = examples()?;
    assert!(examples.len() > 10, "only {} examples", examples.len());
    let cluster = &cluster;
    try_join_all(examples.iter().map(async |(example, service)| {
        // Examples share names; each namespace enforces `restricted`.
        let namespace = cluster.namespace("secure").await?;
        prepare(cluster, &namespace.name, service).await?;
        Service::create(cluster, &namespace.name, service).await?.made().await?;
        admitted(cluster, &namespace.name).await.with_context(|| example.clone())
    }))
    .await?;
    Ok(())
}

#[tokio::test]
async fn the_same_look_finds_a_pod_that_is_not_restricted() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("open").await?;
    let open = json!({"metadata": {"name": "open"}, "spec": {
        "selector": {"matchLabels": {"app": "open"}},
        "template": {
            "metadata": {"labels": {"app": "open"}},
            "spec": {"containers": [{"name": "app", "image": "registry.local/open:1"}]},
        },
    }});
    make::<Deployment>(&Api::namespaced(cluster.client.clone(), &namespace.name), open).await?;
    let refused = admitted(&cluster, &namespace.name).await.unwrap_err();
    assert!(format!("{refused:#}").contains("violates PodSecurity \"restricted"), "{refused:#}");
    Ok(())
}

/// Waits until the one ReplicaSet of a namespace has all its pods; fails at once when one is refused.
async fn admitted(cluster: &Cluster, namespace: &str) -> Result<()> {
    let sets = Api::<ReplicaSet>::namespaced(cluster.client.clone(), namespace);
    let pods = Api::<Pod>::namespaced(cluster.client.clone(), namespace);
    wait_until(LIMIT, "the pods", async || {
        let (sets, pods) = (sets.list(&ListParams::default()).await, pods.list(&ListParams::default()).await);
        let (Ok(sets), Ok(pods)) = (sets, pods) else { return Look::NotYet("no answer".to_owned()) };
        let [set] = &*sets.items else { return Look::NotYet(format!("{} sets", sets.items.len())) };
        let mut conditions = set.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let failure = conditions.find(|condition| condition.type_.as_deref() == Some("ReplicaFailure"));
        if let Some(failure) = failure {
            return Look::Done(Err(anyhow::anyhow!("{}", failure.message.as_deref().unwrap_or_default())));
        }
        let wanted = set.spec.replicas.unwrap_or(1);
        if pods.items.len() == usize::try_from(wanted).unwrap_or(0) && wanted > 0 {
            return Look::Done(Ok(()));
        }
        Look::NotYet(format!("{} of {wanted} pods", pods.items.len()))
    })
    .await?
}

/// Makes what a user must bring along: labelled Secrets, a `PriorityClass`.
async fn prepare(cluster: &Cluster, namespace: &str, service: &HardenedService) -> Result<()> {
    bring_secrets(cluster, namespace, service).await?;
    if let Some(name) = &service.spec.workload.priority_class_name {
        let class = json!({"metadata": {"name": name}, "value": 1000});
        make::<PriorityClass>(&Api::all(cluster.client.clone()), class).await?;
    }
    Ok(())
}

/// Creates an object; one of that name may be there.
async fn make<K>(api: &Api<K>, object: Value) -> Result<()>
where
    K: Resource + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    match api.create(&PostParams::default(), &serde_json::from_value(object)?).await {
        Err(kube::Error::Api(status)) if !status.is_already_exists() => Err(status.into()),
        Err(kube::Error::Api(_)) | Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
