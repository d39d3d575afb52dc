//! Does the resource say how it is in the words that kubectl, Helm, Argo CD and Flux read? No pod runs here; where a
//! ready one is needed, the test says in its status that it is.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "an object of another shape fails the test")]

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use crds::{ConditionType, HardenedService};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use render::Kind;
use serde_json::{Value, json};
use testbed::fixture::{self, Service, condition};
use testbed::install::kubectl;
use testbed::{Cluster, Look, Operator, wait_until};

const SOON: Duration = Duration::from_secs(10);

fn is(service: &HardenedService, type_: ConditionType) -> bool {
    condition(service, type_.as_str()).unwrap().status == "True"
}

/// What kstatus reads: the generation, and never two answers at once.
fn check(service: &HardenedService, what: &str) {
    let status = service.status.as_ref().unwrap();
    assert_eq!(status.observed_generation, service.metadata.generation, "{what}");
    let types: BTreeSet<_> = status.conditions.iter().map(|condition| &*condition.type_).collect();
    assert_eq!(types.len(), status.conditions.len(), "{what}: a condition is there twice");
    for condition in &status.conditions {
        let known = ConditionType::ALL.iter().any(|type_| type_.as_str() == condition.type_);
        assert!(known && !condition.reason.is_empty(), "{what}: {condition:?}");
    }
    let [ready, reconciling, stalled] =
        [ConditionType::Ready, ConditionType::Reconciling, ConditionType::Stalled];
    assert!(!(is(service, reconciling) && is(service, stalled)), "{what}: {:?}", status.conditions);
    if is(service, ready) {
        assert!(!is(service, reconciling) && !is(service, stalled), "{what}: {:?}", status.conditions);
    }
}

/// Says of every pod of the service that it is ready, as a kubelet would, until the service says so.
async fn until_ready(cluster: &Cluster, service: &Service) -> Result<HardenedService> {
    let pods = Api::<Pod>::namespaced(cluster.client.clone(), &service.namespace);
    let condition = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let patch = Patch::Strategic(json!({"status": {"phase": "Running", "conditions": [condition]}}));
    wait_until(SOON, "the service to be ready", async || {
        let mut names = Vec::new();
        for pod in pods.list(&ListParams::default()).await.into_iter().flatten() {
            let name = pod.metadata.name.unwrap_or_default();
            let ready =
                pod.status.and_then(|s| s.conditions).into_iter().flatten().any(|c| c.type_ == "Ready");
            if !ready && let Err(error) = pods.patch_status(&name, &PatchParams::default(), &patch).await {
                return Look::NotYet(error.to_string());
            }
            names.push(name);
        }
        match service.get().await {
            Ok(service) if condition_is(&service, "True") => Look::Done(service),
            other => Look::NotYet(format!("pods {names:?}, {:#?}", other.map(|service| service.status))),
        }
    })
    .await
}

fn condition_is(service: &HardenedService, status: &str) -> bool {
    let current = service.metadata.generation;
    condition(service, "Ready").is_some_and(|c| c.status == status && c.observed_generation == current)
}

#[tokio::test]
async fn a_resource_that_nobody_has_looked_at_does_not_pass_for_done() -> Result<()> {
    let cluster = Cluster::get().await?;
    let mut operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace("unseen").await?;
    operator.stop().await?;
    let service =
        Service::create(&cluster, &namespace.name, &fixture::example("minimal-production")?).await?;
    assert_eq!(service.get().await?.status.context("no status")?.observed_generation, Some(-1));
    operator.restart().await?;
    check(&service.made().await?, "after the first look");
    Ok(())
}

#[tokio::test]
async fn ready_comes_with_the_pods_and_goes_with_a_new_spec_or_a_mistake() -> Result<()> {
    let cluster = Cluster::get().await?;
    let _operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace("kstatus").await?;
    let service = Service::create(&cluster, &namespace.name, &fixture::example("studio")?).await?;

    let progressing = service.until_reason("Progressing").await?;
    check(&progressing, "without pods");
    assert!(is(&progressing, ConditionType::Reconciling));
    let ready = until_ready(&cluster, &service).await?;
    check(&ready, "with pods");
    let reasons: BTreeSet<_> = ready.status.unwrap().conditions.into_iter().map(|c| c.reason).collect();
    assert_eq!(reasons, BTreeSet::from(["Ready".to_owned()]));
    let resource = format!("hsvc/{}", service.name);
    kubectl(
        &cluster,
        &["wait", "--for=condition=Ready", "--timeout=1s", "-n", &namespace.name, &resource],
        "",
    )?;

    // New pods, which are not ready.
    service.patch(&json!({"spec": {"workload": {"env": [{"name": "MODE", "value": "two"}]}}})).await?;
    let again = service.until_reason("Progressing").await?;
    check(&again, "with a new spec");
    assert!(is(&again, ConditionType::Reconciling) && condition_is(&again, "False"));
    until_ready(&cluster, &service).await?;

    service.patch(&json!({"spec": {"exposure": {"hostnames": ["bank.example.org"]}}})).await?;
    let stalled = service.until_reason("HostNotAllowed").await?;
    check(&stalled, "with a mistake");
    assert!(is(&stalled, ConditionType::Stalled));
    service.patch(&json!({"spec": {"exposure": null}})).await?;
    service.until("Ready again", |service| condition_is(service, "True")).await?;

    service.patch(&json!({"spec": {"suspend": true}})).await?;
    let suspended = service.until_reason("Suspended").await?;
    check(&suspended, "suspended");
    assert!(is(&suspended, ConditionType::Ready), "what was ready still runs while suspended");
    Ok(())
}

