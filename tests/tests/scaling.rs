//! Does the number of pods belong to whoever scales? The autoscaler of Kubernetes runs here without metrics; what it or
//! KEDA would set is written through the Deployment's `scale`, as they do.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use crds::{HardenedService, SERVICE_LABEL};
use futures::{StreamExt, TryStreamExt, try_join};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use kube::core::ApiResource;
use render::Kind;
use serde_json::{Value, json};
use testbed::fixture::{self, OPERATOR, Service};
use testbed::{Cluster, Look, Namespace, Operator, wait_until};

const SOON: Duration = Duration::from_secs(30);
const UNDISTURBED: Duration = Duration::from_secs(30);
/// What the watch shows of an object that is gone.
const GONE: i64 = -1;

/// Every number of replicas that objects of one kind had, one after the other: from a watch, so that no dip is missed.
struct Counts {
    seen: Arc<Mutex<Vec<i64>>>,
    watch: tokio::task::JoinHandle<()>,
}

impl Counts {
    /// From now on, of the objects that carry the service's label.
    async fn watch<K: kube::Resource<DynamicType = ()>>(
        cluster: &Cluster,
        service: &Service,
    ) -> Result<Self> {
        let resource = ApiResource::erase::<K>(&());
        let api: Api<DynamicObject> =
            Api::namespaced_with(cluster.client.clone(), &service.namespace, &resource);
        let labels = format!("{SERVICE_LABEL}={}", service.name);
        let list = api.list(&ListParams::default().labels(&labels)).await?;
        let seen = Arc::new(Mutex::new(list.items.iter().map(replicas).collect::<Vec<_>>()));
        let version = list.metadata.resource_version.context("a list without a version")?;
        let mut events =
            api.watch(&WatchParams::default().labels(&labels).timeout(290), &version).await?.boxed();
        let write = seen.clone();
        let watch = tokio::spawn(async move {
            while let Ok(Some(event)) = events.try_next().await {
                let count = match event {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => replicas(&object),
                    WatchEvent::Deleted(_) => GONE,
                    WatchEvent::Bookmark(_) | WatchEvent::Error(_) => continue,
                };
                write.lock().unwrap_or_else(PoisonError::into_inner).push(count);
            }
        });
        Ok(Self { seen, watch })
    }

    /// Waits until the last numbers are these, and returns all of them, repetitions left out.
    async fn until(&self, last: &[i64]) -> Result<Vec<i64>> {
        wait_until(SOON, &format!("{last:?} replicas"), async || {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
            seen.dedup();
            Look::when(seen, |seen| seen.ends_with(last))
        })
        .await
    }
}

