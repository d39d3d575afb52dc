//! Does a service that panics, hangs or is as large as the schema lets it be leave the others alone?

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use crds::{EnvVar, HardenedService};
use futures::future::try_join_all;
use futures::{StreamExt, pin_mut};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{DeleteParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use testbed::fixture::{Service, condition, named};
use testbed::operator::Options;
use testbed::{Cluster, Look, Namespace, Operator, wait_until};

const EXAMPLE: &str = "minimal-development";
const SERVICES: usize = 20;
const ROUNDS: usize = 3;
const LIMIT: Duration = Duration::from_mins(1);
/// Below this a difference is the machine's, not the queue's.
const NOISE: Duration = Duration::from_millis(100);

/// As large as the schema and the apiserver let a service be.
fn large() -> Result<HardenedService> {
    let mut service = named(EXAMPLE, "large")?;
    let text = |length| "x".repeat(length);
    let workload = &mut service.spec.workload;
    workload.env =
        (0..64).map(|number| EnvVar { name: format!("LARGE_{number}"), value: text(4096) }).collect();
    workload.command = vec![text(1024); 16];
    workload.args = vec![text(1024); 32];
    service.annotations_mut().insert("large".into(), text(250_000));
    assert!(serde_json::to_vec(&service)?.len() > 550_000);
    Ok(service)
}

/// Changes every service at once, and gives how long each took to reach its Deployment.
async fn round(services: &[Service], namespace: &Namespace, mark: &str) -> Result<Vec<Duration>> {
    let api = Api::<Deployment>::namespaced(services[0].api().into_client(), &namespace.name);
    let version = api.list_metadata(&kube::api::ListParams::default()).await?.metadata.resource_version;
    let events = api.watch(&WatchParams::default(), &version.unwrap_or_default()).await?;
    pin_mut!(events);
    let patch = json!({"spec": {"workload": {"podAnnotations": {"example.com/round": mark}}}});
    let started = try_join_all(services.iter().map(async |service| {
        let start = Instant::now();
        service.patch(&patch).await?;
        anyhow::Ok((service.name.clone(), start))
    }));
    let started: BTreeMap<String, Instant> = started.await?.into_iter().collect();
    let mut took = BTreeMap::new();
    while took.len() < services.len() {
        let event = tokio::time::timeout(LIMIT, events.next()).await.context("no change arrives")?;
        let Some(Ok(WatchEvent::Modified(live))) = event else { continue };
        let template = live.spec.template.metadata.unwrap_or_default();
        let reached =
            template.annotations.is_some_and(|a| a.get("example.com/round").is_some_and(|m| m == mark));
        if let (true, Some(name)) = (reached, live.metadata.name)
            && let Some(start) = started.get(&name)
        {
            took.entry(name).or_insert_with(|| start.elapsed());
        }
    }
    Ok(took.into_values().collect())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test]
async fn others_keep_their_pace_and_each_poisoned_service_says_what_is_wrong() -> Result<()> {
    let cluster = Cluster::get().await?;
    let faults = ("HARDENED_FAULT".to_owned(), "panic=panics,hang=hangs".to_owned());
    let options = Options { env: vec![faults], ..Options::default() };
    let operator = Operator::start_with(&cluster, options).await?;
    let pid = operator.pid();
    let namespace = cluster.namespace("poison").await?;
    let names: Vec<_> = (0..SERVICES).map(|number| format!("good{number}")).collect();
    let services = try_join_all(
        names
            .iter()
            .map(async |name| Service::create(&cluster, &namespace.name, &named(EXAMPLE, name)?).await),
    )
    .await?;
    for service in &services {
        service.made().await?;
    }
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for number in 0..ROUNDS {
        alone.extend(round(&services, &namespace, &format!("alone-{number}")).await?);
        let poison = Box::pin(poison(&cluster, &namespace)).await?;
        beside.extend(round(&services, &namespace, &format!("beside-{number}")).await?);
        if number + 1 == ROUNDS {
            said(&poison).await?;
        }
        for service in &poison {
            service.api().delete(&service.name, &DeleteParams::default()).await?;
        }
    }
    let (alone, beside) = (median(alone), median(beside));
    println!(
        "median of {SERVICES} services: {alone:?} alone, {beside:?} beside a panic, a hang and a large one"
    );
    assert!(beside < alone * 2 + NOISE, "{alone:?} alone, {beside:?} beside poison");
    assert_eq!(operator.pid(), pid);
    assert!(operator.get("/livez").await?.0 == 200, "{}", operator.log());
    Ok(())
}

async fn poison(cluster: &Cluster, namespace: &Namespace) -> Result<Vec<Service>> {
    let mut made = Vec::new();
    for service in [named(EXAMPLE, "panics")?, named(EXAMPLE, "hangs")?, large()?] {
        made.push(Service::create(cluster, &namespace.name, &service).await?);
    }
    Ok(made)
}

/// The large one is made; the others say what is wrong with them.
async fn said(poison: &[Service]) -> Result<()> {
    poison[2].made().await?;
    for (service, words) in [(&poison[0], "internal error"), (&poison[1], "longer than 30s")] {
        wait_until(LIMIT, "the condition", async || match service.get().await {
            Ok(live) => Look::when(format!("{:?}", condition(&live, "Ready")), |ready| {
                ready.contains("InternalError") && ready.contains(words)
            }),
            Err(error) => Look::NotYet(error.to_string()),
        })
        .await
        .with_context(|| service.name.clone())?;
    }
    Ok(())
}