/// Header and first row, by column.
fn table(text: &str) -> Vec<(String, String)> {
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    let row = lines.next().unwrap_or_default();
    let starts: Vec<_> = header
        .char_indices()
        .filter(|(at, c)| *c != ' ' && (*at == 0 || header.as_bytes()[at - 1] == b' '))
        .map(|(at, _)| at)
        .collect();
    let cell = |line: &str, index: usize| {
        let end = starts.get(index + 1).copied().unwrap_or(line.len());
        line.get(starts[index]..end).unwrap_or_default().trim().to_owned()
    };
    (0..starts.len()).map(|index| (cell(header, index), cell(row, index))).collect()
}

#[tokio::test]
async fn kubectl_get_shows_what_a_user_asks_first() -> Result<()> {
    let cluster = Cluster::get().await?;
    let _operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace("columns").await?;
    let service = Service::create(&cluster, &namespace.name, &fixture::example("studio")?).await?;
    until_ready(&cluster, &service).await?;
    let columns = table(&kubectl(&cluster, &["get", "hsvc", "-n", &namespace.name], "")?);
    let names: Vec<_> = columns.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["NAME", "READY", "STATUS", "REPLICAS", "URL", "AGE"]);
    let values: Vec<_> = columns[..5].iter().map(|(_, value)| &**value).collect();
    assert_eq!(values, ["studio", "True", "Ready", "2", "https://studio.example.com"]);
    let wide = table(&kubectl(&cluster, &["get", "hardened", "-o", "wide", "-n", &namespace.name], "")?);
    let (message, expiry) = (&wide[6], &wide[7]);
    assert_eq!((&*message.0, &*expiry.0), ("MESSAGE", "TLS-EXPIRY"));
    let status = service.get().await?.status.context("no status")?;
    let not_after = serde_json::to_value(status.tls.context("no certificate")?.not_after)?;
    assert_eq!(Value::from(expiry.1.clone()), not_after);
    assert!(message.1.contains("everything"), "{}", message.1);
    Ok(())
}

/// Replicas of the Deployment, once they are so many.
async fn until_replicas(service: &Service, replicas: i64) -> Result<()> {
    wait_until(SOON, &format!("{replicas} replicas"), async || {
        match service.child(Kind::Deployment, &service.name).await {
            Ok(Some(live)) if live["spec"]["replicas"] == replicas => Look::Done(()),
            other => Look::NotYet(format!("{other:?}")),
        }
    })
    .await
}

#[tokio::test]
async fn kubectl_scale_sets_the_replicas_of_the_spec_and_the_pods_follow() -> Result<()> {
    let cluster = Cluster::get().await?;
    let _operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace("scale").await?;
    let mut example = fixture::example("minimal-production")?;
    example.spec.workload.replicas = Some(3);
    let service = Service::create(&cluster, &namespace.name, &example).await?;
    service.made().await?;
    until_replicas(&service, 3).await?;
    let scale = |replicas: &str| {
        let resource = format!("hsvc/{}", service.name);
        kubectl(&cluster, &["scale", &resource, "-n", &namespace.name, "--replicas", replicas], "")
    };
    scale("4")?;
    assert_eq!(service.get().await?.spec.workload.replicas, Some(4));
    until_replicas(&service, 4).await?;
    let counted = service.until("status to count the pods", |service| {
        service.status.as_ref().is_some_and(|status| status.replicas == Some(4))
    });
    let selector = counted.await?.status.unwrap().selector.unwrap();
    let pods = Api::<Pod>::namespaced(cluster.client.clone(), &namespace.name);
    assert_eq!(pods.list(&ListParams::default().labels(&selector)).await?.items.len(), 4);
    let read = service.api().get_scale(&service.name).await?;
    assert_eq!(read.status.context("no status")?.selector, Some(selector));
    Ok(())
}

#[tokio::test]
async fn kubectl_scale_takes_over_replicas_that_the_spec_left_open_but_not_from_an_autoscaler() -> Result<()>
{
    let cluster = Cluster::get().await?;
    let _operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace("open").await?;
    let open = Service::create(&cluster, &namespace.name, &fixture::example("minimal-production")?).await?;
    let scaled = Service::create(&cluster, &namespace.name, &fixture::example("autoscaling")?).await?;
    open.made().await?;
    scaled.made().await?;
    let scale = |service: &Service| {
        let resource = format!("hsvc/{}", service.name);
        kubectl(&cluster, &["scale", &resource, "-n", &namespace.name, "--replicas", "4"], "")
    };
    scale(&open)?;
    assert_eq!(open.get().await?.spec.workload.replicas, Some(4));
    until_replicas(&open, 4).await?;
    let refused = scale(&scaled).unwrap_err().to_string();
    assert!(refused.contains("spec.workload.replicas") && refused.contains("autoscaling"), "{refused}");
    until_replicas(&scaled, 3).await
}