impl Drop for Counts {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

fn replicas(object: &DynamicObject) -> i64 {
    object.data["spec"]["replicas"].as_i64().unwrap_or(GONE)
}

async fn make(
    cluster: &Cluster,
    namespace: &Namespace,
    name: &str,
    change: impl FnOnce(&mut HardenedService),
) -> Result<Service> {
    let mut service = fixture::example("minimal-production")?;
    service.metadata.name = Some(name.into());
    change(&mut service);
    let service = Service::create(cluster, &namespace.name, &service).await?;
    service.made().await?;
    Ok(service)
}

fn autoscaled(service: &mut HardenedService) {
    service.spec.workload.autoscaling =
        serde_json::from_value(json!({"minReplicas": 2, "maxReplicas": 20})).ok();
}

/// As an autoscaler does it, under a name of its own.
async fn scale(cluster: &Cluster, service: &Service, manager: &str, replicas: i64) -> Result<()> {
    let api = Api::<Deployment>::namespaced(cluster.client.clone(), &service.namespace);
    let params = PatchParams { field_manager: Some(manager.into()), ..PatchParams::default() };
    api.patch_scale(&service.name, &params, &Patch::Merge(json!({"spec": {"replicas": replicas}}))).await?;
    Ok(())
}

/// Scales to one number after the other, over and over, for a time; returns what it wrote.
async fn keep_scaling(
    cluster: &Cluster,
    service: &Service,
    (manager, numbers): (&str, &[i64]),
    (pause, time): (Duration, Duration),
) -> Result<Vec<i64>> {
    let start = Instant::now();
    let mut written = Vec::new();
    for number in numbers.iter().cycle() {
        if start.elapsed() > time {
            break;
        }
        scale(cluster, service, manager, *number).await?;
        written.push(*number);
        tokio::time::sleep(pause).await;
    }
    Ok(written)
}

async fn patch(service: &Service, workload: Value) -> Result<()> {
    service.patch(&json!({"spec": {"workload": workload}})).await?;
    service.until("the operator to look", is_current).await.map(drop)
}

fn is_current(service: &HardenedService) -> bool {
    service.status.as_ref().and_then(|s| s.observed_generation) == service.metadata.generation
}

#[tokio::test]
async fn for_30_seconds_the_operator_writes_no_deployment_while_others_scale() -> Result<()> {
    let cluster = Cluster::get().await?;
    let Some(audit) = cluster.audit() else { return Ok(()) };
    let _operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace("others").await?;
    let by_hpa = make(&cluster, &namespace, "by-hpa", autoscaled).await?;
    let by_keda = make(&cluster, &namespace, "by-keda", |_| ()).await?;
    let by_hand = make(&cluster, &namespace, "by-hand", |_| ()).await?;
    fixture::rest(&audit, &namespace.name).await?;
    let mark = audit.mark().await?;
    let counts = [
        Counts::watch::<Deployment>(&cluster, &by_hpa).await?,
        Counts::watch::<Deployment>(&cluster, &by_keda).await?,
        Counts::watch::<Deployment>(&cluster, &by_hand).await?,
    ];
    scale(&cluster, &by_hand, "kubectl", 7).await?;
    let rhythm = (Duration::from_secs(1), UNDISTURBED);
    let (hpa, keda) = try_join!(
        keep_scaling(&cluster, &by_hpa, ("hpa", &[5, 9, 20, 12, 2, 3]), rhythm),
        // Also to none and back, which the autoscaler of Kubernetes never does.
        keep_scaling(&cluster, &by_keda, ("keda", &[4, 0, 1, 10, 6]), rhythm),
    )?;
    scale(&cluster, &by_keda, "keda", 1).await?;
    fixture::rest(&audit, &namespace.name).await?;

    let seen = audit.since(mark).await?.by(OPERATOR).within(&namespace.name);
    let writes = seen.only(|request| request.is_write() && request.resource == "deployments");
    assert_eq!(writes.count(), 0, "{writes}");
    let expected = [[vec![2], hpa].concat(), [vec![2], keda, vec![1]].concat(), vec![2, 7]];
    for (counts, mut expected) in counts.iter().zip(expected) {
        expected.dedup();
        assert_eq!(counts.until(&expected[expected.len() - 1..]).await?, expected);
    }
    // One pod now: nothing to spread over time.
    by_keda.until_budget(None).await?;
    scale(&cluster, &by_keda, "keda", 3).await?;
    by_keda.until_budget(Some(1)).await?;
    by_hand.until_budget(Some(1)).await
}

#[tokio::test]
async fn a_change_of_the_spec_never_sets_an_older_number_than_the_one_just_scaled_to() -> Result<()> {
    let cluster = Cluster::get().await?;
    let _operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace("rolling").await?;
    let service = make(&cluster, &namespace, "rolling", autoscaled).await?;
    let counts = Counts::watch::<Deployment>(&cluster, &service).await?;
    let change = async {
        for round in 0..12 {
            patch(&service, json!({"podAnnotations": {"round": round.to_string()}})).await?;
        }
        anyhow::Ok(())
    };
    let fast = (Duration::from_millis(20), Duration::from_secs(8));
    let (mut expected, ()) =
        try_join!(keep_scaling(&cluster, &service, ("hpa", &[5, 9, 20, 12, 3]), fast), change)?;
    expected.insert(0, 2);
    assert_eq!(counts.until(&expected[expected.len() - 1..]).await?, expected);
    // While somebody scaled 50 times a second the operator may have lost every race.
    wait_until(SOON, "the last change to be rolled out", async || {
        let live = service.child(Kind::Deployment, "rolling").await.ok().flatten().unwrap_or_default();
        let round = live["spec"]["template"]["metadata"]["annotations"]["round"].clone();
        Look::when(round, |round| round == "11")
    })
    .await?;
    assert_eq!(counts.until(&expected[expected.len() - 1..]).await?, expected);
    Ok(())
}

#[tokio::test]
async fn ten_pods_stay_ten_when_the_autoscaler_or_the_number_comes_and_goes() -> Result<()> {
    let cluster = Cluster::get().await?;
    let _operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace("ten").await?;
    let service = make(&cluster, &namespace, "ten", |s| s.spec.workload.replicas = Some(10)).await?;
    let counts = Counts::watch::<Deployment>(&cluster, &service).await?;
    let on = json!({"minReplicas": 2, "maxReplicas": 20});
    patch(&service, json!({"replicas": null, "autoscaling": on, "podLabels": {"round": "1"}})).await?;
    service.made().await?;
    looked_without_metrics(&service).await?;
    patch(&service, json!({"autoscaling": {"minReplicas": 10, "maxReplicas": 10}})).await?;
    let wrong = json!({"spec": {"workload": {"autoscaling": {"minReplicas": 12, "maxReplicas": 11}}}});
    let refused = format!("{:#}", service.patch(&wrong).await.err().context("min above max was accepted")?);
    assert!(refused.contains("must not be above maxReplicas"), "{refused}");
    for step in [
        json!({"autoscaling": null, "podLabels": {"round": "2"}}),
        json!({"replicas": 10}),
        json!({"replicas": null, "podLabels": {"round": "3"}}),
    ] {
        patch(&service, step).await?;
        service.made().await?;
    }
    assert_eq!(counts.until(&[10]).await?, [10]);
    patch(&service, json!({"replicas": 12})).await?;
    counts.until(&[12]).await?;
    patch(&service, json!({"replicas": null, "podLabels": {"round": "4"}})).await?;
    assert_eq!(counts.until(&[12]).await?, [10, 12]);
    Ok(())
}

/// Waits until the autoscaler of Kubernetes has looked and found no metrics.
async fn looked_without_metrics(service: &Service) -> Result<()> {
    wait_until(Duration::from_mins(1), "the autoscaler to look", async || {
        let found = service.child(Kind::HorizontalPodAutoscaler, &service.name).await;
        let conditions = found.ok().flatten().map(|live| live["status"]["conditions"].to_string());
        Look::when(conditions, |c| c.as_ref().is_some_and(|c| c.contains("FailedGetResourceMetric")))
    })
    .await
    .map(drop)
}

#[tokio::test]
async fn a_deployment_that_somebody_deletes_comes_back_with_its_pods() -> Result<()> {
    let cluster = Cluster::get().await?;
    let _operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace("orphans").await?;
    let service = make(&cluster, &namespace, "orphans", |_| ()).await?;
    scale(&cluster, &service, "keda", 6).await?;
    let counted = |s: &HardenedService| s.status.as_ref().and_then(|s| s.replicas) == Some(6);
    service.until("six pods", counted).await?;
    let deployments = Counts::watch::<Deployment>(&cluster, &service).await?;
    let sets = Counts::watch::<ReplicaSet>(&cluster, &service).await?;
    service.children_api(Kind::Deployment).delete("orphans", &DeleteParams::orphan()).await?;
    assert_eq!(deployments.until(&[GONE, 6]).await?, [6, GONE, 6]);
    service.until("six pods again", counted).await?;
    assert_eq!(sets.until(&[6]).await?, [6], "pods were scaled down");
    Ok(())
}
