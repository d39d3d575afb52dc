//! Does a drain take few pods at a time, and can it always go on? Asked of the real disruption controller and of the
//! eviction API; that pods run and are ready, the test says in their status.

use std::time::Duration;

use anyhow::Result;
use crds::SERVICE_LABEL;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{EvictParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use testbed::fixture::{self, Service};
use testbed::{Cluster, Look, Operator, wait_until};

const SOON: Duration = Duration::from_secs(30);

/// Says of every pod that it runs, and whether it is ready, as a kubelet would; returns how many there are.
async fn report(cluster: &Cluster, service: &Service, ready: bool) -> Result<Vec<String>> {
    let pods = Api::<Pod>::namespaced(cluster.client.clone(), &service.namespace);
    let condition = json!({"type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let status = Patch::Strategic(json!({"status": {"phase": "Running", "conditions": [condition]}}));
    let labels = ListParams::default().labels(&format!("{SERVICE_LABEL}={}", service.name));
    let mut names = Vec::new();
    for pod in pods.list(&labels).await? {
        pods.patch_status(&pod.name_any(), &PatchParams::default(), &status).await?;
        names.push(pod.name_any());
    }
    Ok(names)
}

/// Waits until the disruption controller counts so many healthy pods and allows so many to go.
async fn until_allowed(
    cluster: &Cluster,
    service: &Service,
    ready: bool,
    (healthy, allowed): (i32, i32),
) -> Result<Vec<String>> {
    let budgets = Api::<PodDisruptionBudget>::namespaced(cluster.client.clone(), &service.namespace);
    wait_until(SOON, &format!("{healthy} healthy pods, of which {allowed} may go"), async || {
        let pods = report(cluster, service, ready).await;
        let status = budgets.get(&service.name).await.ok().and_then(|budget| budget.status);
        match (pods, status) {
            (Ok(pods), Some(s))
                if [s.current_healthy, s.disruptions_allowed] == [Some(healthy), Some(allowed)] =>
            {
                Look::Done(pods)
            }
            other => Look::NotYet(format!("{other:?}")),
        }
    })
    .await
}

/// Evicts a pod as a drain does: the status code of a refusal, or nothing.
async fn evict(cluster: &Cluster, service: &Service, pod: &str) -> Result<Option<u16>> {
    let pods = Api::<Pod>::namespaced(cluster.client_without_retry()?, &service.namespace);
    match pods.evict(pod, &EvictParams::default()).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) => Ok(Some(status.code)),
        Err(error) => Err(error.into()),
    }
}

#[tokio::test]
async fn a_drain_takes_one_pod_at_a_time_and_never_waits_for_ever() -> Result<()> {
    let cluster = Cluster::get().await?;
    let _operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace("drain").await?;
    let two = Service::create(&cluster, &namespace.name, &fixture::example("minimal-production")?).await?;
    let pods = until_allowed(&cluster, &two, true, (2, 1)).await?;
    let [first, second] = &*pods else { anyhow::bail!("pods {pods:?}") };
    assert_eq!(evict(&cluster, &two, first).await?, None);
    assert_eq!(evict(&cluster, &two, second).await?, Some(429), "the second went before the first was back");
    // The replacement is ready: the drain goes on.
    until_allowed(&cluster, &two, true, (2, 1)).await?;
    assert_eq!(evict(&cluster, &two, second).await?, None);
    // None is ready: whoever drains must not wait for pods that may never become ready.
    for pod in until_allowed(&cluster, &two, false, (0, 0)).await? {
        assert_eq!(evict(&cluster, &two, &pod).await?, None, "a pod that is not ready kept a node");
    }

    let mut one = fixture::example("minimal-development")?;
    one.metadata.name = Some("one".into());
    let one = Service::create(&cluster, &namespace.name, &one).await?;
    one.made().await?;
    one.until_budget(None).await?;
    one.patch(&json!({"spec": {"workload": {"disruption": {"maxUnavailable": 1}}}})).await?;
    for pod in until_allowed(&cluster, &one, true, (1, 1)).await? {
        assert_eq!(evict(&cluster, &one, &pod).await?, None, "a single pod kept a node");
    }
    Ok(())
}
