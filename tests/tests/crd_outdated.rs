//! Does an operator that is newer than the cluster's `CustomResourceDefinition` keep its hands off, say so, and go on by
//! itself after the upgrade? The server prunes what its schema lacks: acting on that would take children away.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crds::HardenedService;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use render::Kind;
use serde_json::{Value, json};
use testbed::audit::Audit;
use testbed::drift::told;
use testbed::fixture::{OPERATOR, Service, condition, example, rest};
use testbed::progress::not_checked;
use testbed::{Cluster, Look, Namespace, Operator, wait_until};

const FIELD: &str = "spec.workload.disruption";
const POINTER: &str =
    "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/workload/properties/disruption";
const LIMIT: Duration = Duration::from_secs(30);
/// Not what the operator gives without being asked.
const ALLOWED: i32 = 2;
/// Requests for each service while nothing may be done: a status and an event, each twice.
const REQUESTS: usize = 4;

#[tokio::test]
async fn an_operator_whose_fields_the_cluster_does_not_know_changes_nothing_until_it_does() -> Result<()> {
    let cluster = Cluster::get().await?;
    let Some(audit) = cluster.audit() else {
        not_checked("the definition of an existing cluster is not changed");
        return Ok(());
    };
    let operator = Operator::start(&cluster).await?;
    let result = outdated(&cluster, &audit, operator).await;
    // Also after a failure: the definition is everybody's.
    set(&cluster, &definition()?).await?;
    result
}

async fn outdated(cluster: &Cluster, audit: &Audit, mut operator: Operator) -> Result<()> {
    let namespace = cluster.namespace("outdated").await?;
    let running = service(cluster, &namespace, "running").await?;
    running.made().await?;
    rest(audit, &namespace.name).await?;
    let (before, budgeted) = (running.get().await?, budget(&running).await?);
    ensure!(budgeted == Some(json!(ALLOWED)), "the field has no effect: {budgeted:?}");
    let mark = audit.mark().await?;

    // The definition is replaced by an older one while the operator runs, and it restarts with that.
    set(cluster, &older()?).await?;
    let parts = ["the status is not written", FIELD];
    told(cluster, &running, "CrdOutdated", &parts).await?;
    let early = service(cluster, &namespace, "early").await?;
    is_refused(&early).await?;
    operator.stop().await?;
    operator.restart().await?;
    let late = service(cluster, &namespace, "late").await?;
    is_refused(&late).await?;
    late.patch(&json!({"metadata": {"annotations": {"example.com/touched": "yes"}}})).await?;
    rest(audit, &namespace.name).await?;

    let seen = audit.since(mark).await?.by(OPERATOR).within(&namespace.name);
    let writes = seen.clone().writes().only(|request| request.resource != "hardenedservices");
    ensure!(writes.count() == 0, "children were written: {writes}");
    let asked = seen.besides_watches().only(|request| request.verb != "list");
    ensure!(asked.count() <= 3 * REQUESTS, "too many requests: {asked}");
    ensure!(budget(&running).await? == budgeted, "the PodDisruptionBudget was changed");
    let now = running.get().await?;
    ensure!(now.spec.workload.disruption.is_none(), "the older definition hides nothing");
    ensure!(now.resource_version() == before.resource_version(), "a service that asks for more was written");
    let mark = audit.mark().await?;

    set(cluster, &definition()?).await?;
    for made in [&early, &late] {
        made.made().await?;
    }
    // One that was left alone shows by the next change that the operator goes on with it.
    running.patch(&json!({"spec": {"workload": {"replicas": 4}}})).await?;
    let after = running.made().await?;
    ensure!(
        after.spec.workload.disruption == before.spec.workload.disruption,
        "the field was lost: {after:#?}"
    );
    let deletes = audit.since(mark).await?.by(OPERATOR).within(&namespace.name).verb("delete");
    ensure!(deletes.count() == 0, "children were deleted: {deletes}");
    ensure!(!operator.log().contains("panic"), "{}", operator.log());
    Ok(())
}

async fn service(cluster: &Cluster, namespace: &Namespace, name: &str) -> Result<Service> {
    let mut service = studio(name)?;
    if let Some(exposure) = &mut service.spec.exposure {
        exposure.hostnames = vec![format!("{name}.example.com")];
    }
    Service::create(cluster, &namespace.name, &service).await
}

async fn is_refused(service: &Service) -> Result<()> {
    let refused = service.until_reason("CrdOutdated").await?;
    let ready = condition(&refused, "Ready").context("no Ready")?;
    for part in
        ["hardenedservices.hardened.dev", FIELD, "kubectl hardened crds | kubectl apply --server-side -f -"]
    {
        ensure!(ready.message.contains(part), "no '{part}' in: {}", ready.message);
    }
    ensure!(ready.status == "False" && condition(&refused, "Stalled").is_some_and(|c| c.status == "True"));
    Ok(())
}

/// A service with the field.
fn studio(name: &str) -> Result<HardenedService> {
    let mut service = example("studio")?;
    service.metadata.name = Some(name.into());
    service.spec.workload.disruption = Some(serde_json::from_value(json!({"maxUnavailable": ALLOWED}))?);
    Ok(service)
}

/// What the field says in the child that it is for.
async fn budget(service: &Service) -> Result<Option<Value>> {
    let budget = service.child(Kind::PodDisruptionBudget, &service.name).await?;
    Ok(budget.map(|budget| budget["spec"]["maxUnavailable"].clone()))
}

fn definition() -> Result<CustomResourceDefinition> {
    crds::all().pop().context("one CRD")
}

/// As an older version had it, without one field and the rules about it.
fn older() -> Result<CustomResourceDefinition> {
    let mut crd = serde_json::to_value(definition()?)?;
    let (holder, field) = POINTER.rsplit_once('/').context("a path")?;
    crd.pointer_mut(holder).and_then(Value::as_object_mut).context("properties")?.remove(field);
    Ok(serde_json::from_value(crd)?)
}

/// Replaces the definition, and waits until the API server goes by it.
async fn set(cluster: &Cluster, crd: &CustomResourceDefinition) -> Result<()> {
    let api = Api::<CustomResourceDefinition>::all(cluster.client.clone());
    let patch = Patch::Merge(json!({"spec": crd.spec}));
    let generation = api.patch(&crd.name_any(), &PatchParams::default(), &patch).await?.metadata.generation;
    let known = serde_json::to_value(crd)?.pointer(POINTER).is_some();
    wait_until(LIMIT, "the API server to go by the new definition", async || {
        Look::when(is_known(cluster).await.unwrap_or(!known), |found| *found == known)
    })
    .await
    .with_context(|| format!("generation {generation:?}"))?;
    Ok(())
}

/// Whether the server keeps the field of an object that is not stored.
async fn is_known(cluster: &Cluster) -> Result<bool> {
    let service = studio("probe")?;
    let api = Api::<HardenedService>::namespaced(cluster.client.clone(), "default");
    let params = kube::api::PostParams { dry_run: true, ..Default::default() };
    let kept = api.create(&params, &service).await?;
    Ok(serde_json::to_value(kept)?.pointer("/spec/workload/disruption").is_some_and(|field| !field.is_null()))
}
