//! Does everything go when it should, and nothing else? Nothing here waits for pods.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "an object of another shape fails the test")]

use std::time::Duration;

use anyhow::{Context, Result};
use crds::SERVICE_LABEL;
use k8s_openapi::api::core::v1::Namespace as KubeNamespace;
use kube::api::{DeleteParams, DynamicObject, PostParams};
use kube::{Api, Client, ResourceExt};
use render::Kind;
use serde_json::{Value, json};
use testbed::fixture::{self, OPERATOR, Service};
use testbed::{Cluster, Look, Operator, wait_until};

const SOON: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(30);

async fn make(cluster: &Cluster, namespace: &str, example: &str) -> Result<Service> {
    let service = Service::create(cluster, namespace, &fixture::example(example)?).await?;
    service.made().await?;
    Ok(service)
}

async fn until_gone(service: &Service) -> Result<()> {
    wait_until(LIMIT, "the resource and its children to go", async || {
        let resource = service.api().get_opt(&service.name).await;
        match (resource, service.children().await) {
            (Ok(None), Ok(children)) if children.is_empty() => Look::Done(()),
            other => Look::NotYet(format!("{other:?}")),
        }
    })
    .await
}

async fn until_namespace_gone(client: &Client, name: &str) -> Result<()> {
    let namespaces = Api::<KubeNamespace>::all(client.clone());
    namespaces.delete(name, &DeleteParams::background()).await?;
    wait_until(LIMIT, "the namespace to go", async || match namespaces.get_opt(name).await {
        Ok(None) => Look::Done(()),
        other => Look::NotYet(format!("{other:?}")),
    })
    .await
}

fn uids(children: &[(Kind, Value)]) -> Vec<String> {
    let mut uids: Vec<_> =
        children.iter().map(|(kind, live)| format!("{kind:?} {}", live["metadata"]["uid"])).collect();
    uids.sort();
    uids
}

#[tokio::test]
async fn an_optional_part_that_is_removed_takes_its_child_along_and_no_other() -> Result<()> {
    let cluster = Cluster::get().await?;
    let _operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace("prune").await?;
    // A single pod has a budget only when the spec asks for one.
    let parts = [
        ("autoscaling", "autoscaling", Kind::HorizontalPodAutoscaler),
        ("minimal-development", "disruption", Kind::PodDisruptionBudget),
    ];
    for (example, field, kind) in parts {
        let service = make(&cluster, &namespace.name, example).await?;
        service.patch(&json!({"spec": {"workload": {"disruption": {"maxUnavailable": 2}}}})).await?;
        service.made().await?;
        let mut expected = service.children().await?;
        expected.retain(|(k, _)| *k != kind);
        let pods = |children: &[(Kind, Value)]| {
            let deployment = children.iter().find(|(kind, _)| *kind == Kind::Deployment).unwrap();
            (deployment.1["spec"].clone(), deployment.1["metadata"]["generation"].clone())
        };
        service.patch(&json!({"spec": {"workload": {field: null}}})).await?;
        let left = wait_until(SOON, "the child to go", async || match service.children().await {
            Ok(children) if children.iter().all(|(k, _)| *k != kind) => Look::Done(children),
            other => Look::NotYet(format!("{other:?}")),
        })
        .await?;
        let resource = service.made().await?;
        assert_eq!(uids(&left), uids(&expected), "{field}");
        assert_eq!(pods(&left), pods(&expected), "{field}: the pods were touched");
        let listed = resource.status.unwrap().children;
        assert!(listed.iter().all(|child| child.kind != kind.as_str()), "{field}: {listed:?}");
    }
    Ok(())
}

