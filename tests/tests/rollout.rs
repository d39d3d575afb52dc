//! Does traffic through the Service lose a request while pods are replaced? With the real image on the real node; the
//! clients stand in the node's network and reach the pods by kube-proxy. Needs root, and no other node on this host.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Result;
use crds::SERVICE_LABEL;
use serde_json::json;
use testbed::load::{Load, Report};
use testbed::operator::Options;
use testbed::stage::{NAME, READY, Stage};
use testbed::{Look, install, wait_until};

/// A kubelet brings a changed Secret into its volume within its sync period of a minute and a half.
const CERTIFICATE: Duration = Duration::from_mins(4);

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_update_at_200_requests_a_second_fails_none_of_2000() -> Result<()> {
    let Some(stage) = Stage::set(Options::default()).await? else { return Ok(()) };
    let load = Load::start(stage.target().await?, 200);
    update(&stage, 1).await?;
    let report = finish(load, 2000).await?;
    println!("{report}");
    check(&report);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: six minutes"]
async fn ten_updates_a_drain_and_a_new_certificate_fail_none_of_100000() -> Result<()> {
    let Some(stage) = Stage::set(Options::default()).await? else { return Ok(()) };
    let load = Load::start(stage.target().await?, 300);
    let seen = |what: &str| println!("SOAK {what}: {}", load.report());
    for count in 1..=10 {
        update(&stage, count).await?;
        seen(&format!("update {count}"));
    }
    drain(&stage).await?;
    seen("kubectl drain");
    let took = change_certificate(&stage).await?;
    seen(&format!("new certificate, on every connection after {} s", took.as_secs()));
    let report = finish(load, 100_000).await?;
    println!("SOAK end: {report}");
    check(&report);
    Ok(())
}

fn check(report: &Report) {
    assert_eq!(report.failed, 0, "{report}");
    let answered: usize = report.versions.values().sum();
    assert_eq!((answered, report.versions.len()), (report.sent, 2), "{report}");
    assert!(report.connections * 4 < report.sent, "connections were not kept: {report}");
}

async fn finish(load: Load, requests: usize) -> Result<Report> {
    let limit = Duration::from_mins(10);
    wait_until(limit, "the last requests", async || Look::when(load.sent(), |sent| *sent >= requests))
        .await?;
    tokio::task::spawn_blocking(|| load.end()).await?
}

/// Changes the pod template and waits until every pod is a new one and no old one is left.
async fn update(stage: &Stage, count: usize) -> Result<()> {
    let before = stage.pods().await?;
    let annotations = json!({"example.com/update": count.to_string()});
    stage.service.patch(&json!({"spec": {"workload": {"podAnnotations": annotations}}})).await?;
    replaced(stage, &before).await
}

async fn replaced(stage: &Stage, before: &BTreeSet<String>) -> Result<()> {
    wait_until(READY, "every pod to be a new one", async || match stage.pods().await {
        Ok(now) => Look::when(now, |now| now.len() == before.len() && now.is_disjoint(before)),
        Err(error) => Look::NotYet(BTreeSet::from([error.to_string()])),
    })
    .await?;
    stage.ready().await
}

/// `kubectl drain` of the only node. The new pods must run there too, so it is opened again once a pod goes; the
/// drain then waits, by the PodDisruptionBudget, for the first new pod before it takes the second.
async fn drain(stage: &Stage) -> Result<()> {
    let before = stage.pods().await?;
    let cluster = stage.cluster.clone();
    let selector = format!("--pod-selector={SERVICE_LABEL}={NAME}");
    let drain = tokio::task::spawn_blocking(move || {
        let options = ["--delete-emptydir-data", "--timeout=120s"];
        install::kubectl(&cluster, &[&["drain", "node-1", &selector], &options[..]].concat(), "")
    });
    wait_until(READY, "the first eviction", async || {
        Look::when(stage.pods().await.unwrap_or_default(), |now| !now.is_subset(&before))
    })
    .await?;
    install::kubectl(&stage.cluster, &["uncordon", "node-1"], "")?;
    let printed = drain.await??;
    assert_eq!(printed.matches(" evicted").count(), 2, "{printed}");
    replaced(stage, &before).await
}

/// Takes the TLS Secret away and waits until every new connection gets the certificate that replaced it.
async fn change_certificate(stage: &Stage) -> Result<Duration> {
    let (target, pods) = (stage.target().await?, stage.pods().await?);
    let namespace = &stage.namespace.name;
    assert!(stage.serves_secret(&target).await?);
    install::kubectl(&stage.cluster, &["delete", "secret", "studio-tls", "--namespace", namespace], "")?;
    let begin = Instant::now();
    wait_until(CERTIFICATE, "the new certificate on every connection", async || {
        match stage.serves_secret(&target).await {
            Ok(true) => Look::Done(()),
            other => Look::NotYet(other.map_err(|error| format!("{error:#}"))),
        }
    })
    .await?;
    let took = begin.elapsed();
    assert_eq!(stage.pods().await?, pods, "a new certificate needs no new pod");
    Ok(took)
}
