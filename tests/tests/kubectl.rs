//! What people do to a Deployment by hand with kubectl: a restart and a scale are theirs, everything else is undone and
//! told with the field of the resource that does the same.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crds::RestartCause;
use kube::api::Patch;
use render::Kind;
use serde_json::{Value, json};
use testbed::drift::{attack, essence, revisions, told, undone};
use testbed::fixture::{self, OPERATOR, Service, example};
use testbed::install::kubectl;
use testbed::{Cluster, Look, Namespace, Operator, audit::Mark, wait_until};

const SOON: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_restart_is_kept_counted_once_and_makes_one_revision() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("restart").await?;
    let mut operator = Operator::start(&cluster).await?;
    let service = made(&cluster, &namespace, "studio", json!({})).await?;
    let first = revisions(&cluster, &service).await?;
    assert_eq!(first.len(), 1, "{first:?}");
    counted(&operator, 0).await?;
    let mark = mark(&cluster).await?;
    by_hand(&cluster, &service, &["rollout", "restart"], &[])?;
    let seen = service
        .until("the restart in status", |s| s.status.as_ref().is_some_and(|s| !s.restarts.is_empty()))
        .await?;
    let restarts = seen.status.context("no status")?.restarts;
    assert_eq!(restarts.iter().map(|restart| restart.cause).collect::<Vec<_>>(), [RestartCause::Manual]);
    counted(&operator, 1).await?;
    quiet(&cluster, &service, mark).await?;
    let second = revisions(&cluster, &service).await?;
    assert_eq!((second.len(), &second[1]), (2, &first[0]), "{second:?}");

    add_container(&service).await?;
    operator.kill().await?;
    operator.restart().await?;
    add_container(&service).await?;
    assert_eq!(
        revisions(&cluster, &service).await?[0],
        second[0],
        "an attack on top brought back another revision"
    );
    let ledger = service.get().await?.status.context("no status")?.restarts;
    let by_hand: Vec<_> = ledger.into_iter().filter(|r| r.cause == RestartCause::Manual).collect();
    assert_eq!(by_hand, restarts, "the same restart counts once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_number_of_pods_is_whose_the_spec_leaves_it_to() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("scale").await?;
    let _operator = Operator::start(&cluster).await?;
    let free = made(&cluster, &namespace, "studio", json!({})).await?;
    let fixed = made(&cluster, &namespace, "minimal-production", json!({"replicas": 3})).await?;
    let automatic = made(&cluster, &namespace, "autoscaling", json!({})).await?;
    for service in [&free, &automatic] {
        let mark = mark(&cluster).await?;
        by_hand(&cluster, service, &["scale"], &["--replicas=5"])?;
        quiet(&cluster, service, mark).await?;
        assert_eq!(replicas(service).await?, 5, "{}", service.name);
        add_container(service).await?;
        assert_eq!(replicas(service).await?, 5, "{} after an attack on top", service.name);
    }
    assert_eq!(replicas(&fixed).await?, 3);
    by_hand(&cluster, &fixed, &["scale"], &["--replicas=5"])?;
    undone(&fixed, Kind::Deployment, &fixed.name, |live| live["spec"]["replicas"] == 3).await?;
    told(&cluster, &fixed, "DriftReverted", &["spec.replicas", "kubectl", "use spec.workload.replicas"])
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_image_and_a_pause_are_undone_and_the_event_names_the_field_to_use() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("hands").await?;
    let _operator = Operator::start(&cluster).await?;
    let service = made(&cluster, &namespace, "studio", json!({})).await?;
    let first = revisions(&cluster, &service).await?;
    let cases: [(&[&str], &[&str], [&str; 3]); 4] = [
        (
            &["set", "image"],
            &["app=registry.example/evil:1"],
            ["containers[app].image", "kubectl-set", "use spec.workload.image"],
        ),
        (&["set", "env"], &["EVIL=1"], ["containers[app].env[EVIL]", "kubectl-set", "use spec.workload.env"]),
        (
            &["set", "resources"],
            &["--limits=memory=1Gi"],
            ["containers[app].resources", "kubectl-set", "use spec.workload.resources"],
        ),
        (&["rollout", "pause"], &[], ["spec.paused", "kubectl-rollout", "use spec.suspend"]),
    ];
    for (command, arguments, note) in cases {
        let before = essence(&deployment(&service).await?);
        by_hand(&cluster, &service, command, arguments)?;
        undone(&service, Kind::Deployment, &service.name, |live| essence(live) == before).await?;
        told(&cluster, &service, "DriftReverted", &note).await?;
    }
    assert_eq!(revisions(&cluster, &service).await?[0], first[0]);
    Ok(())
}