#[tokio::test]
async fn prune_leaves_objects_of_others_alone_whatever_they_are_called() -> Result<()> {
    let cluster = Cluster::get().await?;
    let _operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace("foreign").await?;
    let other = make(&cluster, &namespace.name, "minimal-production").await?.get().await?;
    let example = fixture::example("autoscaling")?;
    // A budget under the child's name, a map with our label, and one that belongs to another service of ours.
    let labels = json!({SERVICE_LABEL: example.name_any()});
    let name = example.name_any();
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name, "labels": labels},
        "spec": {"maxUnavailable": 3, "selector": {"matchLabels": {"app": "other"}}},
    });
    let owner = json!([{
        "apiVersion": "hardened.dev/v1alpha1", "kind": "HardenedService", "controller": true,
        "name": other.name_any(), "uid": other.uid(),
    }]);
    let map = |name: &str, owner: Value| {
        let metadata = json!({"name": name, "labels": labels, "ownerReferences": owner});
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    };
    let foreign = [
        (Kind::PodDisruptionBudget, budget),
        (Kind::ConfigMap, map("labelled", json!([]))),
        (Kind::ConfigMap, map("owned", owner)),
    ];
    let mut before = Vec::new();
    for (kind, object) in &foreign {
        let api: Api<DynamicObject> =
            Api::namespaced_with(cluster.client.clone(), &namespace.name, &kind.api_resource());
        before.push(api.create(&PostParams::default(), &serde_json::from_value(object.clone())?).await?.data);
    }
    let service = Service::create(&cluster, &namespace.name, &example).await?;
    service.until_reason("NameConflict").await?;
    service
        .patch(&json!({"spec": {"workload": {"autoscaling": null, "disruption": null, "replicas": 1}}}))
        .await?;
    service.made().await?;
    let autoscaler = service.child(Kind::HorizontalPodAutoscaler, &name).await?;
    assert!(autoscaler.is_none(), "the child itself was not pruned: {autoscaler:?}");
    for ((kind, object), before) in foreign.iter().zip(before) {
        let name = object["metadata"]["name"].as_str().unwrap();
        let live = service.child(*kind, name).await?.with_context(|| format!("{name} was deleted"))?;
        assert!(live["metadata"]["deletionTimestamp"].is_null(), "{live}");
        assert_eq!(live["spec"], before["spec"], "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_deleted_resource_leaves_nothing_and_the_operator_makes_nothing_anew() -> Result<()> {
    let cluster = Cluster::get().await?;
    let _operator = Operator::start(&cluster).await?;
    let audit = cluster.audit();
    for params in [DeleteParams::background(), DeleteParams::foreground()] {
        let namespace = cluster.namespace("gone").await?;
        let service = make(&cluster, &namespace.name, "autoscaling").await?;
        let mark = match &audit {
            Some(audit) => {
                fixture::rest(audit, &namespace.name).await?;
                Some(audit.mark().await?)
            }
            None => None,
        };
        service.api().delete(&service.name, &params).await?;
        until_gone(&service).await?;
        if let (Some(audit), Some(mark)) = (&audit, mark) {
            fixture::rest(audit, &namespace.name).await?;
            let seen = audit.since(mark).await?.by(OPERATOR).within(&namespace.name).writes();
            assert_eq!(seen.count(), 0, "{params:?}: {seen}");
            until_gone(&service).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_deleted_namespace_goes_and_the_operator_does_not_fight_it() -> Result<()> {
    let cluster = Cluster::get().await?;
    let operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace("ended").await?;
    make(&cluster, &namespace.name, "autoscaling").await?;
    let Some(audit) = cluster.audit() else {
        return until_namespace_gone(&cluster.client, &namespace.name).await;
    };
    fixture::rest(&audit, &namespace.name).await?;
    let mark = audit.mark().await?;
    until_namespace_gone(&cluster.client, &namespace.name).await?;
    fixture::rest(&audit, &namespace.name).await?;
    let seen = audit.since(mark).await?.by(OPERATOR).within(&namespace.name);
    let writes = seen.only(testbed::audit::Request::is_write);
    assert_eq!(writes.count(), 0, "{writes}");
    assert!(!operator.log().contains("pass failed"), "{}", operator.log());
    Ok(())
}

#[tokio::test]
async fn without_an_operator_the_resource_and_the_namespace_still_go() -> Result<()> {
    let cluster = Cluster::get().await?;
    let mut operator = Operator::start(&cluster).await?;
    let (first, second) = (cluster.namespace("alone").await?, cluster.namespace("alone").await?);
    let service = make(&cluster, &first.name, "studio").await?;
    let other = make(&cluster, &second.name, "studio").await?;
    assert_eq!(other.get().await?.finalizers(), [] as [String; 0]);
    let status = operator.stop().await?;
    assert!(status.success(), "the operator ended with {status}:\n{}", operator.log());
    service.api().delete(&service.name, &DeleteParams::foreground()).await?;
    until_gone(&service).await?;
    until_namespace_gone(&cluster.client, &second.name).await
}
