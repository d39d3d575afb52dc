//! Does the operator leave the API server and the pods alone when nothing is to be done? Nothing here is drift.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use kube::api::{Patch, PatchParams};
use render::Kind;
use serde_json::{Value, json};
use testbed::audit::{Audit, Requests};
use testbed::fixture::{self, OPERATOR, Service};
use testbed::{Cluster, Look, Namespace, Operator, wait_until};

const NAMESPACES: usize = 5;
const SERVICES: usize = 10;
const QUIET: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_secs(20);

/// So many services in each of so many namespaces, with all their children.
async fn make(cluster: &Cluster, audit: &Audit) -> Result<(Vec<Namespace>, Vec<Service>)> {
    let namespaces = try_join_all((0..NAMESPACES).map(|_| cluster.namespace("quiet"))).await?;
    let example = fixture::example("minimal-production")?;
    let services =
        namespaces.iter().flat_map(|namespace| (0..SERVICES).map(move |number| (namespace, number)));
    let services = try_join_all(services.map(|(namespace, number)| {
        let mut service = example.clone();
        service.metadata.name = Some(format!("hello-{number}"));
        async move { Service::create(cluster, &namespace.name, &service).await }
    }))
    .await?;
    for service in &services {
        service.made().await?;
    }
    fixture::rest(audit, "").await?;
    Ok((namespaces, services))
}

/// What the operator asked of these namespaces or of none.
fn of_operator(seen: Requests, namespaces: &[Namespace]) -> Requests {
    let ours = |name: &str| name.is_empty() || namespaces.iter().any(|namespace| namespace.name == name);
    seen.by(OPERATOR).only(|request| ours(&request.namespace))
}

/// uid and generation of every child: a rollout would be a new generation of a Deployment.
async fn generations(services: &[Service]) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for service in services {
        for (kind, live) in service.children().await? {
            let metadata = &live["metadata"];
            found.push(json!([kind.as_str(), metadata["uid"], metadata["generation"]]));
        }
    }
    Ok(found)
}

#[tokio::test]
async fn fifty_services_cost_nothing_while_nothing_changes_and_a_killed_operator_only_reads() -> Result<()> {
    let cluster = Cluster::get().await?;
    let Some(audit) = cluster.audit() else { return Ok(()) };
    let mut operator = Operator::start(&cluster).await?;
    let (namespaces, services) = make(&cluster, &audit).await?;

    let mark = audit.mark().await?;
    tokio::time::sleep(QUIET).await;
    let seen = of_operator(audit.since(mark).await?, &namespaces).besides_watches();
    assert_eq!(seen.count(), 0, "nothing had changed: {seen}");

    let before = generations(&services).await?;
    let mark = audit.mark().await?;
    operator.kill().await?;
    operator.restart().await?;
    fixture::rest(&audit, "").await?;
    let seen = of_operator(audit.since(mark).await?, &namespaces);
    let writes = seen.clone().only(testbed::audit::Request::is_write);
    assert_eq!(writes.count(), 0, "a restart wrote or asked what a write would do: {writes}");
    for namespace in &namespaces {
        let gets = seen.clone().within(&namespace.name).verb("get");
        let mut names: Vec<_> = gets.0.iter().map(|get| (&*get.resource, &get.name)).collect();
        names.sort();
        names.dedup();
        assert!(names.iter().all(|(resource, _)| *resource == "secrets"), "{gets}");
        assert_eq!(names.len(), gets.count(), "a Secret was read twice: {gets}");
        assert!(names.len() <= SERVICES, "{gets}");
    }
    let lists = seen.clone().verb("list").count();
    // Services, namespaces, the definition; each kind of child, but Secrets by namespace.
    assert_eq!(
        lists,
        3 + Kind::BUILT_IN.len() - 1 + NAMESPACES,
        "one list for each watch: {}",
        seen.verb("list")
    );
    assert_eq!(generations(&services).await?, before, "the restart changed children");
    Ok(())
}

/// How many passes the operator has made, by its own count.
async fn passes(operator: &Operator) -> Result<u64> {
    operator.counted("hardened_reconciles_total{result=\"ok\"}").await
}

/// Waits until the operator has looked again, and is done.
async fn looked(operator: &Operator, audit: &Audit, before: u64) -> Result<()> {
    wait_until(SOON, "the operator to look", async || match passes(operator).await {
        Ok(now) if now > before => Look::Done(()),
        other => Look::NotYet(format!("{other:?} passes")),
    })
    .await?;
    fixture::rest(audit, "").await
}

#[tokio::test]
async fn an_annotation_or_a_label_on_the_resource_is_looked_at_and_costs_no_request() -> Result<()> {
    let cluster = Cluster::get().await?;
    let Some(audit) = cluster.audit() else { return Ok(()) };
    let operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace("annotated").await?;
    let service = Service::create(&cluster, &namespace.name, &fixture::example("studio")?).await?;
    service.made().await?;
    fixture::rest(&audit, "").await?;
    for field in ["annotations", "labels"] {
        let (before, mark) = (passes(&operator).await?, audit.mark().await?);
        service.patch(&json!({"metadata": {field: {"team": "video"}}})).await?;
        looked(&operator, &audit, before).await?;
        let seen = audit.since(mark).await?.by(OPERATOR).within(&namespace.name).besides_watches();
        assert_eq!(seen.count(), 0, "{field}: {seen}");
    }
    Ok(())
}

#[tokio::test]
async fn a_status_tick_of_a_child_writes_to_no_child() -> Result<()> {
    let cluster = Cluster::get().await?;
    let Some(audit) = cluster.audit() else { return Ok(()) };
    let operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace("tick").await?;
    let service = Service::create(&cluster, &namespace.name, &fixture::example("autoscaling")?).await?;
    service.made().await?;
    fixture::rest(&audit, "").await?;
    let condition = json!({
        "type": "Ticked", "status": "True", "reason": "Tick", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    // Controllers may write these again, which is one more tick.
    let kinds = [Kind::Deployment, Kind::Service, Kind::PodDisruptionBudget, Kind::HorizontalPodAutoscaler];
    for kind in kinds {
        let (before, mark) = (passes(&operator).await?, audit.mark().await?);
        let patch = json!({"status": {"conditions": [condition]}});
        let api = service.children_api(kind);
        let ticked = api.patch_status(&service.name, &PatchParams::default(), &Patch::Merge(&patch)).await;
        let ticked = ticked.with_context(|| format!("tick {}", kind.as_str()))?;
        assert!(ticked.data["status"]["conditions"].to_string().contains("Ticked"), "{}", ticked.data);
        match kind {
            Kind::Deployment => looked(&operator, &audit, before).await?,
            // Nobody reads the status of the others.
            _ => fixture::rest(&audit, "").await?,
        }
        let seen = audit.since(mark).await?.by(OPERATOR).within(&namespace.name);
        let writes = seen.only(|r| r.is_write() && !["events", "hardenedservices"].contains(&&*r.resource));
        assert_eq!(writes.count(), 0, "{}: {writes}", kind.as_str());
    }
    Ok(())
}