async fn made(cluster: &Cluster, namespace: &Namespace, file: &str, workload: Value) -> Result<Service> {
    let mut service = serde_json::to_value(example(file)?)?;
    for (key, value) in workload.as_object().into_iter().flatten() {
        service["spec"]["workload"][key] = value.clone();
    }
    let made = Service::create(cluster, &namespace.name, &serde_json::from_value(service)?).await?;
    made.made().await?;
    if let Some(audit) = cluster.audit() {
        fixture::rest(&audit, &namespace.name).await?;
    }
    Ok(made)
}

/// `kubectl COMMAND deployment/NAME ARGUMENTS`
fn by_hand(cluster: &Cluster, service: &Service, command: &[&str], arguments: &[&str]) -> Result<()> {
    let deployment = format!("deployment/{}", service.name);
    let namespace = format!("--namespace={}", service.namespace);
    kubectl(cluster, &[command, &[&deployment, &namespace], arguments].concat(), "").map(drop)
}

async fn deployment(service: &Service) -> Result<Value> {
    service.child(Kind::Deployment, &service.name).await?.context("no Deployment")
}

async fn replicas(service: &Service) -> Result<i64> {
    deployment(service).await?["spec"]["replicas"].as_i64().context("no replicas")
}

/// An attack that must be undone without touching what belongs to others.
async fn add_container(service: &Service) -> Result<()> {
    let before = essence(&deployment(service).await?);
    let patch = json!([{"op": "add", "path": "/spec/template/spec/containers/-", "value": {"name": "evil", "image": "e"}}]);
    let patch = Patch::Json::<Value>(serde_json::from_value(patch)?);
    let answer = attack(service, Kind::Deployment, &service.name, &patch).await?;
    ensure!(answer.is_ok(), "{answer:?}");
    undone(service, Kind::Deployment, &service.name, |live| essence(live) == before).await.map(drop)
}

async fn mark(cluster: &Cluster) -> Result<Option<Mark>> {
    match cluster.audit() {
        Some(audit) => audit.mark().await.map(Some),
        None => Ok(None),
    }
}

/// The operator has come to rest and has not written the Deployment since.
async fn quiet(cluster: &Cluster, service: &Service, mark: Option<Mark>) -> Result<()> {
    if let (Some(audit), Some(mark)) = (cluster.audit(), mark) {
        fixture::rest(&audit, &service.namespace).await?;
        let seen = audit.since(mark).await?.by(OPERATOR).within(&service.namespace).resource("deployments");
        assert_eq!(seen.clone().writes().count(), 0, "{seen}");
    }
    Ok(())
}

/// Waits until the metric shows this many: it is counted right after status was written.
async fn counted(operator: &Operator, restarts: u64) -> Result<()> {
    const NAME: &str = "hardened_restarts_total{cause=\"Manual\"} ";
    wait_until(SOON, "the restart to be counted", async || match operator.get("/metrics").await {
        Ok((200, text)) => {
            let value = text.lines().find_map(|line| line.strip_prefix(NAME)).unwrap_or("0");
            if value == restarts.to_string() { Look::Done(()) } else { Look::NotYet(value.to_owned()) }
        }
        other => Look::NotYet(format!("{other:?}")),
    })
    .await
}
