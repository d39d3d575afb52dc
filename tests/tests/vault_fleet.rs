//! Do two hundred services that share one path of Vault read it once for each identity, and restart a few at a time when it
//! changes? There is no node: this test says that pods are ready.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use crds::{HardenedService, RestartCause, SERVICE_LABEL};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use testbed::cluster::Namespace;
use testbed::fixture::named;
use testbed::vault::platform::{LOGIN, Platform};
use testbed::{Look, Operator, process, wait_until};

const NAMESPACES: usize = 10;
const SERVICES: usize = 200;
/// `restarts.atOnce` when the settings do not say.
const BUDGET: usize = 10;
const REFRESH: Duration = Duration::from_secs(10);
const LIMIT: Duration = Duration::from_mins(8);
const PATH: &str = "secret/data/shared";
/// The account that all services of a namespace log in with.
const ACCOUNT: &str = "vault";

#[tokio::test]
#[ignore = "soak: six minutes"]
async fn services_that_share_a_path_read_it_once_for_each_identity_and_restart_ten_at_a_time() -> Result<()> {
    let platform = Platform::prepare("fleet", &json!({"kv": {"mounts": ["secret"]}})).await?;
    platform.vault.enable_kv("secret", 2)?;
    platform.vault.policy("shared", &format!(r#"path "{PATH}" {{ capabilities = ["read"] }}"#))?;
    platform.vault.enable_audit()?;
    let namespaces = prepared(&platform).await?;
    let client = platform.cluster.client.clone();
    let _kubelet = AbortOnDrop(tokio::spawn(say_ready(client.clone())));
    let options = platform.options_with(|connection| {
        let role = format!("hardened-{{namespace}}-{ACCOUNT}");
        connection["kubernetesAuth"] = json!({"role": role, "serviceAccount": ACCOUNT});
    })?;
    let operator = Operator::start_with(&platform.cluster, options).await?;
    platform.vault.write_kv("secret", 2, "shared", &json!({"SHARED": "before"}))?;
    create(&client, &namespaces).await?;
    until(&client, "every service to be ready", |service| has_restarted(service, 0)).await?;

    let mut resident = vec![process::resident(operator.pid())? / 1024];
    for (count, value) in [(1, "after"), (2, "at last")] {
        println!("SOAK {}", rotate(&platform, &client, count, value).await?);
        resident.push(process::resident(operator.pid())? / 1024);
    }
    println!("SOAK resident memory before, after one and after two rotations: {resident:?} MiB");
    assert!(resident[2] < resident[1] + 16, "{resident:?} MiB");
    Ok(())
}

/// Writes another value and waits until all have restarted for it; says what that took.
async fn rotate(platform: &Platform, client: &Client, count: usize, value: &str) -> Result<String> {
    let most = AtomicUsize::new(0);
    let (asked, begin) = (platform.asked()?.len(), Instant::now());
    platform.vault.write_kv("secret", 2, "shared", &json!({"SHARED": value}))?;
    tokio::select! {
        done = until(client, "every service to restart", |service| has_restarted(service, count)) => done?,
        failed = watch(client, &most) => failed?,
    }
    let took = begin.elapsed();
    // Two more intervals, in which nothing happens.
    tokio::time::sleep(REFRESH * 2).await;
    until(client, "no service to restart again", |service| has_restarted(service, count)).await?;
    let paths = platform.asked()?.split_off(asked);
    let [reads, logins] = [PATH, LOGIN].map(|path| paths.iter().filter(|asked| *asked == path).count());
    let (most, watched) = (most.into_inner(), begin.elapsed());
    assert!((2..=BUDGET).contains(&most), "{most} at once");
    // Up to a tenth of the interval early, and one begun interval more.
    let rounds = 2 + watched.as_millis() / (REFRESH.as_millis() * 9 / 10);
    assert!(reads as u128 <= NAMESPACES as u128 * rounds, "{reads} readings in {rounds} rounds");
    assert!(logins <= NAMESPACES, "{logins} logins, and a token lasts five minutes");
    Ok(format!(
        "{SERVICES} services restarted in {:.0} s, {most} at once at most; {reads} readings and {logins} logins by \
         {NAMESPACES} identities in {:.0} s",
        took.as_secs_f64(),
        watched.as_secs_f64(),
    ))
}

/// Namespaces with the account, its login, and the operator's rights.
async fn prepared(platform: &Platform) -> Result<Vec<Namespace>> {
    let mut all = Vec::new();
    for _ in 0..NAMESPACES {
        let namespace = platform.cluster.namespace("fleet").await?;
        platform.grant_in(&namespace, &platform.rights().await?).await?;
        platform.let_log_in(&namespace.name, ACCOUNT, "shared")?;
        let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": ACCOUNT}}))?;
        let accounts = Api::<ServiceAccount>::namespaced(platform.cluster.client.clone(), &namespace.name);
        accounts.create(&PostParams::default(), &account).await?;
        all.push(namespace);
    }
    Ok(all)
}

async fn create(client: &Client, namespaces: &[Namespace]) -> Result<()> {
    futures::stream::iter((0..SERVICES).map(Ok))
        .try_for_each_concurrent(20, async |number| {
            let mut service = named("secrets", &format!("fleet-{number}"))?;
            let sources = json!([{"vault": {"path": "shared"}}]);
            service.spec.secrets =
                serde_json::from_value(json!({"refreshInterval": "10s", "sources": sources}))?;
            let namespace = &namespaces[number % NAMESPACES].name;
            Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &service).await?;
            Ok(())
        })
        .await
}

/// Waits until all of them pass a test.
async fn until(client: &Client, what: &str, test: impl Fn(&HardenedService) -> bool) -> Result<()> {
    wait_until(LIMIT, what, async || {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let all = Api::<HardenedService>::all(client.clone()).list(&ListParams::default()).await;
        let all = all.map(|all| all.items).unwrap_or_default();
        let ours = all.iter().filter(|service| service.name_any().starts_with("fleet-"));
        Look::when(ours.filter(|service| test(service)).count(), |count| *count == SERVICES)
    })
    .await
    .map(drop)
}

/// So many times for values, for nothing else, and ready.
fn has_restarted(service: &HardenedService, count: usize) -> bool {
    let Some(status) = &service.status else { return false };
    let ready = status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
    let for_values = status.restarts.iter().all(|restart| restart.cause == RestartCause::SecretsChanged);
    ready && for_values && status.restarts.len() == count
}

/// Counts the Deployments that replace pods at the same time, by each version that the API server shows.
async fn watch(client: &Client, most: &AtomicUsize) -> Result<()> {
    let api = Api::<Deployment>::all(client.clone());
    let params = WatchParams::default().labels(SERVICE_LABEL).timeout(290);
    let listed = api.list(&ListParams::default().labels(SERVICE_LABEL)).await?;
    let mut from = listed.metadata.resource_version.clone().context("a list without a version")?;
    let mut generations: BTreeMap<String, i64> = BTreeMap::new();
    for deployment in &listed {
        generations.insert(name(deployment), deployment.metadata.generation.unwrap_or_default());
    }
    let mut rolling = BTreeSet::new();
    loop {
        let mut events = api.watch(&params, &from).await?.boxed();
        while let Some(event) = events.try_next().await? {
            let (WatchEvent::Added(live) | WatchEvent::Modified(live)) = event else { continue };
            from = live.resource_version().unwrap_or(from);
            let before = generations.get(&name(&live)).copied().unwrap_or_default();
            ensure!(
                live.metadata.generation.unwrap_or_default() <= before + 1,
                "{} changed twice",
                name(&live)
            );
            if is_complete(&live) {
                rolling.remove(&name(&live));
            } else {
                rolling.insert(name(&live));
            }
            most.fetch_max(rolling.len(), Ordering::Relaxed);
        }
    }
}

fn name(deployment: &Deployment) -> String {
    format!("{}/{}", deployment.namespace().unwrap_or_default(), deployment.name_any())
}

fn is_complete(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.replicas.unwrap_or(1);
    deployment.status.as_ref().is_some_and(|status| {
        status.observed_generation >= deployment.metadata.generation
            && [status.updated_replicas, status.available_replicas, status.replicas] == [Some(wanted); 3]
    })
}

/// Says of every pod that it is ready, as a kubelet would some time after its start.
async fn say_ready(client: Client) -> Result<()> {
    let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-28T00:00:00Z"});
    let patch = Patch::Merge(json!({"status": {"phase": "Running", "conditions": [ready]}}));
    loop {
        let pods = Api::<Pod>::all(client.clone()).list(&ListParams::default().labels(SERVICE_LABEL)).await?;
        let waiting = pods.into_iter().filter(|pod| {
            let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
            !conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
        });
        futures::stream::iter(waiting)
            .for_each_concurrent(10, async |pod| {
                let api = Api::<Pod>::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
                // It may be gone.
                let _ = api.patch_status(&pod.name_any(), &PatchParams::default(), &patch).await;
            })
            .await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<Result<()>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
